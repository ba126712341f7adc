"""The training engine: loop, worker processes, checkpoints, devices, diagnostics."""

"""The papers' equations: pure functions over tensors, one file a paper.

Nothing here holds state, reads a file, owns an optimiser or draws hidden randomness.

Shape suffixes: B batch, N rows, V clean (validation) rows, K classes, D features, M queue.
"""

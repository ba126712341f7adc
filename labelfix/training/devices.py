"""Where a computation runs and in which precision: one choice for the training loop and `embed`.

Several processes on one node: `devices` > 1 starts that many worker processes by Fabric's
spawning strategy. The calling process stays the only one that reads inputs and writes outputs.

Several nodes: start the same command once on every node, with the environment variables
`MASTER_ADDR` and `MASTER_PORT` (a free port on the first node, the same for all) and `NODE_RANK`
(0, 1, ...), and the same `devices` and `num_nodes`. Who writes outputs: `nodes.py`.
Launchers that start one process a device by themselves (torchrun) are refused with a clear line.
"""

from __future__ import annotations

import gc
import logging
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy

from labelfix.errors import InputError

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")


def pick_device(name: str = "auto") -> torch.device:
    """The device of a name: `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        InputError: the name is unknown, or this machine has no such device.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if present[kind]))
    if name not in present:
        raise InputError(f"unknown device '{name}'", hint="use auto, cpu, cuda or mps")
    if not present[name]:
        raise InputError(f"this machine has no {name} device", hint="use --device auto or cpu")
    return torch.device(name)


def algebra_device(name: str = "auto") -> torch.device:
    """Where closed forms are solved: as :func:`pick_device` says, but never on MPS.

    MPS knows neither float64 nor eigenvalues; there nets train on it, and the CPU solves.
    """
    device = pick_device(name)
    return torch.device("cpu") if device.type == "mps" else device


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def pick_precision(device: torch.device, precision: str = "auto") -> str:
    """Fabric's name of the precision: `auto` is bf16-mixed where bf16 is fast, else 32-true.

    Fast means: a CUDA device with native bf16, or a CPU with AVX-512 BF16 or AMX instructions
    (elsewhere a CPU emulates bf16 and loses).
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if device.type == "cpu" and _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, bool)() for check in checks)


def autocast(device: torch.device, precision: str = "auto") -> AbstractContextManager[object]:
    """The context for inference: by itself bf16 or fp16 where that is fast, nothing elsewhere."""
    kinds = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = kinds.get(pick_precision(device, precision))
    return torch.autocast(device.type, dtype) if dtype is not None else nullcontext()


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators of the CPU and of this device, and of no other.

    ``torch.manual_seed`` formats a stack trace for each kind of device that is not there: a
    millisecond a call, which small nets feel.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def require_hardware(
    device: str, devices: int, num_nodes: int, precision: str
) -> tuple[torch.device, str]:
    """The device and Fabric's name of the precision, if this machine has what is asked for.

    Raises:
        InputError: the device is absent, there are fewer than asked, a CPU shall compute in
            16-mixed, or torchrun started us.
    """
    kind = pick_device(device)
    if precision == "16-mixed" and kind.type == "cpu":
        raise InputError("a CPU has no 16-mixed precision", hint="use --precision bf16-mixed")
    if devices > 1 or num_nodes > 1:
        _check_spawn(kind, devices)
    return kind, pick_precision(kind, precision)


class SpawnedProcesses(DDPStrategy):
    """DDP over processes that are started for one training, and do not announce themselves."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")

    def setup_environment(self) -> None:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # in the new process
        super().setup_environment()


def make_fabric(device: str, devices: int, num_nodes: int, precision: str) -> Fabric:
    """A Fabric for these devices; with more than one process, DDP over spawned processes.

    Raises:
        InputError: as :func:`require_hardware`.
    """
    kind, name = require_hardware(device, devices, num_nodes, precision)
    mixed = name.endswith("-mixed")
    return Fabric(
        accelerator=kind.type,
        devices=devices,
        num_nodes=num_nodes,
        strategy=SpawnedProcesses() if devices > 1 or num_nodes > 1 else "auto",
        # Named as a string, Fabric would announce it once for every net of every fold.
        plugins=MixedPrecision(name, kind.type) if mixed else None,  # type: ignore[arg-type]
        precision=None if mixed else name,  # type: ignore[arg-type]
    )


def shutdown() -> None:
    """To be called last in each of several processes, when the nets that it trained are dropped.

    The threads of gloo end with the group, and the group with the last net that holds it. A thread
    that outlives the interpreter's end aborts the process (pytorch/pytorch#179291): one pair in
    six did, in torch 2.15.
    """
    if torch.distributed.is_initialized():
        gc.collect()  # wrapped nets refer to themselves
        torch.distributed.destroy_process_group()


def _check_spawn(kind: torch.device, devices: int) -> None:
    if kind.type == "mps":
        raise InputError("mps has one device only", hint="use --devices 1 or another --device")
    if kind.type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(
            f"{devices} devices asked for, {torch.cuda.device_count()} present",
            hint=f"use --devices {torch.cuda.device_count()}",
        )
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise InputError(
            "started by torchrun, but labelfix starts its processes itself",
            hint="run the plain command once a node with MASTER_ADDR, MASTER_PORT, NODE_RANK set",
        )

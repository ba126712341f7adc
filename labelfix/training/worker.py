"""One process's part of a training: batches, steps, reports, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from labelfix.errors import DegenerateLearningError
from labelfix.training.checkpoint import load_checkpoint, restore, save_checkpoint
from labelfix.training.config import EpochContext, EpochReport, LoopConfig, StepContext, Trainable
from labelfix.training.devices import seed_global

INIT, ROWS = 2**32 - 1, 2**32 - 2  # "step" numbers of the draws that belong to no step
_LOOK_EVERY = 20  # steps between two looks at the loss and the clock: looking waits for a GPU

OnEpoch = Callable[[EpochReport], None]


def derive_seed(*key: int) -> int:
    """A 63-bit seed from numbers in [0, 2^32) (seed, epoch, step, process), well mixed."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def lr_factor(progress: float, *, warmup: float = 0.05, schedule: str = "cosine") -> float:
    """The factor on the learning rate at `progress` in [0, 1] of the training.

    Linear from 0 to 1 within `warmup`, then 1 ("constant") or half a cosine from 1 to 0
    ("cosine"; Loshchilov and Hutter 2017, SGDR, Eq. 5 without restarts).
    """
    if progress < warmup:
        return progress / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def identity(config: LoopConfig) -> dict[str, Any]:
    """The settings that a checkpoint is bound to."""
    free = ("device", "checkpoint_seconds")
    return {name: value for name, value in asdict(config).items() if name not in free}


@dataclass(kw_only=True)
class _Progress:
    """How far a run is: `epoch` epochs and `step` steps of the next one are done."""

    epoch: int = 0
    step: int = 0
    rows: Tensor | None = None  # of the epoch under way, in its order
    sums: dict[str, Tensor] = field(default_factory=dict)  # of the metrics over its steps
    history: list[dict[str, Any]] = field(default_factory=list)


class Worker:
    """One process's part of a training; all processes run it in lockstep."""

    def __init__(
        self, fabric: Fabric, method: Trainable, config: LoopConfig, path: Path, tell: OnEpoch
    ) -> None:
        self.fabric, self.method, self.config, self.path, self.tell = (
            fabric, method, config, path, tell,
        )  # fmt: skip
        self.plain = dict(method.modules)
        self.progress = _Progress()
        self.generator = torch.Generator(fabric.device)
        self.saved_at = time.monotonic()
        self._set_up()
        self._resume()
        self._train_mode()

    def _set_up(self) -> None:
        """Moves the nets and wraps what trains; frozen nets need no wrapping."""
        for name, module in self.plain.items():
            if any(parameter.requires_grad for parameter in module.parameters()):
                self.method.modules[name] = self.fabric.setup_module(module)
            else:
                module.to(self.fabric.device)
        for name, optimizer in self.method.optimizers.items():
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
            self.method.optimizers[name] = self.fabric.setup_optimizers(optimizer)  # type: ignore[assignment]

    def _train_mode(self) -> None:
        for name, module in self.plain.items():
            if self.method.modules[name] is not module:  # it was wrapped, so it trains
                self.method.modules[name].train()

    def _resume(self) -> None:
        state = self._read()
        if state is not None:
            restore(self.plain, state["modules"], self.path)
            restore(self.method.optimizers, state["optimizers"], self.path)
            self.progress = _Progress(**state["progress"])

    def fit(self) -> None:
        if not self.progress.history:
            self._report({}, time.monotonic())
        while self.progress.epoch < self.config.epochs:
            self._epoch()
        self._save()
        if self.config.num_nodes > 1:
            self._hand_over()

    def _epoch(self) -> None:
        now, started = self.progress, time.monotonic()
        if now.rows is None:
            now.rows = self._draw_rows(now.epoch)
        batch = min(self.config.batch_size, len(now.rows))
        steps = len(now.rows) // batch
        bad_step = torch.full((), -1, device=self.fabric.device)
        for step in range(now.step, steps):
            rows = now.rows[step * batch : (step + 1) * batch]
            loss = self._step(rows[self.fabric.global_rank :: self.fabric.world_size], step, steps)
            bad_step = torch.where((bad_step < 0) & ~loss.isfinite(), step, bad_step)
            now.step = step + 1
            if now.step % _LOOK_EVERY == 0 or now.step == steps or self._every_step():
                self._raise_if_bad(bad_step)
                if now.step < steps and self._due():
                    self._save()
        means = {name: self._mean(total / steps) for name, total in now.sums.items()}
        now.epoch, now.step, now.rows, now.sums = now.epoch + 1, 0, None, {}
        self._report(means, started)
        if self._due():
            self._save()

    def _draw_rows(self, epoch: int) -> Tensor:
        """The epoch's rows in shuffled order, the same in every process."""
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, epoch, ROWS, 0))
        context = EpochContext(epoch=epoch, epochs=self.config.epochs, generator=generator)
        rows = self.method.epoch_rows(context)
        return rows[torch.randperm(len(rows), generator=generator)]

    def _step(self, rows: Tensor, step: int, steps: int) -> Tensor:
        """One step of the method, and the update unless it does that itself; returns the loss."""
        epoch, config, method = self.progress.epoch, self.config, self.method
        seed = derive_seed(config.seed, epoch, step, self.fabric.global_rank)
        # dropout within the nets knows only the global generator
        seed_global(seed, self.fabric.device)
        context = StepContext(
            epoch=epoch, epochs=config.epochs, step=step, steps=steps,
            generator=self.generator.manual_seed(seed),
        )  # fmt: skip
        factor = lr_factor(context.progress, warmup=config.warmup, schedule=config.schedule)
        for optimizer in method.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        metrics = method.step(rows, context)
        if not method.manual_update:
            for optimizer in method.optimizers.values():
                optimizer.zero_grad()
            self.fabric.backward(metrics["loss"])
            for optimizer in method.optimizers.values():
                optimizer.step()
        sums = self.progress.sums
        for name, value in metrics.items():
            sums[name] = sums.get(name, 0.0) + value.detach().float()
        return metrics["loss"].detach()

    def _report(self, means: dict[str, float], started: float) -> None:
        """Evaluates in the first process, while the others wait, and tells the caller."""
        now = self.progress
        with torch.no_grad():
            extra = self.method.evaluate(now.epoch) if self.fabric.is_global_zero else {}
        self._train_mode()
        metrics = means | self.fabric.broadcast(extra)
        seconds = time.monotonic() - started
        report = EpochReport(
            epoch=now.epoch, epochs=self.config.epochs, metrics=metrics, seconds=seconds
        )
        now.history.append(asdict(report))
        if self.fabric.is_global_zero:
            self.tell(report)

    def _mean(self, value: Tensor) -> float:
        """The mean over the processes."""
        return float(_reduce(self.fabric, value, "mean"))

    def _raise_if_bad(self, bad_step: Tensor) -> None:
        """Stops all processes when any of them has seen a loss that is not finite."""
        step = int(_reduce(self.fabric, bad_step, "max"))
        if step >= 0:
            raise DegenerateLearningError(
                f"the loss is not finite at epoch {self.progress.epoch + 1}, step {step + 1}; "
                "a lower learning rate may help"
            )

    def _every_step(self) -> bool:
        return self.config.checkpoint_seconds == 0

    def _due(self) -> bool:
        """Whether the first process's clock says that it is time for a checkpoint."""
        elapsed = time.monotonic() - self.saved_at
        return bool(self.fabric.broadcast(elapsed >= self.config.checkpoint_seconds))

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            state = {
                "identity": identity(self.config),
                "modules": _state_dicts(self.plain),
                "optimizers": _state_dicts(self.method.optimizers),
                "progress": vars(self.progress),
            }
            save_checkpoint(self.path, state)
        self.fabric.barrier()
        self.saved_at = time.monotonic()

    def _read(self) -> dict[str, Any] | None:
        """The first process's checkpoint, in every process: only its node has the file."""
        first = self.fabric.is_global_zero
        found = load_checkpoint(self.path, identity(self.config)) if first else None
        return self.fabric.broadcast(found)

    def _hand_over(self) -> None:
        """Leaves the end of the training on the other nodes too, for the callers there."""
        state = self._read()
        if self.fabric.local_rank == 0 and not self.fabric.is_global_zero:
            assert state is not None, "it has just been saved"
            save_checkpoint(self.path, state)


def _reduce(fabric: Fabric, value: Tensor, operation: str) -> Tensor:
    """One number from those of all processes."""
    reduced = fabric.all_reduce(value, reduce_op=operation)
    assert isinstance(reduced, Tensor)
    return reduced


def _state_dicts(objects: dict[str, Any]) -> dict[str, Any]:
    return {name: thing.state_dict() for name, thing in objects.items()}

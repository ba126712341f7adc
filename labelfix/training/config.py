"""What goes into the training loop and what comes out: method, configuration, reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.ranges import AtLeastOne, BelowOne, NotNegative, OneOf, Seed, check_settings
from labelfix.training.devices import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class EpochContext:
    """Which epoch of a training begins.

    Attributes:
        epoch, epochs: the epoch under way, from 0, and how many there are.
        generator: what is drawn is drawn from it: on the CPU where an epoch begins, on the device
            in a step.
    """

    epoch: int
    epochs: int
    generator: torch.Generator

    def ramp(self, start: float, length: float) -> float:
        """0 until ``start``, then linear to 1 within ``length``, both shares of the epochs."""
        done = self.epoch / max(self.epochs - 1, 1)
        return min(1.0, max(0.0, (done - start) / length)) if length > 0 else float(done >= start)


@dataclass(frozen=True, kw_only=True)
class StepContext(EpochContext):
    """Which step of a training begins; the loop counts, so that methods need not.

    Attributes:
        step, steps: the step of this epoch, from 0, and how many it has.
    """

    step: int
    steps: int

    @property
    def number(self) -> int:
        """The steps before this one, from 0, if every epoch has as many as this one."""
        return self.epoch * self.steps + self.step

    @property
    def progress(self) -> float:
        """The share of the training that is over in the middle of this step, in (0, 1)."""
        return (self.epoch + (self.step + 0.5) / self.steps) / self.epochs


class Trainable(Protocol):
    """What the loop trains. All state lives in `modules` (parameters, buffers) and `optimizers`.

    The loop moves `modules` to the device and replaces the dictionaries' entries by Fabric's
    wrapped ones. `step` must call the nets through `self.modules[...]`, so that precision and
    several processes work; `evaluate` must use plain references kept beside (same parameters).

    Attributes:
        modules: every net by name, frozen ones included; what a checkpoint and the result hold.
        optimizers: every optimizer by name; all follow the loop's schedule from their own `lr`.
        manual_update: False: the loop backpropagates `loss` and steps every optimizer.
            True: `step` does both itself (bilevel methods), by the Fabric its builder received.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    manual_update: bool

    def epoch_rows(self, context: EpochContext) -> Tensor:
        """The rows (int64, CPU) that an epoch draws its batches from, in any order.

        Not called again where a training resumes in the middle of an epoch.
        """
        ...

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        """One step on rows (int64, CPU); scalars, "loss" among them.

        The nets are in train mode, except modules without any trainable parameter: those stay in
        the mode the method chose.
        """
        ...

    def evaluate(self, epoch: int) -> dict[str, float]:
        """More metrics after `epoch` epochs (0: before the first); {} for none.

        Called in the first process only, without gradients; nets may be left in eval mode.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How a training runs.

    Attributes:
        epochs: passes over the rows, >= 1.
        batch_size: rows a step, all processes together; capped at the number of rows.
        seed: >= 0; with it, the device and the number of processes, a run is determined.
        warmup: share of the training in which the learning rate rises linearly, in [0, 1).
        schedule: "cosine" (to zero) or "constant" after the warm-up.
        device: auto, cpu, cuda or mps.
        devices: processes a node, one a device (on a CPU: processes that share its cores).
        num_nodes: machines.
        precision: auto, 32-true, bf16-mixed or 16-mixed.
        checkpoint_seconds: at least this long between two checkpoints; 0 = after every step.
    """

    epochs: AtLeastOne
    batch_size: AtLeastOne = 256
    seed: Seed = 0
    warmup: BelowOne = 0.05
    schedule: Annotated[str, OneOf("cosine", "constant")] = "cosine"
    device: str = "auto"
    devices: AtLeastOne = 1
    num_nodes: AtLeastOne = 1
    precision: Annotated[str, OneOf(*PRECISIONS)] = "auto"
    checkpoint_seconds: NotNegative = 60.0

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch showed: `epoch` of `epochs` done (0: before training), means, seconds."""

    epoch: int
    epochs: int
    metrics: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The end of a training: state dict of every module by name (CPU), and all reports."""

    modules: dict[str, dict[str, Tensor]]
    history: list[EpochReport]

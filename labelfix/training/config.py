"""What the training loop is told and what it tells: method, configuration, reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.ranges import AtLeastOne, BelowOne, NotNegative, OneOf, Seed, check_settings
from labelfix.training.devices import PRECISIONS


class Method(Protocol):
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

    def epoch_rows(self, epoch: int, generator: torch.Generator) -> Tensor:
        """The rows (int64, CPU) that epoch 0, 1, ... draws its batches from, in any order."""
        ...

    def step(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """One step on rows (int64, CPU); `generator` is the device's. Scalars, "loss" among them.

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

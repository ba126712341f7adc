"""What every retraining method is given: labels, rows and nets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.nets.datasets import BatchSource

MakeNet = Callable[[int], nn.Module]  # of the number of a net: 0, 1


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a method may know of the labels.

    Attributes:
        soft_labels: ``(N, K)`` float32; rows sum to 1; one-hot where the given labels are used.
        weights: ``(N,)`` float32 >= 0; a row of weight 0 has no label that says anything.
        usable: ``(N,)`` bool; other rows may not be looked at (they are tested on).
        clean: ``(N,)`` int32 codes that a person verified, else -1.
        label_reliability, pseudo_reliability: ``(N,)`` float32 in [0, 1], NaN = not scored, or
            None = there are none.
    """

    soft_labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    usable: NDArray[np.bool_]
    clean: NDArray[np.int32]
    label_reliability: NDArray[np.float32] | None = None
    pseudo_reliability: NDArray[np.float32] | None = None

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """``(N,)``: usable rows with a label to learn from."""
        return self.usable & (self.weights > 0)

    @property
    def codes(self) -> NDArray[np.int32]:
        """``(N,)``: the verified code, else the likeliest; -1 = none, not usable."""
        likeliest = np.where(self.labelled, self.soft_labels.argmax(1), -1)
        return np.where(self.usable & (self.clean >= 0), self.clean, likeliest).astype(np.int32)

    @property
    def one_hot(self) -> bool:
        """Whether no label says how sure it is."""
        return self.label_noise == 0

    @property
    def label_noise(self) -> float:
        """The share of labels that their own soft labels call wrong; 0 for one-hot labels."""
        best = self.soft_labels[self.labelled].max(1)
        return float(1 - best.mean(dtype=np.float64)) if len(best) else 0.0


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One retraining, picklable.

    Attributes:
        make_net: makes untrained net 0, 1, ...; all of one shape.
        source: the N rows.
        targets: their labels.
        images: whether rows are images: SGD for convolutions, AdamW for features.
        batch_size: of the training loop.
        seed: of draws that are made once, such as a held-out part.
    """

    make_net: MakeNet
    source: BatchSource
    targets: Targets
    images: bool
    batch_size: int
    seed: int = 0

    @cached_property
    def usable(self) -> Tensor:
        """The usable rows (int64, CPU)."""
        return torch.from_numpy(np.flatnonzero(self.targets.usable))

    @cached_property
    def labelled(self) -> Tensor:
        """The usable rows with a label (int64, CPU)."""
        return torch.from_numpy(np.flatnonzero(self.targets.labelled))

    @cached_property
    def clean_rows(self) -> Tensor:
        """The usable rows with a verified label (int64, CPU)."""
        return torch.from_numpy(np.flatnonzero(self.targets.usable & (self.targets.clean >= 0)))

    def on(self, device: torch.device) -> RowsOnDevice:
        """The rows and their labels on a device."""
        targets = self.targets
        return RowsOnDevice(
            source=self.source.to(device),
            soft_NK=torch.from_numpy(targets.soft_labels).to(device),
            weight_N=torch.from_numpy(np.where(targets.usable, targets.weights, 0)).to(device),
            device=device,
        )

    def nets(self, *names: str) -> dict[str, nn.Module]:
        """Fresh nets by name."""
        return {name: self.make_net(number) for number, name in enumerate(names)}

    def optimizer(self, net: nn.Module, *, plain: bool = False) -> Optimizer:
        """The optimizer that suits the rows; ``plain`` asks for SGD on features too."""
        if self.images:
            rate = 0.1 * self.batch_size / 256
            return torch.optim.SGD(
                net.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4
            )
        if plain:
            return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
        return torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)

    def optimizers(self, nets: dict[str, nn.Module]) -> dict[str, Optimizer]:
        """One optimizer a net, by its name."""
        return {name: self.optimizer(net) for name, net in nets.items()}


@dataclass(frozen=True, kw_only=True)
class RowsOnDevice:
    """Rows and labels on a device: ``soft_NK`` ``(N, K)``, ``weight_N`` ``(N,)``."""

    source: BatchSource
    soft_NK: Tensor
    weight_N: Tensor
    device: torch.device

    def labels_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Soft labels ``(B, K)`` and weights ``(B,)`` of rows (int64, CPU)."""
        here = rows.to(self.device)
        return self.soft_NK[here], self.weight_N[here]


def all_gather_rows(fabric: Fabric, *values: Tensor) -> tuple[Tensor, ...]:
    """The rows of all processes, one under the other: what a memory of rows needs.

    A process with fewer rows repeats its last one, which does no harm where rows are written.
    """
    if fabric.world_size == 1:
        return values
    length = torch.tensor(len(values[0]), device=fabric.device)
    most = fabric.all_reduce(length, reduce_op="max")
    assert isinstance(most, Tensor)
    index = torch.arange(int(most), device=fabric.device).clamp_max(len(values[0]) - 1)
    gathered = (fabric.all_gather(value[index]) for value in values)
    return tuple(value.flatten(0, 1) for value in gathered if isinstance(value, Tensor))

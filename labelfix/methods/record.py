"""What a bilevel learner must remember from step to step."""

from __future__ import annotations

import copy

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelfix.methods.student import average


class Record(nn.Module):
    """Buffers alone, so that a checkpoint holds them.

    Args:
        teacher: untrained.
        meta_rows: row numbers of the upper loss.
        rows: N.
    """

    epoch: Tensor
    settled: Tensor
    upper_sum: Tensor
    upper_count: Tensor
    lowest: Tensor
    stale: Tensor
    meta_N: Tensor

    def __init__(self, teacher: nn.Module, meta_rows: Tensor, rows: int) -> None:
        super().__init__()
        self.first = copy.deepcopy(teacher).requires_grad_(False)
        for name in ("epoch", "stale", "upper_count"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("upper_sum", torch.zeros(()))
        self.register_buffer("lowest", torch.tensor(torch.inf))
        self.register_buffer("meta_N", torch.zeros(rows, dtype=torch.bool))
        self.choose(meta_rows)

    def choose(self, meta_rows: Tensor) -> None:
        """The rows of the upper loss from now on."""
        self.meta_N.zero_()
        self.meta_N[meta_rows.to(self.meta_N.device)] = True

    def add(self, upper: Tensor) -> None:
        self.upper_sum += upper.detach()
        self.upper_count += 1

    def start(self, epoch: int, fabric: Fabric, tolerance: float) -> None:
        """An epoch begins: whether the last ones still lowered the upper loss."""
        self.epoch.fill_(epoch)
        if tolerance and int(self.upper_count):
            (mean,) = average(fabric, [(self.upper_sum / self.upper_count)[None]])
            fell = bool(mean < (1 - tolerance) * self.lowest)
            self.stale.fill_(0 if fell else int(self.stale) + 1)
            self.lowest.copy_(torch.minimum(self.lowest, mean[0]))
            self.settled.fill_(int(self.stale) >= 2)
        self.upper_sum.zero_()
        self.upper_count.zero_()

    def moved(self, teacher: nn.Module) -> float:
        """Largest change of any of the teacher's parameters."""
        pairs = zip(teacher.parameters(), self.first.parameters(), strict=True)
        return max(float((now - first).abs().max()) for now, first in pairs)

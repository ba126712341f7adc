"""What meta learning remembers between steps, in buffers, so that a checkpoint holds it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelfix.predictors.bilevel.student import average
from labelfix.predictors.bilevel.upper_losses import Losses, Objective


class MetaRows(nn.Module):
    """The rows that an objective is measured on now.

    Args:
        objective: which says how they are chosen.
        rows: N, of which they are some.
    """

    chosen_N: Tensor

    def __init__(self, objective: Objective, rows: int) -> None:
        super().__init__()
        self.objective = objective
        self.register_buffer("chosen_N", torch.zeros(rows, dtype=torch.bool))
        self._numbers: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda module, keys: self._forget())
        self._choose(objective.rows)

    @property
    def numbers(self) -> Tensor:
        """Their numbers (int64, CPU)."""
        if self._numbers is None:  # once: reading waits for a GPU
            self._numbers = self.chosen_N.nonzero()[:, 0].cpu()
        return self._numbers

    def choose_again(self, fabric: Fabric, losses: Callable[[], Losses]) -> None:
        """At the start of an epoch: other rows, where the objective wants that.

        Args:
            fabric: all processes take the first one's choice.
            losses: measures the noisy rows' losses.
        """
        if self.objective.choose_again is not None:
            found: Any = losses() if fabric.is_global_zero else None
            self._choose(self.objective.choose_again(fabric.broadcast(found)))

    def draw(self, size: int, generator: torch.Generator, *, again: bool = False) -> Tensor:
        """Numbers of about ``size`` rows for a step (int64, CPU).

        Args:
            size: all rows where there are no more.
            generator: on any device.
            again: whether the same row may be drawn twice.
        """
        numbers, device = self.numbers, generator.device
        count = min(len(numbers), max(1, size // self.objective.size))
        if again:
            picks = torch.randint(len(numbers), (count,), generator=generator, device=device)
        else:
            picks = torch.randperm(len(numbers), generator=generator, device=device)[:count]
        return self.objective.company(numbers[picks.cpu()])

    def _choose(self, rows: Tensor) -> None:
        self.chosen_N.zero_()
        self.chosen_N[rows.to(self.chosen_N.device)] = True
        self._forget()

    def _forget(self) -> None:
        self._numbers = None


class MetaState(nn.Module):
    """How far a teacher is: how it started, and whether it still lowers the upper loss.

    Args:
        teacher: untrained.
    """

    settled: Tensor
    upper_sum: Tensor
    upper_count: Tensor
    lowest: Tensor
    stale: Tensor

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.first = copy.deepcopy(teacher).requires_grad_(False)
        for name in ("stale", "upper_count"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("upper_sum", torch.zeros(()))
        self.register_buffer("lowest", torch.tensor(torch.inf))

    def add(self, upper: Tensor) -> None:
        """A step's upper loss."""
        self.upper_sum += upper.detach()
        self.upper_count += 1

    def close_epoch(self, fabric: Fabric, tolerance: float) -> None:
        """Before the next epoch: whether the last ones still lowered the upper loss."""
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

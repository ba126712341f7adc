"""Whether nets still get better, by the checked rows: a guard for nets that teach themselves.

Nets whose own predictions become their labels can talk each other into anything. Their accuracy on
rows whose right label is known, and which they are not taught, shows it within an epoch or two.
"""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

ERRORS = 2.0  # standard errors of a difference that count as a fall


class CheckedAccuracy(nn.Module):
    """Counts predictions of checked rows as they pass, and remembers whether an epoch's share fell.

    Kept in buffers, so that a resumed training knows it too.

    Args:
        clean: ``(N,)`` verified codes, else -1; without any nothing falls.
        nets: that predict each row once an epoch.
    """

    def __init__(self, clean: NDArray[np.int32], nets: int) -> None:
        super().__init__()
        self.nets = nets
        self.clean_N: Tensor
        self.counts_2: Tensor
        self.best: Tensor
        self.fell: Tensor
        codes = torch.from_numpy(clean.astype(np.int64))
        self.register_buffer("clean_N", codes, persistent=False)
        self.register_buffer("counts_2", torch.zeros(2, dtype=torch.float64))  # right, seen
        self.register_buffer("best", torch.zeros((), dtype=torch.float64))
        self.register_buffer("fell", torch.zeros(()))  # 1 from the first fall on

    def count(self, rows: Tensor, predicted: Tensor) -> None:
        """A batch's predictions, rows and classes ``(B,)``."""
        clean_B = self.clean_N[rows]
        hits, seen = (clean_B == predicted).sum(), (clean_B >= 0).sum()
        self.counts_2 += torch.stack([hits, seen])

    def close_epoch(self, fabric: Fabric, *, watched: bool = True) -> None:
        """Compares the epoch's share with the best one before it, in all processes alike.

        Args:
            watched: whether the nets taught themselves in that epoch; what falls in another epoch
                is no fault of theirs.
        """
        total_2 = fabric.all_reduce(self.counts_2, reduce_op="sum")
        assert isinstance(total_2, Tensor)
        hits, seen = total_2.unbind()
        share, rows = hits / seen.clamp_min(1), (seen / self.nets).clamp_min(1)
        spread = (share * (1 - share) + self.best * (1 - self.best)) / rows
        fallen = watched & (seen > 0) & (self.best - share > ERRORS * spread.sqrt())
        self.fell.copy_(self.fell.maximum(fallen.to(self.fell)))
        self.best.copy_(self.best.maximum(share))
        self.counts_2.zero_()

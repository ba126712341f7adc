"""Co-teaching (Han et al., NeurIPS 2018) and Co-teaching+ (Yu et al., ICML 2019).

Each of two nets picks the rows that its peer learns from. Shape suffix: B rows of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def kept_share(progress: float, noise_rate: float) -> float:
    """``R = 1 - tau min(progress, 1)``: the share of a batch that is kept (line 12 of Algorithm 1).

    Args:
        progress: epochs done over T_k, the epochs after which the share is full.
        noise_rate: tau in [0, 1).
    """
    return 1 - noise_rate * min(progress, 1.0)


def smallest_losses(loss_B: Tensor, share: float) -> Tensor:
    """The row numbers of the ``share`` of smallest losses, one at the least (lines 5 and 6).

    Args:
        loss_B: ``(B,)``.
        share: R in [0, 1].
    """
    return loss_B.argsort(stable=True)[: max(1, int(share * len(loss_B)))]


def smallest_losses_of_disputed(loss_B: Tensor, disputed_B: Tensor, share: float) -> Tensor:
    """Co-teaching+'s choice: the smallest losses among the rows where both nets differ.

    Args:
        loss_B: ``(B,)``.
        disputed_B: ``(B,)`` bool.
        share: R in [0, 1] of the disputed rows.

    Differs: with no disputed row in the batch, all rows count as disputed: the paper says nothing
    of that case, and a step without rows has no gradient.
    """
    candidates = disputed_B.nonzero()[:, 0]
    if not len(candidates):
        return smallest_losses(loss_B, share)
    return candidates[smallest_losses(loss_B[candidates], share)]


def disputed(first_BK: Tensor, second_BK: Tensor) -> Tensor:
    """Where two nets' best classes differ, ``(B,)`` bool."""
    return torch.ne(first_BK.argmax(-1), second_BK.argmax(-1))

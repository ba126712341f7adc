"""How far a row lies from what a net was trained on: MSP and energy, and how well they tell.

MSP: Hendrycks and Gimpel, ICLR 2017; energy: Liu et al., NeurIPS 2020. High = in distribution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def msp_score(logits_BK: Tensor) -> Tensor:
    """The largest softmax probability, ``(B,)`` in [1/K, 1]."""
    return logits_BK.softmax(-1).amax(-1)


def energy_score(logits_BK: Tensor) -> Tensor:
    """Minus the energy at temperature 1 (Liu et al., Eq. 4): ``log sum_k exp z_k``, ``(B,)``."""
    return logits_BK.logsumexp(-1)


def auroc(inside_N: NDArray[np.floating], outside_M: NDArray[np.floating]) -> float:
    """The chance that a row of the distribution scores higher than one from outside, ties half."""
    scores = np.concatenate([inside_N, outside_M])
    values, place = np.unique(scores, return_inverse=True)
    count = np.bincount(place, minlength=len(values))
    rank = (np.cumsum(count) - (count - 1) / 2)[place[: len(inside_N)]]
    above = rank.sum() - len(inside_N) * (len(inside_N) + 1) / 2
    return float(above / (len(inside_N) * len(outside_M)))


def fpr_at_95(inside_N: NDArray[np.floating], outside_M: NDArray[np.floating]) -> float:
    """FPR95: the share of rows from outside that pass a threshold that 95 % of the inside pass."""
    keep = int(np.ceil(0.95 * len(inside_N)))
    threshold = np.sort(inside_N)[::-1][keep - 1]
    return float((outside_M >= threshold).mean())

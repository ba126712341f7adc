"""Statements that hold however often somebody looks while the rows are being checked.

An interval of fixed size claims too much when it is read after every row: on CIFAR-10N a gain that
is not there in 19 % of runs. What follows may be read at any time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln

SHOWN = 20.0  # an e-value of 1 / 0.05: false claims in at most one run of twenty
_GRID = 1000
_MOST = 0.5  # of the capital that a bet may lose


def gain_evidence(corrected: int, broken: int) -> float:
    """The e-value for "more labels are corrected than broken", in (0, inf).

    ``E = 2^(w+l+1) B(w+1, l+1) (1 - I_1/2(w+1, l+1))``: the likelihood of w corrected and l broken
    under a uniform prior of the share above one half, against one half. By Ville's inequality it
    reaches :data:`SHOWN` in at most one of twenty runs without a gain, whenever one looks.

    Source: Robbins, Ann. Math. Stat. 1970 (mixtures of likelihood ratios).

    Args:
        corrected, broken: w and l, of random rows in the order they were checked, >= 0.
    """
    log_beta = betaln(corrected + 1, broken + 1) + (corrected + broken + 1) * math.log(2)
    above = 1 - betainc(corrected + 1, broken + 1, 0.5)
    return float(math.exp(min(700.0, log_beta)) * above)


def confidence_sequence(
    values: NDArray[np.floating], *, alpha: float = 0.05
) -> tuple[float, float]:
    """An interval for a mean that holds at every number of rows at once.

    The hedged capital of Waudby-Smith and Ramdas (JRSS B 2024, Theorem 3): for each possible mean m
    a bettor wagers on values above it and one on values below; the means at which neither has won
    ``1 / alpha`` remain.

    Args:
        values: ``(n,)`` in [0, 1], in the order in which they came.
        alpha: one less the confidence.

    Returns:
        The interval's ends in [0, 1]; (0, 1) where n = 0.
    """
    if not len(values):
        return 0.0, 1.0
    x_n = np.asarray(values, np.float64)
    count_n = np.arange(1, len(x_n) + 1)
    mean_n = (0.5 + np.cumsum(x_n)) / (count_n + 1)
    variance_n = (0.25 + np.cumsum((x_n - mean_n) ** 2)) / (count_n + 1)
    before_n = np.concatenate([[0.25], variance_n[:-1]])
    bet_n = np.sqrt(2 * np.log(2 / alpha) / (before_n * count_n * np.log(count_n + 1)))
    means_M = (np.arange(_GRID) + 0.5) / _GRID
    up_M, down_M = np.zeros(_GRID), np.zeros(_GRID)
    best_M = np.full(_GRID, -np.inf)
    for x, bet in zip(x_n, bet_n, strict=True):
        up_M += np.log1p(np.minimum(bet, _MOST / means_M) * (x - means_M))
        down_M += np.log1p(-np.minimum(bet, _MOST / (1 - means_M)) * (x - means_M))
        best_M = np.maximum(best_M, np.maximum(up_M, down_M) - math.log(2))
    left = np.flatnonzero(best_M < math.log(1 / alpha))
    if not len(left):
        return float(x_n.mean()), float(x_n.mean())
    return float(left[0] / _GRID), float((left[-1] + 1) / _GRID)

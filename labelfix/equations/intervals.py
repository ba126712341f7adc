"""95 % intervals for shares (Wilson 1927) and for any statistic of rows (bootstrap, Efron 1979)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054


def wilson_interval(hits: int, rows: int) -> tuple[float, float]:
    """The score interval of a share ``hits / rows``; (0, 1) where there are no rows.

    Never empty and never outside [0, 1], also at 0 or all hits.
    """
    if rows == 0:
        return 0.0, 1.0
    share, z2 = hits / rows, Z_95**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z_95 / (1 + z2 / rows) * (share * (1 - share) / rows + z2 / (4 * rows**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float], rows: int, *, draws: int = 200, seed: int = 0
) -> tuple[float, float]:
    """Interval of ``statistic`` (called with row numbers) over resampled rows, 0 at the least.

    Percentiles, shifted by the resamples' own bias: an error that is a mean of absolute gaps
    grows under resampling.
    """
    if rows == 0:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, rows, rows)) for _ in range(draws)]
    bias = float(np.mean(values)) - statistic(np.arange(rows))
    low, high = np.quantile(values, [0.025, 0.975]) - bias
    return max(0.0, float(low)), max(0.0, float(high))

"""95 % intervals for shares (Wilson 1927) and for differences of paired shares."""

from __future__ import annotations

from math import exp, lgamma, log

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
    low = max(0.0, centre - half) if hits else 0.0  # exactly: rounding may leave 1e-17
    return low, min(1.0, centre + half) if hits < rows else 1.0


def paired_difference(won: int, lost: int, rows: int) -> tuple[float, float, float]:
    """The difference of two accuracies on the same rows, and its 95 % interval.

    ``(won - lost) / rows`` with the adjusted Wald interval of Bonett and Price (2012), which adds
    one row to each kind of disagreement and so holds its level on small tests too.

    Args:
        won: rows that the first gets right and the second wrong.
        lost: the reverse.
        rows: all rows, >= 1.
    """
    first, second = (won + 1) / (rows + 2), (lost + 1) / (rows + 2)
    centre = first - second
    half = Z_95 * ((first + second - centre**2) / (rows + 2)) ** 0.5
    return (won - lost) / rows, max(-1.0, centre - half), min(1.0, centre + half)


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p-value of McNemar's test, in (0, 1].

    The chance of a split at least as uneven as ``won`` to ``lost`` were both equally likely.
    """
    rows, whole = won + lost, lgamma(won + lost + 1)
    logs = (
        whole - lgamma(k + 1) - lgamma(rows - k + 1) - rows * log(2)
        for k in range(min(won, lost) + 1)
    )
    return min(1.0, 2 * sum(map(exp, logs)))

"""The 95 % interval of the difference of two paired shares."""

from __future__ import annotations

Z_95 = 1.959963984540054  # of the normal law: within it lie 95 %


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

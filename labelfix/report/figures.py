"""What the report draws: counts and shares from the arrays of a result, small at any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CELLS = 40  # classes of a full matrix; with more, the heaviest pairs alone
MOST_PAIRS = 30


def class_pairs(
    given: NDArray[np.int32], label: NDArray[np.int32], classes: int
) -> list[tuple[int, int, int]]:
    """How many labels went from one class to another: (from, to, rows), heaviest first.

    Args:
        given: ``(N,)`` codes, -1 = no label.
        label: ``(N,)`` codes.
        classes: K.
    """
    changed = (given >= 0) & (given != label)
    cells, counts = np.unique(given[changed] * classes + label[changed], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(cells[i] // classes), int(cells[i] % classes), int(counts[i])) for i in order]


def matrix_cells(matrix_KK: NDArray[np.float64]) -> list[tuple[int, int, float]]:
    """The cells of a ``(K, K)`` matrix that a chart can hold: (row, column, value).

    All of them up to 40 classes; beyond, the 30 heaviest off the diagonal.
    """
    classes = len(matrix_KK)
    if classes <= MOST_CELLS:
        return [
            (y, x, round(float(matrix_KK[y, x]), 4)) for y in range(classes) for x in range(classes)
        ]
    off = matrix_KK * (1 - np.eye(classes))
    heaviest = np.argsort(-off, axis=None, kind="stable")[:MOST_PAIRS]
    places = (divmod(int(cell), classes) for cell in heaviest)
    return [(y, x, round(float(off[y, x]), 4)) for y, x in places]


def class_table(
    given: NDArray[np.int32],
    label: NDArray[np.int32],
    soft_NK: NDArray[np.float32],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Each class before and after.

    ``given`` and ``label`` count rows; ``right_given`` and ``right_label`` are the mean posterior
    of these labels, in [0, 1], None for a class without rows; ``lost`` and ``gained`` count rows
    whose label left the class or came to it from another.
    """
    classes, rows = len(names), np.arange(len(label))
    had, changed = given >= 0, (given >= 0) & (given != label)
    before = np.bincount(given[had], minlength=classes)
    after = np.bincount(label, minlength=classes)
    held_given = np.bincount(given[had], soft_NK[rows[had], given[had]], minlength=classes)
    held_label = np.bincount(label, soft_NK[rows, label], minlength=classes)
    lost = np.bincount(given[changed], minlength=classes)
    gained = np.bincount(label[changed], minlength=classes)
    return [
        {
            "name": names[k],
            "given": int(before[k]),
            "label": int(after[k]),
            "lost": int(lost[k]),
            "gained": int(gained[k]),
            "right_given": _share(held_given[k], before[k]),
            "right_label": _share(held_label[k], after[k]),
        }
        for k in range(classes)
    ]


def _share(total: float, rows: int) -> float | None:
    return round(float(min(1.0, total / rows)), 4) if rows else None


def histogram(values: NDArray[np.floating], bins: int = 20) -> list[int]:
    """Rows in even bins of [0, 1]; NaN counts nowhere."""
    counts, _ = np.histogram(values[~np.isnan(values)], bins=bins, range=(0, 1))
    return counts.tolist()


def density(
    x: NDArray[np.floating], y: NDArray[np.floating], bins: int = 24
) -> list[tuple[int, int, int]]:
    """Rows in the filled cells of an even grid over [0, 1] x [0, 1]: (column, row, rows)."""
    both = ~(np.isnan(x) | np.isnan(y))
    counts, _, _ = np.histogram2d(x[both], y[both], bins=bins, range=((0, 1), (0, 1)))
    return [(int(i), int(j), int(counts[i, j])) for i, j in zip(*np.nonzero(counts), strict=True)]


def rows_to_show(
    suspicion: NDArray[np.float64],
    doubt: NDArray[np.float64],
    changed: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    most: int = 300,
) -> NDArray[np.int64]:
    """The rows whose pictures the report holds, ascending, at most ``most``.

    Two fifths the most suspicious given labels, two fifths the most doubtful delivered ones, and
    of the rest the changed rows pair by pair, so that every kind of change is there to look at.

    Args:
        suspicion: ``(N,)``, high = the given label looks wrong; -inf = never shown for it.
        doubt: ``(N,)``, high = the delivered label looks wrong; -inf likewise.
        changed: ``(N,)``.
        pairs: ``(N,)``, a number for each pair of given and new class.
        most: rows in all.
    """
    part = 2 * most // 5
    chosen = [_top(suspicion, part), _top(doubt, part)]
    taken = np.unique(np.concatenate(chosen))
    left = np.setdiff1d(np.flatnonzero(changed), taken)
    order = left[np.lexsort((-suspicion[left], pairs[left]))]
    within = np.arange(len(order)) - np.searchsorted(pairs[order], pairs[order], side="left")
    spread = order[np.argsort(within, kind="stable")][: most - len(taken)]
    return np.union1d(taken, spread)


def _top(values: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    order = np.argsort(-values, kind="stable")[:most]
    return order[np.isfinite(values[order])]

"""The one fold structure: a row's prediction comes from a model that never saw the row's labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labelfix.errors import InputError

FOLDS = 5


def assign(
    content: NDArray[np.uint64], strata: NDArray[np.integer], *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int8]:
    """Give each row a fold: rows of the same content share one, strata spread evenly.

    Args:
        content: ``(N,)`` key of a row's image or features; copies of a row would leak its label.
        strata: ``(N,)`` group codes to balance over the folds (checked class, given class).
        folds: number of folds, at least 2.
        seed: of the shuffle.

    Returns:
        ``(N,)`` fold numbers in ``[0, folds)``.

    Raises:
        ValueError: fewer than two folds.
        InputError: fewer distinct rows than folds.
    """
    if folds < 2:
        raise ValueError(f"folds must be at least 2, not {folds}")
    _, first, group = np.unique(content, return_index=True, return_inverse=True)
    if len(first) < folds:
        raise InputError(
            f"only {len(first)} rows differ from each other",
            hint=f"give at least {folds} different rows, one for each fold",
        )
    shuffled = np.random.default_rng(seed).permutation(len(first))
    by_stratum = shuffled[np.argsort(strata[first][shuffled], kind="stable")]
    fold_of_group = np.empty(len(first), dtype=np.int8)
    fold_of_group[by_stratum] = np.arange(len(first)) % folds
    return fold_of_group[group]


# Unlike any seed that a user would choose: label noise that was drawn from the same stream would
# correlate with the sample.
_SEED = 20_201_105


def some_of(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of the rows, drawn and ordered at random; the same ones every time."""
    return np.random.default_rng(_SEED).permutation(rows)[:most]

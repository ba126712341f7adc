"""Learning that gave nothing usable: predictions that know few of the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def collapse_of(log_probabilities: NDArray[np.floating], labels: NDArray[np.int32]) -> str | None:
    """What to say of predictions that cannot be used; None where they can.

    Those that are not finite, or that name fewer than half of the common classes, or one where
    there are several. A class is common if it has at least half of an even share of the labels:
    with one row in a hundred positive, an honest prediction may never say so.

    Args:
        log_probabilities: ``(N, K)``.
        labels: ``(N,)`` the best known codes, -1 = none; they tell which classes there are.
    """
    if not np.isfinite(log_probabilities).all():
        return "predictions are no longer finite; the features may lie far apart in scale"
    predicted = len(np.unique(log_probabilities.argmax(1)))
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    there = int((counts >= counts.mean() / 2).sum()) if len(counts) else 0
    if predicted >= max(min(2, there), there / 2):
        return None
    return (
        f"predictions collapsed onto {predicted} of {there} classes; the features may not carry "
        "the classes, too few rows be checked, or most labels be wrong"
    )

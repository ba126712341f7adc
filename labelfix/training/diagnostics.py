"""What went wrong in a training, as its reports and predictions show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix.training.config import EpochReport


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


STILL = 1e-6  # a teacher whose largest change is below this has not moved
SHUT = 0.01  # share of steps below which a barrier counts as shut
RISE = 0.1  # share of its fall, and of a hundredth of its start, by which an upper loss may rise

History = Sequence[EpochReport]


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """What is kept of a method's training; empty is what a method has none of.

    Attributes:
        folds: the metrics of each epoch of each fold's training, epoch 0 first.
        snapshots: the metrics of each state of the model from which every fold takes one.
        chosen: the snapshot that each fold took.
        diagnostics: lines for a person, none where all is well.
    """

    folds: list[list[dict[str, float]]] = field(default_factory=list)
    snapshots: list[dict[str, float]] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    diagnostics: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, histories: Sequence[History]) -> TrainingLog:
        """From the reports of each fold's training, with what they show."""
        return cls(
            folds=[[report.metrics for report in history] for history in histories],
            diagnostics=diagnose_folds(histories),
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the same as keyword arguments gives the log again."""
        return asdict(self)


def diagnose_folds(histories: Sequence[History]) -> list[str]:
    """Lines for a person, none where all is well.

    Args:
        histories: the reports of each fold's training, epoch 0 first.
    """
    signs = {
        "the teacher never moved, so the labels were not corrected by it; a higher rate or more "
        "epochs may help": [_still(history) for history in histories],
        "the barrier stayed at zero, so the noisy rows taught nothing; the clean rows alone did": [
            _shut(history) for history in histories
        ],
        "the upper loss rose after its lowest epoch; a lower rate or fewer epochs may help": [
            _rose(history) for history in histories
        ],
    }
    return [f"{line} ({_folds(found)})" for line, found in signs.items() if any(found)]


def _folds(found: list[bool]) -> str:
    return f"in {sum(found)} of {len(found)} folds"


def _still(history: History) -> bool:
    return not history[-1].metrics.get("teacher_moved", 1.0) > STILL


def _shut(history: History) -> bool:
    """In the second half of the training."""
    shares = [
        report.metrics["barrier_open"] for report in history if "barrier_open" in report.metrics
    ]
    late = shares[len(shares) // 2 :]
    return bool(late) and float(np.mean(late)) < SHUT


def _rose(history: History) -> bool:
    """By more than noise, in the loss's own range: CLID falls by a few per cent where it works."""
    losses = np.array([report.metrics["upper_loss"] for report in history])
    if len(losses) < 4:
        return False
    start, lowest, end = losses[0], losses.min(), losses[-1]
    return bool(end - lowest > RISE * max(start - lowest, 0.01 * abs(start)))

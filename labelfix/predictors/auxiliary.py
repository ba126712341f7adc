"""Predictions that stand beside every method: the neighbours' votes and a kernel classifier."""

from __future__ import annotations

from labelfix.predictors.kernel_ridge import KernelColumns, KernelRidge
from labelfix.predictors.knn_votes import neighbour_votes
from labelfix.predictors.learning import Learning, Logs


def votes_of(learning: Learning, *, hidden: int = -1) -> Logs:
    """What each row's neighbours say: those in other folds than its own and than ``hidden``."""
    notes = learning.annotations
    return neighbour_votes(
        learning.graph, notes.best_known, notes.folds, notes.classes, hidden=hidden
    )


def kernel_of(learning: Learning) -> Logs:
    """What the kernel classifier says of each row, out of fold."""
    notes = learning.annotations
    columns = KernelColumns(learning.design)
    return KernelRidge(columns, notes.best_known, notes.folds, notes.classes).own()

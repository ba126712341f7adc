"""Auxiliary predictions: they stand beside those of the methods, and are pooled with them.

A new one that every method shall have beside it is a function here, and named in ``BESIDE_ALL``.
"""

from __future__ import annotations

from labelfix.predictors.kernel_ridge import KernelColumns, KernelRidge
from labelfix.predictors.knn_votes import neighbour_votes
from labelfix.predictors.learning import Learning, Logs


def votes_of(learning: Learning, *, hidden: int = -1) -> Logs:
    """The votes of each row's neighbours in other folds than its own and than ``hidden``."""
    notes = learning.annotations
    return neighbour_votes(
        learning.graph, notes.best_known, notes.folds, notes.classes, hidden=hidden
    )


def kernel_of(learning: Learning) -> Logs:
    """The kernel classifier's prediction of each row, out of fold."""
    notes = learning.annotations
    columns = KernelColumns(learning.design)
    return KernelRidge(columns, notes.best_known, notes.folds, notes.classes).own()


BESIDE_ALL = (votes_of,)


def beside_all(learning: Learning) -> list[Logs]:
    """What stands beside every method's prediction."""
    return [predict(learning) for predict in BESIDE_ALL]

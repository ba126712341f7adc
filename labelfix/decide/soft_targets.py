"""What a net of each fold may learn from: soft labels and transitions that never saw the fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfix.annotations import Annotations
from labelfix.decide.audits import random_audits
from labelfix.decide.no_clean_set import estimate
from labelfix.decide.pooling import Pool, PooledPrediction


@dataclass(frozen=True, kw_only=True)
class FoldTargets:
    """Targets of G nets; nothing that net g learns from has seen a label of fold g.

    (Entry g's rows *of* fold g were judged with their own given labels: not for net g.)

    Attributes:
        soft_GNK: ``(G, N, K)`` float32, posteriors; one-hot for checked rows outside fold g.
        transition_GKK: ``(G, K, K)`` float32, ``T[y, given]``.
        given: ``(N,)`` int32 given codes, -1 = none, or the right label is known.
        folds: ``(N,)`` int8; net g learns from the rows of other folds.
    """

    soft_GNK: NDArray[np.float32]
    transition_GKK: NDArray[np.float32]
    given: NDArray[np.int32]
    folds: NDArray[np.int8]


def fold_targets(
    predictors: Sequence[Sequence[NDArray[np.floating]]], annotations: Annotations
) -> FoldTargets:
    """Posteriors as training targets, each pool fitted without the fold that it serves.

    Args:
        predictors: for each fold g some ``(N, K)`` log-probabilities, from models that saw neither
            fold g nor the row's own fold.
        annotations: the N rows' labels.
    """
    rows, classes = predictors[0][0].shape
    audits, _ = random_audits(annotations)
    soft_GNK = np.empty((len(predictors), rows, classes), np.float32)
    transition_GKK = np.empty((len(predictors), classes, classes), np.float32)
    for fold, hidden in enumerate(predictors):
        visible = annotations.hiding(fold)
        seen = np.flatnonzero(visible.is_clean)
        pool = _pool_of(hidden, audits.hiding(fold))
        soft_GNK[fold] = pool.posterior(hidden, annotations.given)
        soft_GNK[fold, seen] = np.eye(classes)[annotations.clean[seen]]
        transition_GKK[fold] = pool.transition.numpy()
    return FoldTargets(
        soft_GNK=soft_GNK,
        transition_GKK=transition_GKK,
        given=annotations.unverified_given,
        folds=annotations.folds,
    )


def _pool_of(hidden: Sequence[NDArray[np.floating]], audits: Annotations) -> Pool:
    """The pool of the verified rows that count, or of the given labels where none does."""
    rows = np.flatnonzero(audits.is_clean)
    if not len(rows) and (audits.given >= 0).any():
        return estimate(hidden, audits.given)
    return PooledPrediction.of(hidden, audits.given).fit(audits, rows)

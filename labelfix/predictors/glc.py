"""GLC, gold loss correction, out of fold: nets that learn given labels through their noise.

Hendrycks et al., NeurIPS 2018. For each fold, a first net learns the given labels as they are, and
what it says of the verified rows of other folds is the transition; a second net learns the given
labels through that transition, and the verified ones as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.annotations import Annotations
from labelfix.decide.soft_targets import FoldTargets
from labelfix.equations.glc import transition_from_clean
from labelfix.features.standardise import Design
from labelfix.nets.feature_net import FeatureNet
from labelfix.predictors.auxiliary import kernel_of
from labelfix.predictors.dmlp_naive import DEFAULTS, fit_fold_mlps, train_fold_mlps
from labelfix.predictors.learning import Learning, Predictions

LEAST = 1e-6  # chance of a label in any class


def run_glc(learning: Learning) -> Predictions:
    """The second nets' predictions, with the kernel classifier beside them."""
    notes, design = learning.annotations, learning.design
    with learning.report.task("purify (glc: given labels)") as advance:
        first = train_fold_mlps(
            design, targets_as_given(notes), config=replace(DEFAULTS, forward_share=0.0),
            loop=learning.loop, on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )  # fmt: skip
    targets = targets_through(notes, transitions(first, design, notes))
    with learning.report.task("purify (glc: through the noise)") as advance:
        logs_NK = fit_fold_mlps(
            design, targets, config=replace(DEFAULTS, forward_share=1.0),
            loop=learning.loop, on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )  # fmt: skip
    return Predictions(log_probabilities={"glc": logs_NK}, auxiliary=[kernel_of(learning)])


def targets_as_given(notes: Annotations) -> FoldTargets:
    """The given labels of rows that nobody verified; other rows are no target of a first net."""
    folds = len(notes.fold_numbers)
    eye_KK = np.eye(notes.classes, dtype=np.float32)
    return FoldTargets(
        soft_GNK=_one_hot(notes.unverified_given, notes.classes, folds),
        transition_GKK=np.repeat(eye_KK[None], folds, axis=0),
        given=np.full(len(notes), -1, np.int32),
        folds=notes.folds,
    )


def targets_through(notes: Annotations, transition_GKK: NDArray[np.float32]) -> FoldTargets:
    """Verified labels as they are, the other given labels through each fold's transition."""
    return FoldTargets(
        soft_GNK=_one_hot(notes.clean, notes.classes, len(transition_GKK)),
        transition_GKK=transition_GKK,
        given=notes.unverified_given,
        folds=notes.folds,
    )


@torch.no_grad()
def transitions(nets: FeatureNet, design: Design, notes: Annotations) -> NDArray[np.float32]:
    """``(G, K, K)``: how labels go wrong, as each fold's net has it at other folds' verified rows.

    Args:
        nets: trained on given labels, one for each fold.
        design: the scaled features.
        notes: of the N rows.
    """
    rows = np.flatnonzero(notes.is_clean)
    p_GMK = nets(design.net_rows(rows)).softmax(-1).cpu()
    labels_M, folds_M = torch.from_numpy(notes.clean[rows]).long(), notes.folds[rows]
    found = []
    for fold, p_MK in enumerate(p_GMK):
        others = torch.from_numpy(folds_M != fold)
        found.append(transition_from_clean(p_MK[others], labels_M[others]))
    return torch.stack(found).clamp_min(LEAST).numpy()


def _one_hot(codes: NDArray[np.int32], classes: int, folds: int) -> NDArray[np.float32]:
    """``(G, N, K)``; zeros for a row without a code."""
    soft_NK = np.eye(classes, dtype=np.float32)[codes.clip(0)] * (codes >= 0)[:, None]
    return np.repeat(soft_NK[None].astype(np.float32), folds, axis=0)

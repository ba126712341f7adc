"""DMLP as a method of ``purify``: IPC and EAC in every fold at once, in one read of the features.

Tu et al., CVPR 2023. Each fold's model trains on the other folds' rows; the five stand side by
side in one batch of thin products, so cross-fitting costs no extra read of the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.equations import dmlp as eq
from labelfix.equations.calibration import fit_temperature
from labelfix.errors import DegenerateLearningError
from labelfix.methods.design import Design, Matrix

MOMENTUM = 0.7  # of the classifier's Nesterov steps
RIDGES = tuple(10.0**e for e in range(-4, 2))


@dataclass(frozen=True, kw_only=True)
class DMLPConfig:
    """Settings of DMLP.

    Attributes:
        warm_up: passes of the classifier on the given labels before any correction.
        passes: correcting passes after that; snapshots are taken every ``period``.
        period: passes between two write-backs of EAC (the paper's T).
        ipc_rate: typical move of a label entry a pass (the paper's eta_I).
        eac_momentum: share of the classifier's prediction at a write-back (the paper's eta_E).
        scale: the paper's alpha; None = the value at which a one-hot label carries 0.9.
            Differs: the paper has 1, which at 10 classes turns a one-hot label into 0.23.
        entropy_weight: of the entropy terms in Eq. 6 and 8.
        prior_weight: of the class-prior terms that keep the entropy from collapsing.
    """

    warm_up: int = 6
    passes: int = 20
    period: int = 10
    ipc_rate: float = 0.02
    eac_momentum: float = 1.0
    scale: float | None = None
    entropy_weight: float = 1.0
    prior_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("warm_up", 1), ("passes", 0), ("period", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.eac_momentum <= 1:
            raise ValueError(f"eac_momentum must lie in [0, 1], not {self.eac_momentum}")
        if self.scale is not None and self.scale <= 0:
            raise ValueError(f"scale must be positive, not {self.scale}")


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """What a method yields: log p(y|x) for each row from a model that saw none of its labels.

    Attributes:
        log_probabilities: ``(N, K)`` float32.
        history: one entry a snapshot, with the checked rows' log loss and accuracy.
        chosen: the snapshot taken for each fold.
    """

    log_probabilities: NDArray[np.float32]
    history: list[dict[str, float]]
    chosen: list[int]


def purify(
    features: Matrix,
    given: NDArray[np.int32],
    checked: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    *,
    config: DMLPConfig = DMLPConfig(),
    device: torch.device | str = "cpu",
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> OutOfFold:
    """Run DMLP on frozen features.

    Args:
        features: ``(N, D)``, finite, may be memory-mapped.
        given: ``(N,)`` class codes, -1 = no label.
        checked: ``(N,)`` right labels, -1 = not checked; every class occurs outside each fold.
        folds: ``(N,)`` from :func:`labelfix.methods.folds.assign`.
        classes: K.
        config: settings.
        device: of the computation.
        on_pass: called with (passes done, passes in all).

    Raises:
        DegenerateLearningError: NaN, or a classifier that collapsed onto few classes in every
            snapshot.
    """
    learner = DMLP(Design.of(features, device), given, checked, folds, classes, config)
    total = config.warm_up + config.passes
    for done in range(1, total + 1):
        corrected = done - config.warm_up
        write_back = corrected > 0 and corrected % config.period == 0
        learner.step(correct=corrected > 0, write_back=write_back)
        if done == config.warm_up or write_back or done == total:
            learner.snapshot()
        on_pass(done, total)
    return learner.result()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A classifier worth returning to: its weights in every fold, and the checked rows' logits."""

    weights_FKD: Tensor
    logits_VK: Tensor


class DMLP:
    """State of IPC and EAC over all folds: label parameters, classifier, spectra of the design.

    Shape suffixes: F folds, N rows, V checked rows, K classes, D columns of the design, B a block.
    """

    def __init__(
        self,
        design: Design,
        given: NDArray[np.int32],
        checked: NDArray[np.int32],
        folds: NDArray[np.int8],
        classes: int,
        config: DMLPConfig,
    ) -> None:
        device = design.device
        self.design, self.config, self.classes = design, config, classes
        self.scale = config.scale or math.log(9 * (classes - 1))
        self.folds = int(folds.max()) + 1
        self.fold_N = torch.from_numpy(folds.astype(np.int64)).to(device)
        self.checked_N = torch.from_numpy(checked.astype(np.int64)).to(device)
        start = np.where(checked >= 0, checked, given)
        self.labelled_N = torch.from_numpy(start >= 0).to(device)
        self.labels_FKN = self._one_hot(torch.from_numpy(start.astype(np.int64)).to(device))
        self._prepare_clean_rows(checked)
        self._prepare_spectra()
        self.classifier_FKD = 4 * self._solve(self.label_moments_FKD)
        self.previous_FKD = self.classifier_FKD
        self.class_mean_FK = self.prior_FK
        self.snapshots: list[Snapshot] = []

    def _one_hot(self, codes_N: Tensor) -> Tensor:
        labels_KN = torch.zeros(self.classes, len(codes_N), device=codes_N.device)
        labels_KN.scatter_(0, codes_N.clamp_min(0)[None], (codes_N >= 0).float()[None])
        return labels_KN.expand(self.folds, -1, -1).clone()

    def _prepare_clean_rows(self, checked: NDArray[np.int32]) -> None:
        rows_V = np.flatnonzero(checked >= 0)
        device = self.design.device
        self.clean_VD = self.design.take(rows_V)
        self.clean_fold_V = self.fold_N[torch.from_numpy(rows_V).to(device)]
        self.clean_label_V = self.checked_N[torch.from_numpy(rows_V).to(device)]
        self.clean_KV = torch.nn.functional.one_hot(self.clean_label_V, self.classes).T.float()
        seen_FV = self._outside(self.clean_fold_V)
        self.clean_share_FV = seen_FV / seen_FV.sum(1, keepdim=True)
        counts_FK = seen_FV @ self.clean_KV.T + 1
        self.prior_FK = counts_FK / counts_FK.sum(1, keepdim=True)

    def _prepare_spectra(self) -> None:
        """Gram matrices of every fold's training rows in one pass; ridge by GCV inside the fold."""
        columns = self.design.shape[1]
        gram_FDD = torch.zeros(self.folds, columns, columns, device=self.design.device)
        moments_FKD = torch.zeros(self.folds, self.classes, columns, device=self.design.device)
        for rows, block_BD in self.design.blocks():
            training_FB = self._lower(rows)
            moments_FKD += self._thin(
                eq.soft_targets(self.labels_FKN[..., rows], self.scale) * training_FB[:, None],
                block_BD,
            )
            for fold in range(self.folds):
                mine_BD = block_BD[(self.fold_N[rows] == fold) & (self.checked_N[rows] < 0)]
                gram_FDD[fold] += mine_BD.T @ mine_BD
        gram_FDD = gram_FDD.sum(0) - gram_FDD
        self.label_moments_FKD = moments_FKD
        self.rows_F = self._lower(slice(None)).sum(1)
        self.spectrum = eq.ridge_spectrum(gram_FDD)
        clean_FVD = self._outside(self.clean_fold_V)[..., None] * self.clean_VD
        self.bound = eq.ridge_spectrum(gram_FDD + clean_FVD.mT @ self.clean_VD)
        self.ridge_F = self._choose_ridge(moments_FKD)

    def _choose_ridge(self, moments_FKD: Tensor) -> Tensor:
        """The ridge parameter of least GCV score, as a multiple of the mean squared feature."""
        energy_F = torch.zeros_like(self.rows_F)
        for rows, _ in self.design.blocks():
            targets_FKB = eq.soft_targets(self.labels_FKN[..., rows], self.scale)
            energy_F += (targets_FKB.square().sum(1) * self._lower(rows)).sum(1)
        unit_F = self.rows_F.clamp_min(1) / self.design.shape[1]
        scores = torch.stack(
            [
                eq.generalised_cross_validation(
                    moments_FKD, energy_F, self.rows_F, *self.spectrum, (ridge * unit_F)[:, None]
                )
                for ridge in RIDGES
            ]
        )
        return torch.tensor(RIDGES, device=unit_F.device)[scores.argmin(0)] * unit_F

    def _outside(self, fold_B: Tensor) -> Tensor:
        """``(F, B)``: 1 where a fold may learn from the row."""
        return (fold_B != torch.arange(self.folds, device=fold_B.device)[:, None]).float()

    def _lower(self, rows: slice) -> Tensor:
        """Training rows of the lower problem: outside the fold, and not a checked row of Eq. 6."""
        return self._outside(self.fold_N[rows]) * (self.checked_N[rows] < 0)

    def _thin(self, left_FKB: Tensor, block_BD: Tensor) -> Tensor:
        return (left_FKB.flatten(0, 1) @ block_BD).unflatten(0, left_FKB.shape[:2])

    def _forward(self, weights_FKD: Tensor, block_BD: Tensor) -> Tensor:
        return (weights_FKD.flatten(0, 1) @ block_BD.T).unflatten(0, weights_FKD.shape[:2])

    def _solve(self, moments_FKD: Tensor) -> Tensor:
        return eq.ridge_solve(moments_FKD, *self.spectrum, self.ridge_F)

    def _upper_direction(self) -> Tensor:
        """B of :func:`eq.ipc_gradient`, at unit RMS over the training rows, ``(F, K, D)``."""
        with torch.enable_grad():
            weights_FKD = self._solve(self.label_moments_FKD)
            estimate_FKV = self._forward(weights_FKD, self.clean_VD).requires_grad_()
            loss = eq.validation_loss(
                estimate_FKV,
                self.clean_KV,
                self.clean_share_FV,
                entropy_weight=self.config.entropy_weight,
                prior_K=self.prior_FK,
                prior_weight=self.config.prior_weight,
            )
            (gradient_FKV,) = torch.autograd.grad(loss, estimate_FKV)
        upper_FKD = self._solve(self._thin(gradient_FKV, self.clean_VD))
        rms_F = eq.direction_rms(upper_FKD, *self.spectrum, self.rows_F.clamp_min(1))
        return upper_FKD / rms_F.clamp_min(1e-12)[:, None, None]

    @torch.no_grad()
    def step(self, *, correct: bool, write_back: bool) -> None:
        """One pass over the rows: IPC moves the labels, the classifier follows, EAC writes back.

        Both correctors share the read of the features. The class mean that the classifier's prior
        term needs is the previous pass's.
        """
        upper_FKD = self._upper_direction() if correct else None
        ahead_FKD = self.classifier_FKD + MOMENTUM * (self.classifier_FKD - self.previous_FKD)
        label_moments_FKD, slope_FKD = torch.zeros_like(ahead_FKD), torch.zeros_like(ahead_FKD)
        class_sum_FK = torch.zeros_like(self.prior_FK)
        for rows, block_BD in self.design.blocks():
            targets_FKB = self._targets(rows, block_BD, upper_FKD)
            probabilities_FKB = self._forward(ahead_FKD, block_BD).softmax(1)
            learns_FB = self._outside(self.fold_N[rows]) * self.labelled_N[rows]
            gradient_FKB = self._classifier_gradient(
                probabilities_FKB, targets_FKB, learns_FB, regularised=correct
            )
            slope_FKD += self._thin(gradient_FKB, block_BD)
            label_moments_FKD += self._thin(targets_FKB * self._lower(rows)[:, None], block_BD)
            class_sum_FK += (probabilities_FKB * learns_FB[:, None]).sum(-1)
            if write_back:
                self._write_back(rows, probabilities_FKB)
        self.label_moments_FKD = label_moments_FKD
        self.class_mean_FK = class_sum_FK / class_sum_FK.sum(1, keepdim=True)
        self._move_classifier(ahead_FKD, slope_FKD)
        if write_back:
            self.labelled_N = torch.ones_like(self.labelled_N)

    def _targets(self, rows: slice, block_BD: Tensor, upper_FKD: Tensor | None) -> Tensor:
        """The block's labels as distributions, after an IPC update where one is due."""
        targets_FKB = eq.soft_targets(self.labels_FKN[..., rows], self.scale)
        if upper_FKD is None:
            return targets_FKB
        gradient_FKB = eq.ipc_gradient(targets_FKB, upper_FKD, block_BD, self.scale)
        gradient_FKB = gradient_FKB * (self.checked_N[rows] < 0)
        updated_FKB = eq.ipc_update(self.labels_FKN[..., rows], gradient_FKB, self.config.ipc_rate)
        self.labels_FKN[..., rows] = updated_FKB
        return eq.soft_targets(updated_FKB, self.scale)

    def _write_back(self, rows: slice, probabilities_FKB: Tensor) -> None:
        """EAC, for the rows that nobody checked."""
        open_B = self.checked_N[rows] < 0
        labels_FKB = self.labels_FKN[..., rows]
        updated_FKB = eq.eac_update(labels_FKB, probabilities_FKB, self.config.eac_momentum)
        self.labels_FKN[..., rows] = torch.where(open_B, updated_FKB, labels_FKB)

    def _classifier_gradient(
        self,
        probabilities_FKB: Tensor,
        targets_FKB: Tensor,
        learns_FB: Tensor,
        *,
        regularised: bool,
    ) -> Tensor:
        """Eq. 8 as a sum over rows; the warm-up is plain cross-entropy."""
        config = self.config
        return eq.classifier_gradient(
            probabilities_FKB,
            targets_FKB,
            learns_FB,
            entropy_weight=config.entropy_weight if regularised else 0.0,
            prior_ratio_K=self.prior_FK / self.class_mean_FK.clamp_min(1e-12),
            prior_weight=config.prior_weight if regularised else 0.0,
        )

    def _move_classifier(self, ahead_FKD: Tensor, slope_FKD: Tensor) -> None:
        """A step preconditioned by Boehning's bound: the softmax Hessian is at most F^T F / 2.

        Unlike Eq. 4's, this F has the checked rows too: where they are many, or the columns more
        than the rows, a step without them would diverge.
        """
        shrink_FKD = 0.25 * self.ridge_F[:, None, None] * ahead_FKD
        self.previous_FKD = self.classifier_FKD
        step_FKD = eq.ridge_solve(slope_FKD + shrink_FKD, *self.bound, self.ridge_F)
        self.classifier_FKD = ahead_FKD - 2 * step_FKD
        if not torch.isfinite(self.classifier_FKD).all():
            raise DegenerateLearningError(
                "dmlp: the classifier's weights are no longer finite; check the features' scale"
            )

    def snapshot(self) -> None:
        """Keep the classifier as it is now, with its prediction for the checked rows."""
        logits_FKV = self._forward(self.classifier_FKD, self.clean_VD)
        held_out = torch.arange(len(self.clean_fold_V), device=self.clean_fold_V.device)
        self.snapshots.append(
            Snapshot(
                weights_FKD=self.classifier_FKD.clone(),
                logits_VK=logits_FKV[self.clean_fold_V, :, held_out],
            )
        )

    def result(self) -> OutOfFold:
        """Each fold's predictions from the snapshot that the other folds' checked rows prefer."""
        losses_SV = torch.stack([self._loss(snapshot) for snapshot in self.snapshots])
        chosen = [
            int(losses_SV[:, self.clean_fold_V != fold].mean(1).argmin())
            for fold in range(self.folds)
        ]
        weights_FKD = torch.stack(
            [self.snapshots[s].weights_FKD[fold] for fold, s in enumerate(chosen)]
        )
        logs_NK = np.empty((self.design.shape[0], self.classes), dtype=np.float32)
        for rows, block_BD in self.design.blocks():
            logits_FKB = self._forward(weights_FKD, block_BD)
            own_BK = logits_FKB[self.fold_N[rows], :, torch.arange(len(block_BD))]
            logs_NK[rows] = own_BK.log_softmax(1).cpu().numpy()
        self._refuse_collapse(logs_NK)
        history = [self._describe(s, losses_SV[i]) for i, s in enumerate(self.snapshots)]
        return OutOfFold(log_probabilities=logs_NK, history=history, chosen=chosen)

    def _loss(self, snapshot: Snapshot) -> Tensor:
        """Log loss of each checked row, ``(V,)``, at the snapshot's own best temperature."""
        temperature = fit_temperature(snapshot.logits_VK, self.clean_label_V)
        logs_VK = (snapshot.logits_VK / temperature).log_softmax(1)
        return -logs_VK.gather(1, self.clean_label_V[:, None])[:, 0]

    def _describe(self, snapshot: Snapshot, loss_V: Tensor) -> dict[str, float]:
        right_V = snapshot.logits_VK.argmax(1) == self.clean_label_V
        return {
            "checked_log_loss": float(loss_V.mean()),
            "checked_accuracy": float(right_V.float().mean()),
        }

    def _refuse_collapse(self, logs_NK: NDArray[np.float32]) -> None:
        """A class that the checked rows show but no row is predicted as, is a collapse."""
        predicted_K = np.bincount(logs_NK.argmax(1), minlength=self.classes)
        checked_K = self.clean_KV.sum(1).cpu().numpy()
        if (predicted_K > 0).sum() < max(2, (checked_K > 0).sum() / 2):
            raise DegenerateLearningError(
                f"dmlp: predictions collapsed onto {(predicted_K > 0).sum()} of {self.classes} "
                "classes; the features may not carry the classes, or too few rows are checked"
            )

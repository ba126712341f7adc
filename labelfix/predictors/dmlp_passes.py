"""DMLP's state: label parameters and classifiers of all models, and the passes that move them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.annotations import Annotations
from labelfix.equations import dmlp as eq
from labelfix.equations.calibration import fit_temperature
from labelfix.equations.ridge import least_gcv, ridge_solve, ridge_spectrum
from labelfix.errors import DegenerateLearningError
from labelfix.features.fold_sums import add_by_fold, logits_of, moments_of
from labelfix.features.standardise import BLOCK_ROWS, Design
from labelfix.ranges import AtLeastOne, Positive, Share, Within, check_settings

MOMENTUM = 0.7  # of the classifier's Nesterov steps
RIDGES = tuple(
    10.0**e for e in range(1, -5, -1)
)  # the largest first: it wins where none can be scored


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

    warm_up: AtLeastOne = 6
    passes: Annotated[int, Within(0)] = 20
    period: AtLeastOne = 10
    ipc_rate: float = 0.02
    eac_momentum: Share = 1.0
    scale: Positive | None = None
    entropy_weight: float = 1.0
    prior_weight: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self)


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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A classifier worth returning to: its weights in every model, and the checked rows' logits.

    The logits are None where models hide more than one fold each.
    """

    weights_MKD: Tensor
    logits_VK: Tensor | None


class DMLP:
    """State of IPC and EAC in every model: label parameters, classifier, spectra of the design.

    Model m learns from the rows of every fold g with ``hides_MG[m, g] == 0``.

    Shape suffixes: M models, G folds, N rows, V checked rows, K classes, D columns of the design,
    B rows of a block.
    """

    def __init__(
        self,
        design: Design,
        annotations: Annotations,
        hides_MG: Tensor,
        config: DMLPConfig,
    ) -> None:
        device = design.device
        self.design, self.config, self.classes = design, config, annotations.classes
        self.scale = config.scale or math.log(9 * (self.classes - 1))
        self.hides_MG = hides_MG.to(device)
        self.models, self.folds = hides_MG.shape
        self.fold_N = torch.from_numpy(annotations.folds.astype(np.int64)).to(device)
        self.clean_N = torch.from_numpy(annotations.clean.astype(np.int64)).to(device)
        start = annotations.best_known
        self.labelled_N = torch.from_numpy(start >= 0).to(device)
        self.labels_MKN = self._one_hot(torch.from_numpy(start.astype(np.int64)).to(device))
        self._prepare_clean_rows(annotations)
        self._prepare_spectra()
        self.classifier_MKD = 4 * self._solve(self.label_moments_MKD)
        self.previous_MKD = self.classifier_MKD
        self.class_mean_MK = self.prior_MK
        self.snapshots: list[Snapshot] = []

    def _one_hot(self, codes_N: Tensor) -> Tensor:
        labels_KN = torch.zeros(self.classes, len(codes_N), device=codes_N.device)
        labels_KN.scatter_(0, codes_N.clamp_min(0)[None], (codes_N >= 0).float()[None])
        return labels_KN.expand(self.models, -1, -1).clone()

    def _prepare_clean_rows(self, annotations: Annotations) -> None:
        rows_V = np.flatnonzero(annotations.is_clean)
        device = self.design.device
        self.clean_VD = self.design.take(rows_V)
        self.clean_fold_V = self.fold_N[torch.from_numpy(rows_V).to(device)]
        self.clean_label_V = self.clean_N[torch.from_numpy(rows_V).to(device)]
        self.clean_KV = torch.nn.functional.one_hot(self.clean_label_V, self.classes).T.float()
        seen_MV = self._outside(self.clean_fold_V)
        self.clean_share_MV = seen_MV / seen_MV.sum(1, keepdim=True).clamp_min(1)
        counts_MK = seen_MV @ self.clean_KV.T + 1
        self.prior_MK = counts_MK / counts_MK.sum(1, keepdim=True)

    def _prepare_spectra(self) -> None:
        """Gram matrices of every fold's training rows in one pass; ridge by GCV inside the fold."""
        columns = self.design.shape[1]
        gram_GDD = torch.zeros(self.folds, columns, columns, device=self.design.device)
        moments_MKD = torch.zeros(self.models, self.classes, columns, device=self.design.device)
        for rows, block_BD in self.design.blocks():
            training_MB = self._lower(rows)
            moments_MKD += moments_of(
                eq.soft_targets(self.labels_MKN[..., rows], self.scale) * training_MB[:, None],
                block_BD,
            )
            fold_B = self.fold_N[rows].where(self.clean_N[rows] < 0, -1)
            add_by_fold(gram_GDD, block_BD, block_BD, fold_B)
        gram_MDD = torch.einsum("mg,gde->mde", 1 - self.hides_MG, gram_GDD)
        self.label_moments_MKD = moments_MKD
        self.rows_M = self._lower(slice(None)).sum(1)
        self.spectrum = ridge_spectrum(gram_MDD)
        clean_MVD = self._outside(self.clean_fold_V)[..., None] * self.clean_VD
        self.bound = ridge_spectrum(gram_MDD + clean_MVD.mT @ self.clean_VD)
        self.ridge_M = self._choose_ridge(moments_MKD)

    def _choose_ridge(self, moments_MKD: Tensor) -> Tensor:
        """The ridge parameter of least GCV score, as a multiple of the mean squared feature."""
        energy_M = torch.zeros_like(self.rows_M)
        for rows in self.design.parts():
            targets_MKB = eq.soft_targets(self.labels_MKN[..., rows], self.scale)
            energy_M += (targets_MKB.square().sum(1) * self._lower(rows)).sum(1)
        unit_M = self.rows_M.clamp_min(1) / self.design.shape[1]
        ridges_CM = torch.tensor(RIDGES, device=unit_M.device)[:, None] * unit_M
        return least_gcv(moments_MKD, energy_M, self.rows_M, self.spectrum, ridges_CM)

    def _outside(self, fold_B: Tensor) -> Tensor:
        """``(M, B)``: 1 where a model may learn from the row."""
        return 1 - self.hides_MG[:, fold_B]

    def _lower(self, rows: slice) -> Tensor:
        """Training rows of the lower problem: of a visible fold, and not a checked row of Eq. 6."""
        return self._outside(self.fold_N[rows]) * (self.clean_N[rows] < 0)

    def _solve(self, moments_MKD: Tensor) -> Tensor:
        return ridge_solve(moments_MKD, self.spectrum, self.ridge_M)

    def _upper_direction(self) -> Tensor:
        """B of :func:`eq.ipc_gradient`, at unit RMS over the training rows, ``(F, K, D)``."""
        with torch.enable_grad():
            weights_MKD = self._solve(self.label_moments_MKD)
            estimate_MKV = logits_of(weights_MKD, self.clean_VD).requires_grad_()
            loss = eq.validation_loss(
                estimate_MKV,
                self.clean_KV,
                self.clean_share_MV,
                entropy_weight=self.config.entropy_weight,
                prior_K=self.prior_MK,
                prior_weight=self.config.prior_weight,
            )
            (gradient_MKV,) = torch.autograd.grad(loss, estimate_MKV)
        upper_MKD = self._solve(moments_of(gradient_MKV, self.clean_VD))
        rms_M = eq.direction_rms(upper_MKD, self.spectrum, self.rows_M.clamp_min(1))
        return upper_MKD / rms_M.clamp_min(1e-12)[:, None, None]

    @torch.no_grad()
    def step(self, *, correct: bool, write_back: bool) -> None:
        """One pass over the rows: IPC moves the labels, the classifier follows, EAC writes back.

        Both correctors share the read of the features. The class mean that the classifier's prior
        term needs is the previous pass's.
        """
        upper_MKD = self._upper_direction() if correct else None
        ahead_MKD = self.classifier_MKD + MOMENTUM * (self.classifier_MKD - self.previous_MKD)
        label_moments_MKD, slope_MKD = torch.zeros_like(ahead_MKD), torch.zeros_like(ahead_MKD)
        class_sum_MK = torch.zeros_like(self.prior_MK)
        for rows, block_BD in self.design.blocks():
            targets_MKB = self._targets(rows, block_BD, upper_MKD)
            probabilities_MKB = logits_of(ahead_MKD, block_BD).softmax(1)
            learns_MB = self._outside(self.fold_N[rows]) * self.labelled_N[rows]
            gradient_MKB = self._classifier_gradient(
                probabilities_MKB, targets_MKB, learns_MB, regularised=correct
            )
            slope_MKD += moments_of(gradient_MKB, block_BD)
            label_moments_MKD += moments_of(targets_MKB * self._lower(rows)[:, None], block_BD)
            class_sum_MK += (probabilities_MKB * learns_MB[:, None]).sum(-1)
            if write_back:
                self._write_back(rows, probabilities_MKB)
        self.label_moments_MKD = label_moments_MKD
        self.class_mean_MK = class_sum_MK / class_sum_MK.sum(1, keepdim=True)
        self._move_classifier(ahead_MKD, slope_MKD)
        if write_back:
            self.labelled_N = torch.ones_like(self.labelled_N)

    def _targets(self, rows: slice, block_BD: Tensor, upper_MKD: Tensor | None) -> Tensor:
        """The block's labels as distributions, after an IPC update where one is due."""
        targets_MKB = eq.soft_targets(self.labels_MKN[..., rows], self.scale)
        if upper_MKD is None:
            return targets_MKB
        gradient_MKB = eq.ipc_gradient(targets_MKB, upper_MKD, block_BD, self.scale)
        gradient_MKB = gradient_MKB * (self.clean_N[rows] < 0)
        updated_MKB = eq.ipc_update(self.labels_MKN[..., rows], gradient_MKB, self.config.ipc_rate)
        self.labels_MKN[..., rows] = updated_MKB
        return eq.soft_targets(updated_MKB, self.scale)

    def _write_back(self, rows: slice, probabilities_MKB: Tensor) -> None:
        """EAC, for the rows that nobody checked."""
        open_B = self.clean_N[rows] < 0
        labels_MKB = self.labels_MKN[..., rows]
        updated_MKB = eq.eac_update(labels_MKB, probabilities_MKB, self.config.eac_momentum)
        self.labels_MKN[..., rows] = torch.where(open_B, updated_MKB, labels_MKB)

    def _classifier_gradient(
        self,
        probabilities_MKB: Tensor,
        targets_MKB: Tensor,
        learns_MB: Tensor,
        *,
        regularised: bool,
    ) -> Tensor:
        """Eq. 8 as a sum over rows; the warm-up is plain cross-entropy."""
        config = self.config
        return eq.classifier_gradient(
            probabilities_MKB,
            targets_MKB,
            learns_MB,
            entropy_weight=config.entropy_weight if regularised else 0.0,
            prior_ratio_K=self.prior_MK / self.class_mean_MK.clamp_min(1e-12),
            prior_weight=config.prior_weight if regularised else 0.0,
        )

    def _move_classifier(self, ahead_MKD: Tensor, slope_MKD: Tensor) -> None:
        """A step preconditioned by Boehning's bound: the softmax Hessian is at most F^T F / 2.

        Unlike Eq. 4's, this F has the checked rows too: where they are many, or the columns more
        than the rows, a step without them would diverge.
        """
        shrink_MKD = 0.25 * self.ridge_M[:, None, None] * ahead_MKD
        self.previous_MKD = self.classifier_MKD
        step_MKD = ridge_solve(slope_MKD + shrink_MKD, self.bound, self.ridge_M)
        self.classifier_MKD = ahead_MKD - 2 * step_MKD
        if not torch.isfinite(self.classifier_MKD).all():
            raise DegenerateLearningError(
                "dmlp: the classifier's weights are no longer finite; check the features' scale"
            )

    def run(self, on_pass: Callable[[int, int], None], snapshots: int | None = None) -> None:
        """All passes, with a snapshot after the warm-up, at every write-back and at the end.

        With ``snapshots`` the run ends as soon as it has taken so many.
        """
        config = self.config
        total = config.warm_up + config.passes
        for done in range(1, total + 1):
            corrected = done - config.warm_up
            write_back = corrected > 0 and corrected % config.period == 0
            self.step(correct=corrected > 0, write_back=write_back)
            if done == config.warm_up or write_back or done == total:
                self.snapshot()
            on_pass(done, total)
            if len(self.snapshots) == snapshots:
                break

    def snapshot(self) -> None:
        """Keep the classifier as it is now, with its out-of-fold logits for the checked rows."""
        logits_VK = None
        if self.models == self.folds:
            logits_MKV = logits_of(self.classifier_MKD, self.clean_VD)
            held_out = torch.arange(len(self.clean_fold_V), device=self.clean_fold_V.device)
            logits_VK = logits_MKV[self.clean_fold_V, :, held_out]
        self.snapshots.append(
            Snapshot(weights_MKD=self.classifier_MKD.clone(), logits_VK=logits_VK)
        )

    def predict(self, rows: NDArray[np.int64], model: int, snapshot: int) -> NDArray[np.float32]:
        """One model's log-probabilities of some rows, ``(len(rows), K)``."""
        weights_KD = self.snapshots[snapshot].weights_MKD[model]
        logs_BK = [
            (self.design.take(part) @ weights_KD.T).log_softmax(1).cpu().numpy()
            for part in np.array_split(rows, max(1, len(rows) // BLOCK_ROWS))
        ]
        return np.concatenate(logs_BK)

    def result(self) -> OutOfFold:
        """Each fold's predictions from the snapshot that the other folds' checked rows prefer.

        The models that predict those rows have seen the fold: one choice among a few snapshots is
        all that its labels have a say in.
        """
        losses_SV = torch.stack([self._loss(snapshot) for snapshot in self.snapshots])
        chosen = [
            int(losses_SV[:, self.clean_fold_V != fold].mean(1).argmin())
            for fold in range(self.folds)
        ]
        weights_MKD = torch.stack(
            [self.snapshots[s].weights_MKD[fold] for fold, s in enumerate(chosen)]
        )
        logs_NK = np.empty((self.design.shape[0], self.classes), dtype=np.float32)
        for rows, block_BD in self.design.blocks():
            logits_MKB = logits_of(weights_MKD, block_BD)
            own_BK = logits_MKB[self.fold_N[rows], :, torch.arange(len(block_BD))]
            logs_NK[rows] = own_BK.log_softmax(1).cpu().numpy()
        history = [self._describe(s, losses_SV[i]) for i, s in enumerate(self.snapshots)]
        return OutOfFold(log_probabilities=logs_NK, history=history, chosen=chosen)

    def _loss(self, snapshot: Snapshot) -> Tensor:
        """Log loss of each checked row, ``(V,)``, at the snapshot's own best temperature."""
        assert snapshot.logits_VK is not None, "only one model a fold has held-out logits"
        temperature = fit_temperature(snapshot.logits_VK, self.clean_label_V)
        logs_VK = (snapshot.logits_VK / temperature).log_softmax(1)
        return -logs_VK.gather(1, self.clean_label_V[:, None])[:, 0]

    def _describe(self, snapshot: Snapshot, loss_V: Tensor) -> dict[str, float]:
        assert snapshot.logits_VK is not None
        right_V = snapshot.logits_VK.argmax(1) == self.clean_label_V
        return {
            "checked_log_loss": float(loss_V.mean()),
            "checked_accuracy": float(right_V.float().mean()),
        }

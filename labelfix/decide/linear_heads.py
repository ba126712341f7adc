"""Linear heads on frozen features, one a fold, and the tangent of what they say of other rows.

For logits ``W x`` and a direction d, the tangent of a row's log-probabilities is ``d x`` less its
mean under p: HRP's one Jacobian-vector product, in closed form.

Shape suffixes: B rows of a block, N rows, K classes, D columns of the design, F folds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.equations import hrp
from labelfix.features.fold_sums import add_by_fold, logits_of, moments_of, outside
from labelfix.features.standardise import Design

Targets = Callable[[slice, Tensor], Tensor]  # rows and p_FBK to the upper loss's soft targets


class LinearHeads:
    """One linear head a fold, trained on the other folds' rows, all folds in one read of a block.

    Attributes:
        factor_FDD: Cholesky factors of each head's metric, ``x'x / n + ridge``.
    """

    def __init__(self, design: Design, fold_N: Tensor, factor_FDD: Tensor, classes: int) -> None:
        self.design, self.fold_N, self.factor_FDD = design, fold_N, factor_FDD
        self.classes, self.folds = classes, len(factor_FDD)
        self.rows_F = len(fold_N) - torch.bincount(fold_N, minlength=self.folds)

    @classmethod
    def of(
        cls, design: Design, folds: NDArray[np.int8], classes: int, *, ridge: float
    ) -> LinearHeads:
        """Measure the metrics: the Gram matrix of each fold's rows, in one pass."""
        count, columns = int(folds.max()) + 1, design.shape[1]
        fold_N = torch.from_numpy(folds.astype(np.int64)).to(design.device)
        gram_FDD = torch.zeros(count, columns, columns, device=design.device)
        for rows, block_BD in design.blocks():
            add_by_fold(gram_FDD, block_BD, block_BD, fold_N[rows])
        gram_FDD = outside(gram_FDD)
        heads = cls(design, fold_N, gram_FDD, classes)
        metric_FDD = gram_FDD / heads.rows_F[:, None, None]
        metric_FDD.diagonal(dim1=1, dim2=2).add_(ridge / max(columns - 1, 1))
        heads.factor_FDD = torch.linalg.cholesky(metric_FDD)
        return heads

    @torch.no_grad()
    def score(
        self,
        targets: Targets,
        given: NDArray[np.int32],
        own: NDArray[np.int64],
        *,
        passes: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Mean ranking score of both labels and mean length of the tangent, ``(N,)`` each."""
        device = self.design.device
        labels = [torch.from_numpy(codes.astype(np.int64)).to(device) for codes in (given, own)]
        sums_3N = torch.zeros(3, len(given), device=device)
        shape = self.folds, self.classes, self.design.shape[1]
        weights_FKD = torch.zeros(shape, device=device)  # heads without an opinion
        for _ in range(passes):
            direction_FKD = self._direction(weights_FKD, targets)
            for rows, block_BD in self.design.blocks():
                tangent_BK, p_BK = self._tangent(rows, block_BD, weights_FKD, direction_FKD)
                for sum_N, codes_N in zip(sums_3N, labels, strict=False):
                    label_BK = torch.nn.functional.one_hot(codes_N[rows].clamp_min(0), self.classes)
                    sum_N[rows] += hrp.ranking_score(tangent_BK, p_BK, label_BK.to(p_BK))
                sums_3N[2, rows] += tangent_BK.norm(dim=1)
            weights_FKD = weights_FKD - 4 * direction_FKD  # 4 bounds 1 / (p (1 - p)) from below
        label_N, pseudo_N, length_N = sums_3N.cpu().numpy() / passes
        return label_N, pseudo_N, length_N

    def _direction(self, weights_FKD: Tensor, targets: Targets) -> Tensor:
        """The upper loss's gradient in each fold, over the rows outside it, in the ridge metric."""
        gradient_FKD = torch.zeros_like(weights_FKD)
        folds_F = torch.arange(self.folds, device=weights_FKD.device)
        for rows, block_BD in self.design.blocks():
            p_FBK = logits_of(weights_FKD, block_BD).softmax(1).mT
            outside_FB = self.fold_N[rows] != folds_F[:, None]
            slope_FBK = (p_FBK - targets(rows, p_FBK)) * outside_FB[..., None]
            gradient_FKD += moments_of(slope_FBK.mT, block_BD)
        mean_FKD = gradient_FKD / self.rows_F[:, None, None]
        return torch.cholesky_solve(mean_FKD.mT, self.factor_FDD).mT

    def _tangent(
        self, rows: slice, block_BD: Tensor, weights_FKD: Tensor, direction_FKD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tangent of each row's log-probabilities under its own fold's head; and p."""
        both_FKD = torch.cat([weights_FKD, direction_FKD], dim=1)
        logits_BK = block_BD.new_empty(len(block_BD), 2 * self.classes)
        for fold in range(self.folds):
            mine_B = self.fold_N[rows] == fold
            logits_BK[mine_B] = block_BD[mine_B] @ both_FKD[fold].mT
        z_BK, dz_BK = logits_BK.split(self.classes, dim=1)
        p_BK = z_BK.softmax(1)
        return dz_BK - (p_BK * dz_BK).sum(1, keepdim=True), p_BK

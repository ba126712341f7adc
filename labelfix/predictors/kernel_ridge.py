"""A Gaussian-kernel classifier that hides any fold in closed form: what a linear model cannot see.

Ridge regression of the labels on the columns of :func:`labelfix.equations.ridge.gaussian_columns`.
A least-squares fit of noisy labels averages the noise away instead of learning it by heart, and
its normal equations are sums over the rows: a model that hides two folds costs one small solve, not
another training. So it learns three times: from the labels as they are and from the checked rows
alone, for the targets of others; then from these targets, as a witness beside a method's prediction
(self-training, honest by fold).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.decide.soft_targets import FoldTargets
from labelfix.equations.ridge import gaussian_columns, least_gcv, ridge_solve, ridge_spectrum
from labelfix.features.fold_sums import add_by_fold, outside
from labelfix.features.standardise import Design, fits

RIDGES = [10.0 ** (e / 2) for e in range(5, -4, -1)]  # the largest wins where none can be scored
ROUNDING = 1e-7  # of a Gram matrix's eigenvalue, a row
TEMPERATURE = 0.2  # a fitted share of 1 counts e^5 to one, as much as one witness should ever say


class KernelColumns:
    """Rows as Gaussian columns: how near each lies to some landmarks, drawn from all rows.

    Held whole where they fit, else made anew at every read.

    Args:
        design: of N rows. Two rows drawn at random are about ``sqrt(2 D)`` apart as a net takes
            them, and the kernel's width is D: they are strangers (``e^-2``), neighbours are not.
        landmarks: M; all rows where they are fewer.
    """

    def __init__(self, design: Design, landmarks: int = 1000) -> None:
        rows, columns = design.shape[0], design.shape[1] - 1
        self.design, self.width = design, float(columns)
        drawn = np.random.default_rng(0).permutation(rows)[:landmarks]
        self.landmarks_MD = design.net_rows(np.sort(drawn))
        self._resident: list[tuple[slice, Tensor]] = []
        if fits((rows, len(drawn)), design.device):
            self._resident = list(self.blocks())

    def __len__(self) -> int:
        return len(self.landmarks_MD)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """The columns as ``(rows, block)`` in order; a block is ``(B, M)`` float32."""
        if self._resident:
            yield from self._resident
            return
        for part in self.design.parts():
            x_BD = self.design.net_rows(part)
            yield part, gaussian_columns(x_BD, self.landmarks_MD, self.width)


class KernelRidge:
    """The normal equations of every fold's labelled rows, and the fits that they give.

    Shape suffixes: G folds, N rows, B rows of a block, M landmarks, K classes; U hidden folds.

    Args:
        columns: of N rows.
        labels: ``(N,)`` codes; -1 = the row teaches nothing.
        folds: ``(N,)``.
        classes: K.
    """

    def __init__(
        self,
        columns: KernelColumns,
        labels: NDArray[np.int32],
        folds: NDArray[np.int8],
        classes: int,
    ) -> None:
        self.columns, self.classes, self.folds = columns, classes, int(folds.max()) + 1
        self.device = columns.design.device
        self.fold_N = torch.from_numpy(folds.astype(np.int64)).to(self.device)
        label_N = torch.from_numpy(labels.astype(np.int64)).to(self.device)
        self.teaches_N = self.fold_N.where(label_N >= 0, -1)  # the fold of rows with a label
        shape = self.folds, len(columns), len(columns)
        self.gram_GMM = torch.zeros(shape, dtype=torch.float64, device=self.device)
        self.moments_GKM = self._nothing()
        for part, columns_BM in columns.blocks():
            one_hot_BK = torch.nn.functional.one_hot(label_N[part].clamp_min(0), classes)
            targets_BK = one_hot_BK.float() - 1 / classes
            add_by_fold(self.gram_GMM, columns_BM, columns_BM, self.teaches_N[part])
            add_by_fold(self.moments_GKM, targets_BK, columns_BM, self.teaches_N[part])
        self.spectra = ridge_spectrum(outside(self.gram_GMM))
        self.rows_G = outside(torch.bincount(self.teaches_N + 1, minlength=self.folds + 1)[1:])
        energy_G = self.rows_G * (1 - 1 / classes)
        self.ridge_G = self._ridges(outside(self.moments_GKM), energy_G)

    def own(self) -> NDArray[np.float32]:
        """What the labels as they are teach, out of fold: ``(N, K)`` float32 log-probabilities."""
        weights_GKM = [self._without([fold], fold) for fold in range(self.folds)]
        return self._predict(torch.stack(weights_GKM)[None])[0]

    def nested(self) -> NDArray[np.float32]:
        """The same for learners that must not see a fold.

        Entry ``[g, i]`` comes from a fit that saw a label of neither row i's fold nor fold g; its
        ridge parameter is that of all rows outside g.

        Returns:
            ``(G, N, K)`` float32 log-probabilities.
        """
        weights_UGKM = [
            torch.stack([self._without([hidden, own], hidden) for own in range(self.folds)])
            for hidden in range(self.folds)
        ]
        return self._predict(torch.stack(weights_UGKM))

    def retrained(self, targets: FoldTargets) -> NDArray[np.float32]:
        """What purified soft labels teach: out of fold, and no row's target saw the fold's labels.

        Args:
            targets: posteriors, for every hidden fold.

        Returns:
            ``(N, K)`` float32 log-probabilities.
        """
        moments_GKM, energy_G = self._nothing(), self._nothing()[:, 0, 0]
        for part, columns_BM in self.columns.blocks():
            for fold in range(self.folds):
                seen_B = (self.teaches_N[part] >= 0) & (self.teaches_N[part] != fold)
                soft_BK = torch.from_numpy(targets.soft_GNK[fold, part]).to(columns_BM)[seen_B]
                moments_GKM[fold] += (soft_BK - 1 / self.classes).mT @ columns_BM[seen_B]
                energy_G[fold] += (soft_BK - 1 / self.classes).square().sum()
        ridge_G = self._ridges(moments_GKM, energy_G)
        weights_GKM = ridge_solve(moments_GKM, self.spectra, ridge_G)
        return self._predict(weights_GKM.float()[None])[0]

    def _without(self, hidden: list[int], ridge_of: int) -> Tensor:
        """The weights that all folds but the hidden ones give, ``(K, M)`` float32."""
        shown = [fold for fold in range(self.folds) if fold not in hidden]
        left_MM = self.gram_GMM[shown].sum(0)
        left_MM.diagonal().add_(self.ridge_G[ridge_of])
        right_MK = self.moments_GKM[shown].sum(0).mT
        return torch.cholesky_solve(right_MK, torch.linalg.cholesky(left_MM)).mT.float()

    def _nothing(self) -> Tensor:
        """Zeros ``(G, K, M)``, to be summed into."""
        shape = self.folds, self.classes, len(self.columns)
        return torch.zeros(shape, dtype=torch.float64, device=self.device)

    def _ridges(self, moments_GKM: Tensor, energy_G: Tensor) -> Tensor:
        """The ridge parameter of least GCV score of each fit, ``(G,)``.

        No smaller than what rounding in a sum of float32 products over so many rows may take away.
        """
        ridges_CG = torch.tensor(RIDGES).to(energy_G)[:, None].expand(-1, self.folds)
        best_G = least_gcv(moments_GKM, energy_G, self.rows_G, self.spectra, ridges_CG)
        return best_G.maximum(ROUNDING * self.rows_G)

    def _predict(self, weights_UGKM: Tensor) -> NDArray[np.float32]:
        """Log-probabilities ``(U, N, K)``: each row by the weights of its own fold."""
        hidden, _, classes, _ = weights_UGKM.shape
        logs_UNK = np.empty((hidden, len(self.fold_N), classes), np.float32)
        for part, columns_BM in self.columns.blocks():
            for own in range(self.folds):
                mine_B = self.fold_N[part] == own
                shares_UBK = columns_BM[mine_B] @ weights_UGKM[:, own].mT
                logs_UBK = (shares_UBK / TEMPERATURE).log_softmax(-1)
                logs_UNK[:, part][:, mine_B.cpu().numpy()] = logs_UBK.cpu().numpy()
        return logs_UNK

"""Sums over rows kept by fold, from which a model that hides any fold is had by subtraction."""

from __future__ import annotations

from torch import Tensor


def add_by_fold(sums_GXY: Tensor, left_BX: Tensor, right_BY: Tensor, fold_B: Tensor) -> None:
    """Add ``left^T right`` over each fold's rows to the fold's sum, in place.

    Args:
        sums_GXY: one sum a fold.
        left_BX, right_BY: some rows; the same matrix twice gives Gram matrices.
        fold_B: their folds; a row of fold -1 counts for none.
    """
    for fold, sum_XY in enumerate(sums_GXY):
        mine_B = fold_B == fold
        sum_XY += left_BX[mine_B].mT @ right_BY[mine_B]


def outside(sums_G: Tensor) -> Tensor:
    """The sums over every fold but one, in that one's place."""
    return sums_G.sum(0) - sums_G


def logits_of(weights_MKD: Tensor, block_BD: Tensor) -> Tensor:
    """What every model says of every row, ``(M, K, B)``."""
    return (weights_MKD.flatten(0, 1) @ block_BD.T).unflatten(0, weights_MKD.shape[:2])


def moments_of(left_MKB: Tensor, block_BD: Tensor) -> Tensor:
    """Sums over the rows of ``left * block``, ``(M, K, D)``."""
    return (left_MKB.flatten(0, 1) @ block_BD).unflatten(0, left_MKB.shape[:2])

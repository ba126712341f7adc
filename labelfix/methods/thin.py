"""Products of few classes with many rows, all linear models in one.

A batch of products would read the rows once a model and class block; stacked class by class, one
product serves every model (four to ten times as fast on a CPU).

Shape suffixes: M models, K classes, B rows of a block, D columns.
"""

from __future__ import annotations

from torch import Tensor


def logits_of(weights_MKD: Tensor, block_BD: Tensor) -> Tensor:
    """What every model says of every row, ``(M, K, B)``."""
    return (weights_MKD.flatten(0, 1) @ block_BD.T).unflatten(0, weights_MKD.shape[:2])


def moments_of(left_MKB: Tensor, block_BD: Tensor) -> Tensor:
    """Sums over the rows of ``left * block``, ``(M, K, D)``."""
    return (left_MKB.flatten(0, 1) @ block_BD).unflatten(0, left_MKB.shape[:2])

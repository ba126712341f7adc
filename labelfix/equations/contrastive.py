"""Contrastive losses: NT-Xent (SimCLR) and InfoNCE with a queue (MoCo).

Shapes: B images of the batch, D features, M keys in the queue.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def nt_xent(z_a_BD: Tensor, z_b_BD: Tensor, temperature: float) -> Tensor:
    """The normalised temperature-scaled cross-entropy over all 2B views.

    Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual
    Representations", Eq. 1 and Algorithm 1. For views i and j of one image,
    `l(i, j) = -log exp(s_ij / tau) / sum_{k != i} exp(s_ik / tau)` with cosine similarity s;
    the loss is the mean of l(i, j) over all 2B ordered pairs.

    Args:
        z_a_BD: projections of the images' first views, of any length.
        z_b_BD: projections of their second views, in the same order.
        temperature: tau > 0.

    Returns:
        The loss, a scalar >= 0, float32 at least.

    Raises:
        ValueError: shapes differ or the temperature is not positive.
    """
    if z_a_BD.shape != z_b_BD.shape or z_a_BD.ndim != 2:
        raise ValueError(f"views of shape {tuple(z_a_BD.shape)} and {tuple(z_b_BD.shape)}")
    B = len(z_a_BD)
    z_VD = _unit(torch.cat([z_a_BD, z_b_BD]), temperature)
    logits_VV = z_VD @ z_VD.T / temperature
    logits_VV = logits_VV.masked_fill(_diagonal(logits_VV), float("-inf"))
    partner_V = torch.arange(2 * B, device=z_VD.device).roll(B)
    return F.cross_entropy(logits_VV, partner_V)


def info_nce(query_BD: Tensor, key_BD: Tensor, queue_MD: Tensor, temperature: float) -> Tensor:
    """The cross-entropy of finding a query's own key among the queue's.

    Source: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning",
    Eq. 1: `-log exp(q k+ / tau) / sum_i exp(q k_i / tau)` over the key and the M negatives,
    averaged over the batch.

    Args:
        query_BD: projections by the trained encoder; gradients flow here.
        key_BD: projections of the same images' other views; a constant.
        queue_MD: keys of other images; a constant.
        temperature: tau > 0.

    Returns:
        The loss, a scalar >= 0, float32 at least.

    Raises:
        ValueError: shapes do not match or the temperature is not positive.
    """
    if query_BD.shape != key_BD.shape or queue_MD.shape[1:] != query_BD.shape[1:]:
        raise ValueError(
            f"query {tuple(query_BD.shape)}, key {tuple(key_BD.shape)}, "
            f"queue {tuple(queue_MD.shape)}"
        )
    query_BD = _unit(query_BD, temperature)
    key_BD, queue_MD = (_unit(keys, temperature).detach() for keys in (key_BD, queue_MD))
    positive_B1 = (query_BD * key_BD).sum(dim=1, keepdim=True)
    logits_BM = torch.cat([positive_B1, query_BD @ queue_MD.T], dim=1) / temperature
    return F.cross_entropy(logits_BM, torch.zeros_like(logits_BM[:, 0], dtype=torch.long))


def _unit(z_BD: Tensor, temperature: float) -> Tensor:
    """Rows of length one, in float32 at least."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    wide = z_BD if z_BD.dtype == torch.float64 else z_BD.float()
    return F.normalize(wide, dim=1)


def _diagonal(matrix_VV: Tensor) -> Tensor:
    return torch.eye(len(matrix_VV), dtype=torch.bool, device=matrix_VV.device)

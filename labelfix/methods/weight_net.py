"""The weight net of Meta-Weight-Net and CLID-MU: from a row's loss to its weight in training.

Shu et al., NeurIPS 2019; Hu et al., CLID-MU, Eq. 1, 4 and 10. One net a fold, all side by side, so
that no fold's weights learn from its own labels.

Shape suffixes: F folds, B rows of a batch, H hidden units.
"""

from __future__ import annotations

import torch
from torch import Tensor

HIDDEN = 100
LOSSES = 5.0

WeightNet = tuple[Tensor, Tensor, Tensor, Tensor]


def weight_net(
    folds: int,
    *,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> WeightNet:
    """Parameters of ``folds`` equal nets 1-100-1, leaves that ask for gradients.

    Differs: the papers draw the first layer's kinks around a loss of 0, where half of the units
    see no loss at all; here they spread over ``[0, LOSSES]``, where cross-entropies lie. The last
    layer starts small, so that the weights start nearly even.
    """
    slope_H = torch.randn(HIDDEN, generator=generator)
    kink_H = LOSSES * torch.rand(HIDDEN, generator=generator)
    last_H = 0.1 * torch.randn(HIDDEN, generator=generator) / HIDDEN**0.5
    drawn = (slope_H, -slope_H * kink_H, last_H, torch.zeros(1))
    slope_FH, offset_FH, last_FH, bias_F1 = (
        part.to(device, dtype).repeat(folds, 1).requires_grad_() for part in drawn
    )
    return slope_FH, offset_FH, last_FH, bias_F1


def raw_weights(net: WeightNet, losses_FB: Tensor) -> Tensor:
    """The net's output for each loss, in (0, 1), ``(F, B)``."""
    slope_FH, offset_FH, last_FH, bias_F1 = net
    hidden_FBH = torch.relu(losses_FB[..., None] * slope_FH[:, None] + offset_FH[:, None])
    return torch.sigmoid((hidden_FBH @ last_FH[..., None])[..., 0] + bias_F1)


def sample_weights(net: WeightNet, losses_FB: Tensor, learns_FB: Tensor) -> Tensor:
    """Weights ``(F, B)`` that sum to 1 over the rows that each fold learns from (Eq. 1).

    Args:
        net: from :func:`weight_net`.
        losses_FB: each row's cross-entropy against its given label; a constant to the net.
        learns_FB: 1 where the fold may learn from the row, else 0: no weight.
    """
    raw_FB = raw_weights(net, losses_FB.detach()) * learns_FB
    return raw_FB / raw_FB.sum(1, keepdim=True).clamp_min(1e-12)


def meta_gradient(
    net: WeightNet, weights_FB: Tensor, alignment_FB: Tensor, rate: float
) -> tuple[Tensor, ...]:
    """Gradient of the upper loss for the net's parameters through one virtual step (Eq. 10).

    The virtual step (Eq. 4) is ``w' = w - rate sum_i weight_i grad l_i``, so the upper loss falls
    with weight i at the speed ``rate g_i``; the rest is a vector-Jacobian product of the net.

    Args:
        net: from :func:`weight_net`.
        weights_FB: :func:`sample_weights`, with their graph.
        alignment_FB: ``g_i = <grad l_i(w), grad upper(w')> = -y_i . u_i``, with u the tangent of
            the log-probabilities in the direction ``grad upper(w')``.
        rate: of the virtual step.

    Differs: Eq. 10 leaves out that the weights are normalised; here that is part of the net.
    """
    return torch.autograd.grad(weights_FB, net, grad_outputs=-rate * alignment_FB)

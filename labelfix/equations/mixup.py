"""Mixup: convex combinations of rows and of their targets (Zhang et al., ICLR 2018).

Shape suffixes: B rows of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TRIES = 12  # a try fails with a chance below 1/20


def sample_beta(first_B: Tensor, second_B: Tensor, generator: torch.Generator) -> Tensor:
    """Draws of Beta(first, second), one a row, ``(B,)`` in [0, 1].

    Ratios of two gamma draws (Marsaglia and Tsang 2000), taken in logarithms, so that shapes far
    below 1, whose gammas underflow, still give ends and not NaN.

    Args:
        first_B, second_B: shapes, > 0.
        generator: of their device.
    """
    return torch.sigmoid(_log_gamma_draw(first_B, generator) - _log_gamma_draw(second_B, generator))


def _log_gamma_draw(shape_B: Tensor, generator: torch.Generator) -> Tensor:
    """The logarithm of a Gamma(shape, 1) draw: a draw of shape + 1, brought down by U^(1/shape)."""
    d_B = shape_B + 2 / 3
    size = (*shape_B.shape, _TRIES)
    normal_BT = torch.randn(size, generator=generator, device=shape_B.device, dtype=shape_B.dtype)
    uniform_BT = _open_uniform(size, shape_B, generator)
    v_BT = (1 + normal_BT / (9 * d_B[..., None]).sqrt()) ** 3
    log_v_BT = v_BT.clamp_min(torch.finfo(v_BT.dtype).tiny).log()
    bound_BT = normal_BT**2 / 2 + d_B[..., None] * (1 - v_BT + log_v_BT)
    accepted_BT = (v_BT > 0) & (uniform_BT.log() < bound_BT)
    first_B1 = accepted_BT.int().argmax(-1, keepdim=True)
    log_v_B = log_v_BT.gather(-1, first_B1)[..., 0].where(accepted_BT.any(-1), d_B.new_zeros(()))
    return d_B.log() + log_v_B + _open_uniform(shape_B.shape, shape_B, generator).log() / shape_B


def _open_uniform(size: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(size, generator=generator, device=like.device, dtype=like.dtype)
    return drawn.clamp_min(torch.finfo(like.dtype).tiny)


def mix(values: Tensor, partner_B: Tensor, share_B: Tensor) -> Tensor:
    """``share_i values_i + (1 - share_i) values_partner(i)``, for inputs or targets ``(B, ...)``.

    Args:
        values: ``(B, ...)``.
        partner_B: ``(B,)`` row numbers.
        share_B: ``(B,)`` lambda, or ``(1,)`` for one lambda a batch; in [0, 1].
    """
    share = share_B.view(-1, *[1] * (values.ndim - 1)).to(values.dtype)
    return torch.lerp(values[partner_B], values, share)

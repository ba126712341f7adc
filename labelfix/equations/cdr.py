"""CDR, robust early learning: only critical parameters learn (Xia et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def criticality(values: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """``|w . grad|`` of every parameter (Eq. 3), in the parameters' shapes."""
    return [
        (value.detach() * gradient).abs() for value, gradient in zip(values, gradients, strict=True)
    ]


def critical_gradients(
    values: Sequence[Tensor], gradients: Sequence[Tensor], noise_rate: float
) -> list[Tensor]:
    """Gradients of the critical parameters, scaled by ``1 - tau``; 0 for all others (Eq. 4, 5).

    Critical are the ``(1 - tau)`` of a tensor's parameters with the largest ``|w . grad|``. What is
    left for the others is the weight decay of the optimizer.

    Args:
        values: parameters, one tensor a layer.
        gradients: of the same shapes.
        noise_rate: tau in [0, 1).

    Differs: biases and other vectors always learn, since a bias that starts at 0 has criticality 0
    and would stay there.
    """
    if not 0 <= noise_rate < 1:
        raise ValueError(f"noise_rate must lie in [0, 1), not {noise_rate}")
    kept = 1 - noise_rate
    scores = criticality(values, gradients)
    return [
        kept * (gradient * _largest(score, kept) if gradient.ndim > 1 else gradient)
        for score, gradient in zip(scores, gradients, strict=True)
    ]


def _largest(score: Tensor, share: float) -> Tensor:
    """Where the ``share`` of largest scores lies, in the scores' shape."""
    count = max(1, round(share * score.numel()))
    threshold = score.flatten().kthvalue(score.numel() - count + 1).values
    return torch.ge(score, threshold)

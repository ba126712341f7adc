"""The inner step as a map of its gradient, and the transpose of that map's derivative.

A bilevel method asks how the weights after a step, ``w' = w - S(g)``, depend on what shaped the
step's gradient g. For an upper gradient v at w', the answer is ``<dg, (dS/dg)^T v>``. For the usual
optimizers ``dS/dg`` is diagonal, so its transpose is a factor a parameter: its *slope*. Everything
here concerns one parameter tensor; ``torch.optim`` takes the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step does to one parameter.

    Attributes:
        value: the parameter after the step.
        slope: ``-dvalue / dgradient``, a number or a tensor of the parameter's shape.
    """

    value: Tensor
    slope: Tensor | float


def sgd(
    value: Tensor,
    gradient: Tensor,
    velocity: Tensor | None,
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Step:
    """Gradient descent with heavy-ball or Nesterov momentum.

    ``g = gradient + weight_decay w``, ``b = momentum velocity + (1 - dampening) g`` (the first time
    ``b = g``), ``w' = w - lr b``, with Nesterov ``w' = w - lr (g + momentum b)``.

    Args:
        value: the parameter before the step.
        gradient: of the inner loss.
        velocity: the momentum buffer before the step; None = the first step.
        lr, momentum, dampening, nesterov, weight_decay: as in ``torch.optim.SGD``.
    """
    gradient = gradient + weight_decay * value if weight_decay else gradient
    if not momentum:
        return Step(value=value - lr * gradient, slope=lr)
    share = 1.0 if velocity is None else 1 - dampening
    ball = gradient if velocity is None else momentum * velocity + share * gradient
    if nesterov:
        moved = gradient + momentum * ball
        return Step(value=value - lr * moved, slope=lr * (1 + momentum * share))
    return Step(value=value - lr * ball, slope=lr * share)


def adam(
    value: Tensor,
    gradient: Tensor,
    mean: Tensor | None,
    square: Tensor | None,
    steps: float,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Step:
    """Adam (Kingma and Ba 2015), or AdamW where the decay is decoupled.

    With ``m = b1 mean + (1 - b1) g`` and ``v = b2 square + (1 - b2) g^2``, bias-corrected, and
    ``d = sqrt(v) + eps``: ``w' = w - lr m / d``; its slope is
    ``lr [(1 - b1) / (c1 d) - m (1 - b2) g / (c2 sqrt(v) d^2)]`` with ``c = 1 - b^t``.

    Args:
        value: the parameter before the step.
        gradient: of the inner loss.
        mean, square: the moment buffers before the step; None = the first step.
        steps: steps taken before this one, >= 0.
        lr, betas, eps, weight_decay: as in ``torch.optim.Adam``.
        decoupled: the decay shrinks the weights themselves (AdamW), not through the gradient.
    """
    b1, b2 = betas
    if weight_decay and decoupled:
        value = value * (1 - lr * weight_decay)
    elif weight_decay:
        gradient = gradient + weight_decay * value
    mean = torch.zeros_like(value) if mean is None else mean
    square = torch.zeros_like(value) if square is None else square
    c1, c2 = 1 - b1 ** (steps + 1), 1 - b2 ** (steps + 1)
    m = (b1 * mean + (1 - b1) * gradient) / c1
    root = ((b2 * square + (1 - b2) * gradient**2) / c2).sqrt()
    d = root + eps
    bend = torch.where(root > 0, m * gradient / root.clamp_min(1e-30), 0.0)
    slope = lr * ((1 - b1) / (c1 * d) - (1 - b2) / c2 * bend / d**2)
    return Step(value=value - lr * m / d, slope=slope)

"""Lower losses that are linear in log-probabilities, and MLC's gradient through k steps of them.

Every teacher here shapes its student's loss after the logits, so that the student's gradient is
that of ``G(w) = - sum_i targets_i . log p_w(x_i)`` with targets that the teacher's parameters
decide: corrected labels over the batch size (MLC, EMLC), given labels times weights
(Meta-Weight-Net), rectified residuals (VRI). For the inner step ``w' = w - S(grad G)`` and an upper
gradient v at w', the chain rule gives the teacher's gradient

    d upper(w') / d alpha = sum_i tangent_i . d targets_i / d alpha,

with tangent the derivative of the log-probabilities along ``(dS/dg)^T v``
(:mod:`labelfix.equations.tangents`): one forward-mode pass and one vector-Jacobian product of the
teacher, no second derivative of the student.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labelfix.equations.weight_vectors import Direction, inner


def lower_loss(targets_BK: Tensor, log_probs_BK: Tensor) -> Tensor:
    """``- sum_i targets_i . log p(x_i)``, a scalar; the targets are constants to the student.

    Args:
        targets_BK: ``(B, K)``; for a mean over the batch each row sums to ``1 / B``.
        log_probs_BK: ``(B, K)``, the student's.
    """
    return -(targets_BK.detach() * log_probs_BK).sum()


def teacher_gradient(
    targets_BK: Tensor, parameters: Sequence[Tensor], tangent_BK: Tensor, **options: bool
) -> list[Tensor]:
    """Gradient of the upper loss after the inner step, for each of the teacher's parameters.

    EMLC, Eq. 10 (MLC with k = 1, Meta-Weight-Net and CLID-MU, Eq. 10, are the same line).

    Args:
        targets_BK: ``(B, K)``, with their graph.
        parameters: the teacher's.
        tangent_BK: ``(B, K)``, along ``(dS/dg)^T v``, v the upper gradient after the step.
        options: passed on to ``torch.autograd.grad``.
    """
    found = torch.autograd.grad(
        targets_BK, parameters, grad_outputs=tangent_BK.to(targets_BK), allow_unused=True, **options
    )
    return [
        torch.zeros_like(own) if part is None else part
        for own, part in zip(parameters, found, strict=True)
    ]


def projected_discount(after: Direction, before: Direction, rate: float) -> Tensor:
    """What the gradient through the earlier steps of a window counts for, a scalar.

    MLC, k-step form, with the identity for the student's Hessian: ``w'`` depends on the earlier
    steps through ``(1 - rate) w``, and the upper gradient after the step, v', stands to the one
    before it, v, as its projection: ``(1 - rate) <v', v> / |v|^2``.

    Args:
        after: v', the upper gradient after the step.
        before: v, before it, on the same clean rows.
        rate: eta of the step.
    """
    return (1 - rate) * inner(before, after) / inner(before, before).clamp_min(1e-30)

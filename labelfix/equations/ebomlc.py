"""First-order bilevel learning: the dynamic barrier of MLC-D and EBOMLC, and the mixture loss.

Nguyen and Ta, 2026, on Liu et al. (BOME, NeurIPS 2022). With the lower loss G, the value
``Q(w, alpha) = G(w, alpha) - G(w*, alpha)`` of having taken the inner steps to w* is driven down by
a share of its gradient, and no derivative runs through those steps:

    grad_w Q     = grad_w G(w, alpha)
    grad_alpha Q = grad_alpha G(w, alpha) - grad_alpha G(w*, alpha).

G is linear in the student's log-probabilities, so the second is one vector-Jacobian product of the
teacher with the difference of the two.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def barrier_coefficient(alignment: Tensor, size: Tensor, delta: float) -> Tensor:
    """Beta, by which the value's gradient is added to the upper one, a scalar >= 0.

    ``max(delta - <grad_w F, grad_w Q> / |grad Q|^2, 0)``: Eq. 11, EBOMLC's alignment-aware barrier.
    MLC-D's Eq. 7 is the same expression: its F does not depend on the teacher, so that there the
    alignment over (w, alpha) is the one over w.

    Args:
        alignment: ``<grad_w F, grad_w Q>``, over the student's weights.
        size: ``|grad Q|^2``, over student and teacher jointly.
        delta: > 0, the least share of the value's gradient that the direction must keep.
    """
    return (delta - alignment / size.clamp_min(1e-30)).clamp_min(0)


def value_cotangent(log_probs_BK: Tensor, stepped_BK: Tensor) -> Tensor:
    """The cotangent of the targets whose product with their Jacobian is grad_alpha Q, ``(B, K)``.

    ``log p_w* - log p_w``, for ``G = - sum_i targets_i . log p(x_i)``.

    Args:
        log_probs_BK: ``(B, K)``, at the weights w.
        stepped_BK: ``(B, K)``, the same rows at w*, after the inner steps.
    """
    return stepped_BK - log_probs_BK


def mixture_loss(
    student_BK: Tensor, teacher_BK: Tensor, labels_B: Tensor, rho: float, *, tiny: float = 1e-12
) -> Tensor:
    """Mean cross-entropy of a mixture of student and teacher on clean rows (Eq. 9), a scalar.

    Args:
        student_BK: ``(B, K)``, log-probabilities f.
        teacher_BK: ``(B, K)``, probabilities g of the corrected labels.
        labels_B: ``(B,)`` right codes.
        rho: share of the student, in (0, 1]; 1 leaves the plain clean loss (Eq. 2).
        tiny: least probability.
    """
    rows = torch.arange(len(labels_B), device=labels_B.device)
    log_student_B = student_BK[rows, labels_B]
    if rho == 1:
        return -log_student_B.mean()
    mixed_B = rho * log_student_B.exp() + (1 - rho) * teacher_BK[rows, labels_B]
    return -mixed_B.clamp_min(tiny).log().mean()

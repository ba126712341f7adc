"""HRP, holistic reliability propagation: its two reliabilities, both from one tangent.

Alpha says how much a row's given label helps the clean loss, beta how much the model's own label
does. Each is the meta-gradient of one weight, eps_a or eps_b, at zero (Eq. 1 to 3); at zero the
virtual step has not moved the weights, so that gradient is an entry of one Jacobian-vector
product (:mod:`labelfix.equations.tangents`): no virtual step, no second backward pass.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

from torch import Tensor


def meta_gradient(tangent_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """``-dL_meta / d eps`` of each row for its label, over the inner rate eta, ``(B,)``.

    HRP, Eq. 1 to 3: ``w'(eps) = w - eta grad_w sum_i eps_i CE(f(x_i), label_i)``, so
    ``-dL_meta/d eps_i = eta <grad_w CE(f(x_i), label_i), g> = -eta label_i . tangent_i``. Positive
    where a step on the row's label lowers the clean loss.

    Args:
        tangent_BK: ``(B, K)``, of log-probabilities along g, the gradient of the meta loss at w,
            from :func:`~labelfix.equations.tangents.log_prob_tangent`.
        labels_BK: ``(B, K)``, one-hot or soft; rows sum to 1.
    """
    if tangent_BK.shape != labels_BK.shape:
        raise ValueError(f"tangent {tuple(tangent_BK.shape)}, labels {tuple(labels_BK.shape)}")
    return -(labels_BK * tangent_BK).sum(-1)


def reliabilities(
    tangent_BK: Tensor, labels_BK: Tensor, pseudo_BK: Tensor, *, tiny: float = 1e-8
) -> tuple[Tensor, Tensor]:
    """Alpha and beta of a batch, ``(B,)`` each (Eq. 4 and 5).

    ``alpha_i = max(-dL_meta/d eps_a_i, 0) / (sum_j max(-dL_meta/d eps_a_j, 0) + tiny)``, and beta
    likewise for the model's own labels. Neither bounds the other: both may be zero, both large.

    Args:
        tangent_BK: ``(B, K)``, as for :func:`meta_gradient`.
        labels_BK: ``(B, K)``, the given labels y, one-hot; a row of zeros = no label, alpha 0.
        pseudo_BK: ``(B, K)``, the model's own labels, one-hot.
        tiny: keeps a batch without any helpful row at zero.

    Differs: the text lost the formulas; these are forced by what it says of their limits. The
    inner rate cancels in the division (but for ``tiny``) and is left out.
    """
    helpful_A, helpful_B = (
        meta_gradient(tangent_BK, targets_BK).clamp_min(0) for targets_BK in (labels_BK, pseudo_BK)
    )
    return helpful_A / (helpful_A.sum() + tiny), helpful_B / (helpful_B.sum() + tiny)


def ranking_score(tangent_BK: Tensor, probabilities_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Eq. 4 (or 5) in the form that ranks the rows of a data set, ``(B,)``.

    ``-label . tangent / |p - label|``: since ``p . tangent = 0``, this is the length of the
    tangent along the row's residual, so at most ``|tangent_i|`` in size; 0 = no effect.

    Args:
        tangent_BK: ``(B, K)``, as for :func:`meta_gradient`.
        probabilities_BK: ``(B, K)``, p at the point of the tangent.
        labels_BK: ``(B, K)``, one-hot.

    Differs: no clamp, no division by the batch's sum, and divided by the norm of the row's
    residual. A well-fitted right label has a tiny gradient, which Eq. 4 takes for useless. With
    the rows scored by a head that did not train on them, this finds wrong human labels on
    CIFAR-10 where Eq. 4 hardly does (AUROC 0.76 against 0.65).
    """
    residual_B = (probabilities_BK - labels_BK).norm(dim=-1)
    return meta_gradient(tangent_BK, labels_BK) / residual_B.clamp_min(1e-6)

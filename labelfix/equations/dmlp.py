"""DMLP, the decoupled meta label purifier (Tu et al., CVPR 2023): its two corrections.

The features are frozen, so the map from a batch's labels to the clean rows' predictions is one
constant linear operator. It is applied as thin products around one small solve; the N x N or
V x N operator of Eq. 5 is never formed. Labels stand class-major (K x N), which makes the thin
products several times faster than row-major ones. Leading dimensions (folds) are batched.

Shape suffixes: N training rows, V clean rows, K classes, D features, ... folds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelfix.equations.ridge import Spectrum


def soft_targets(labels_KN: Tensor, scale: float) -> Tensor:
    """The labels as distributions, ``softmax(scale * Y)`` over the classes (Eq. 4).

    Args:
        labels_KN: ``(..., K, N)`` label parameters Y, unconstrained; one-hot at the start.
        scale: the paper's alpha, > 0.
    """
    return torch.softmax(scale * labels_KN, dim=-2)


def entropy(distribution_KV: Tensor, floor: float = 1e-6) -> Tensor:
    """Shannon entropy in nats over the classes, shape ``(..., V)``.

    Differs: Eq. 6 applies it to a regression's output, which may be negative; values under
    ``floor`` count as ``floor`` and have no gradient.
    """
    p_KV = distribution_KV.clamp_min(floor)
    return -(p_KV * p_KV.log()).sum(-2)


def validation_loss(
    predictions_KV: Tensor,
    clean_KV: Tensor,
    share_V: Tensor,
    *,
    entropy_weight: float = 1.0,
    prior_K: Tensor | None = None,
    prior_weight: float = 0.0,
) -> Tensor:
    """The upper loss on the clean rows (Eq. 6), summed over folds.

    Args:
        predictions_KV: ``(..., K, V)``, the linear estimate for each clean row (Eq. 5).
        clean_KV: ``(K, V)``, the right labels, one-hot.
        share_V: ``(..., V)``, each row's share of the mean; 0 hides a row from a fold.
        entropy_weight: weight of the entropy term; the paper has 1.
        prior_K: ``(..., K)`` class prior, sums to 1.
        prior_weight: weight of ``KL(prior || mean prediction)``; the paper's text has 0.

    Differs: the class prior is not in Eq. 6 (the released code has one, uniform). Without it the
    entropy term can pull weak labels onto one class.
    """
    error_V = ((predictions_KV - clean_KV) ** 2).sum(-2)
    loss = (share_V * (error_V + entropy_weight * entropy(predictions_KV))).sum()
    if prior_K is not None and prior_weight:
        mean_K = (share_V[..., None, :] * predictions_KV.clamp_min(1e-6)).sum(-1)
        mean_K = mean_K / mean_K.sum(-1, keepdim=True)
        loss = loss + prior_weight * (prior_K * (prior_K.clamp_min(1e-12) / mean_K).log()).sum()
    return loss


def ipc_gradient(targets_KN: Tensor, upper_KD: Tensor, features_ND: Tensor, scale: float) -> Tensor:
    """Gradient of the upper loss for the label parameters Y (the gradient in Eq. 7), closed form.

    With ``B = (F^T F + ridge I)^-1 F_v^T dL/dV`` (the upper gradient, solved), the chain through
    Eq. 5 is ``dL/dS = B^T F^T``, and through the softmax of Eq. 4 its Jacobian.

    Args:
        targets_KN: ``(..., K, N)``, S of :func:`soft_targets`.
        upper_KD: ``(..., K, D)``, B as above.
        features_ND: ``(N, D)``, the training features F.
        scale: the paper's alpha.

    Returns:
        ``(..., K, N)``, dL/dY.
    """
    direction_KN = upper_KD @ features_ND.mT
    return scale * targets_KN * (direction_KN - (targets_KN * direction_KN).sum(-2, keepdim=True))


def direction_rms(upper_KD: Tensor, spectrum: Spectrum, rows: Tensor) -> Tensor:
    """Root mean square of dL/dS over the training rows, ``(...)``, without visiting them.

    ``sum (B^T F^T)^2 = trace(B^T F^T F B)``, known from the spectrum of ``F^T F``.
    """
    values_D, vectors_DD = spectrum
    energy = ((upper_KD @ vectors_DD).square() * values_D[..., None, :]).sum((-2, -1))
    return (energy / (rows * upper_KD.shape[-2])).sqrt()


def ipc_update(labels_KN: Tensor, gradient_KN: Tensor, rate: float) -> Tensor:
    """One intrinsic correction, ``Y - rate * gradient`` (Eq. 7).

    Differs: the caller scales the gradient by :func:`direction_rms`. One row's share of it falls
    with the number of rows, so the paper's rate (0.01) would mean another pace for every size;
    the released code uses Adam, whose moments would cost twice the labels' memory.
    """
    return labels_KN - rate * gradient_KN


def classifier_gradient(
    probabilities_KN: Tensor,
    targets_KN: Tensor,
    share_N: Tensor,
    *,
    entropy_weight: float = 1.0,
    prior_ratio_K: Tensor | None = None,
    prior_weight: float = 0.0,
) -> Tensor:
    """Gradient of the accompanying classifier's loss (Eq. 8) for its logits, ``(..., K, N)``.

    The loss is cross-entropy on the labels of IPC, the entropy of the prediction, and the class
    prior ``KL(prior || mean prediction)``, each a mean over the rows with weights ``share_N``.

    Args:
        probabilities_KN: ``(..., K, N)``, the classifier's softmax.
        targets_KN: ``(..., K, N)``, the corrected labels y'.
        share_N: ``(..., N)``, each row's share of the mean; 0 hides a row from a fold.
        entropy_weight: weight of the entropy term; the paper has 1.
        prior_ratio_K: ``(..., K)``, the class prior over the mean prediction.
        prior_weight: weight of the class-prior term; the paper's text has 0.

    Differs: the class prior is not in Eq. 8 (the released code has one, uniform); entropy
    minimisation alone collapses onto one class when the labels are weak.
    """
    gradient_KN = probabilities_KN - targets_KN
    if entropy_weight:
        logs_KN = probabilities_KN.clamp_min(1e-12).log()
        mean_log_N = (probabilities_KN * logs_KN).sum(-2, keepdim=True)
        gradient_KN = gradient_KN - entropy_weight * probabilities_KN * (logs_KN - mean_log_N)
    if prior_ratio_K is not None and prior_weight:
        ratio_K1 = prior_ratio_K[..., None]
        mean_N = (ratio_K1 * probabilities_KN).sum(-2, keepdim=True)
        gradient_KN = gradient_KN - prior_weight * probabilities_KN * (ratio_K1 - mean_N)
    return gradient_KN * share_N[..., None, :]


def eac_update(labels_KN: Tensor, probabilities_KN: Tensor, momentum: float) -> Tensor:
    """Extrinsic correction every T passes, ``(1 - m) Y + m C(F)`` (Eq. 9).

    Differs: the released code's condition for this step is never true; here it writes back.
    """
    return torch.lerp(labels_KN, probabilities_KN, momentum)

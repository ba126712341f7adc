"""Weights and rectifications of rows in the student's loss, as targets linear in log-probabilities.

Meta-Weight-Net (Shu et al., NeurIPS 2019), WNet-CLID (Hu et al., CLID-MU, KDD 2025), and the
rectified loss of VRI (Sun et al., IJCV 2024). What the student's gradient needs of each is the
(negative) derivative of the loss for the log-probabilities: the row's *target*
(:mod:`labelfix.equations.mlc`).

Shape suffixes: B rows of a batch, K classes.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def weighted_targets(raw_weights_B: Tensor, labels_BK: Tensor) -> Tensor:
    """Labels times weights that are normalised over the batch, ``(B, K)``.

    Args:
        raw_weights_B: ``(B,)`` > 0, the weight net's outputs.
        labels_BK: ``(B, K)``, one-hot or soft.

    Differs: CLID-MU's Eq. 1, 4 and 6 divide by the number of rows, not by the weights' sum.
    """
    weights_B = raw_weights_B / raw_weights_B.sum().clamp_min(1e-12)
    return weights_B[:, None] * labels_BK.to(weights_B)


def rectified_loss(log_probs_BK: Tensor, vectors_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Mean cross-entropy of rectified predictions, ``softmax(v * log p)``, a scalar.

    Args:
        log_probs_BK: ``(B, K)``, the student's.
        vectors_BK: ``(B, K)`` in [0, 1], v, the rectifying vectors.
        labels_B: ``(B,)`` given codes.

    Differs: VRI multiplies the logits, whose common shift then matters; log-probabilities have
    none to spare.
    """
    return F.cross_entropy(vectors_BK * log_probs_BK, labels_B)


def rectified_targets(log_probs_BK: Tensor, vectors_BK: Tensor, labels_B: Tensor) -> Tensor:
    """``-d rectified_loss / d log p = v (onehot(label) - softmax(v * log p)) / B``, ``(B, K)``."""
    onehot_BK = F.one_hot(labels_B, log_probs_BK.shape[1]).to(log_probs_BK)
    return vectors_BK * (onehot_BK - (vectors_BK * log_probs_BK).softmax(1)) / len(labels_B)


def gaussian_divergence(
    mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor
) -> Tensor:
    """``KL(N(mean, std^2) || N(other_mean, other_std^2))`` in nats, elementwise."""
    variance, other_variance = (2 * log_std).exp(), (2 * other_log_std).exp()
    distance = (mean - other_mean) ** 2
    return other_log_std - log_std + (variance + distance) / (2 * other_variance) - 0.5

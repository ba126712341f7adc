"""Cross-entropy with soft labels and row weights."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_cross_entropy(logits_BK: Tensor, soft_BK: Tensor) -> Tensor:
    """``CE(q_i, softmax(z_i))`` of each row, ``(B,)`` in nats.

    Args:
        logits_BK: ``(B, K)``.
        soft_BK: ``(B, K)``, rows sum to 1.
    """
    return -(soft_BK * logits_BK.log_softmax(-1)).sum(-1)


def divergence(logits_BK: Tensor, soft_BK: Tensor) -> Tensor:
    """``KL(q_i || softmax(z_i))``, ``(B,)`` >= 0; the cross-entropy for a hard label.

    Whether a row's soft label, doubts included, is what the net says too.
    """
    return soft_cross_entropy(logits_BK, soft_BK) + torch.xlogy(soft_BK, soft_BK).sum(-1)


def label_loss(logits_BK: Tensor, soft_BK: Tensor) -> Tensor:
    """``-log p_i`` of the best class of ``q_i``, ``(B,)``; the cross-entropy for a hard label.

    Whether a row's best label is right: unlike :func:`divergence`, it is not small for a row of
    which nobody knows anything.
    """
    return -logits_BK.log_softmax(-1).gather(-1, soft_BK.argmax(-1, keepdim=True))[..., 0]


def weighted_soft_cross_entropy(logits_BK: Tensor, soft_BK: Tensor, weight_B: Tensor) -> Tensor:
    """``sum_i w_i CE(q_i, softmax(z_i)) / sum_i w_i``, a scalar in nats.

    Args:
        logits_BK: ``(B, K)``.
        soft_BK: ``(B, K)``, rows sum to 1.
        weight_B: ``(B,)``, >= 0, not all 0.
    """
    return (weight_B * soft_cross_entropy(logits_BK, soft_BK)).sum() / weight_B.sum()


def forward_corrected(log_probs_BK: Tensor, log_likelihood_BK: Tensor) -> Tensor:
    """``-log sum_y p(y|x) T[y, given]``: the given label seen through the noise, ``(..., B)``.

    Forward correction (Patrini et al., CVPR 2017, Theorem 2): a net that minimises it learns the
    right classes from noisy labels, as far as T is right.

    Args:
        log_probs_BK: ``(..., B, K)``, log p(y|x).
        log_likelihood_BK: ``(..., B, K)``, log T[y, given] for every candidate class y.
    """
    return -(log_probs_BK + log_likelihood_BK).logsumexp(-1)

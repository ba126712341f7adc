"""Cross-entropy with soft labels and row weights."""

from __future__ import annotations

from torch import Tensor


def weighted_soft_cross_entropy(logits_BK: Tensor, soft_BK: Tensor, weight_B: Tensor) -> Tensor:
    """``sum_i w_i CE(q_i, softmax(z_i)) / sum_i w_i``, a scalar in nats.

    Args:
        logits_BK: ``(B, K)``.
        soft_BK: ``(B, K)``, rows sum to 1.
        weight_B: ``(B,)``, >= 0, not all 0.
    """
    loss_B = -(soft_BK * logits_BK.log_softmax(1)).sum(1)
    return (weight_B * loss_B).sum() / weight_B.sum()


def forward_corrected(log_probs_BK: Tensor, log_likelihood_BK: Tensor) -> Tensor:
    """``-log sum_y p(y|x) T[y, given]``: the given label seen through the noise, ``(..., B)``.

    Forward correction (Patrini et al., CVPR 2017, Theorem 2): a net that minimises it learns the
    right classes from noisy labels, as far as T is right.

    Args:
        log_probs_BK: ``(..., B, K)``, log p(y|x).
        log_likelihood_BK: ``(..., B, K)``, log T[y, given] for every candidate class y.
    """
    return -(log_probs_BK + log_likelihood_BK).logsumexp(-1)

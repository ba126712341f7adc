"""UDA, FixMatch and FlexMatch as one loss: strong views learn what weak views are sure of.

UDA: Xie et al., NeurIPS 2020; FixMatch: Sohn et al., NeurIPS 2020; FlexMatch: Zhang et al., NeurIPS
2021. They differ in the target (sharpened or hard) and in the threshold (one, or one a class).

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labelfix.equations.cross_entropy import soft_cross_entropy


def pseudo_targets(weak_BK: Tensor, temperature: float) -> Tensor:
    """What the strong view is to learn, ``(B, K)``, a constant.

    Args:
        weak_BK: ``(B, K)``, probabilities of the weak view.
        temperature: UDA sharpens with T > 0 (its Sec. 2.4); 0 = the hard label of FixMatch (Eq. 4).
    """
    if temperature == 0:
        return F.one_hot(weak_BK.argmax(-1), weak_BK.shape[-1]).to(weak_BK.dtype)
    return (weak_BK.detach().clamp_min(1e-12).log() / temperature).softmax(-1)


def flexible_thresholds(counts_K: Tensor, rows: int, threshold: float) -> Tensor:
    """FlexMatch's threshold of each class, ``(K,)`` (Eq. 6, 7, 10, 11): low for slow classes.

    ``tau M(beta_c)`` with ``beta_c = sigma_c / max(max_c sigma_c, N - sum_c sigma_c)`` and the
    convex ``M(x) = x / (2 - x)``; the second term of the maximum is the warm-up.

    Args:
        counts_K: ``(K,)``, sigma: rows whose last sure pseudo-label was class c.
        rows: N, all unlabelled rows.
        threshold: tau.
    """
    unused = rows - counts_K.sum()
    beta_K = counts_K / torch.maximum(counts_K.max(), unused).clamp_min(1)
    return threshold * beta_K / (2 - beta_K)


def sure(weak_BK: Tensor, threshold_K: Tensor) -> Tensor:
    """Whether the best class's probability reaches its threshold, ``(B,)`` bool.

    Args:
        weak_BK: ``(B, K)``.
        threshold_K: ``(K,)``, equal entries for one threshold.
    """
    best_B, class_B = weak_BK.max(-1)
    return best_B >= threshold_K[class_B]


def consistency_loss(strong_logits_BK: Tensor, targets_BK: Tensor, sure_B: Tensor) -> Tensor:
    """``1/B sum_i [sure_i] CE(target_i, strong_i)`` (FixMatch, Eq. 4), a scalar.

    Args:
        strong_logits_BK: ``(B, K)``.
        targets_BK: from :func:`pseudo_targets`.
        sure_B: from :func:`sure`.
    """
    return (soft_cross_entropy(strong_logits_BK, targets_BK) * sure_B).mean()

"""GLC, gold loss correction: the noise transition from clean rows, and training under it.

Hendrycks et al., "Using Trusted Data to Train Deep Networks on Labels Corrupted by Severe Noise",
NeurIPS 2018.

Shape suffixes: B rows of a batch, M clean rows, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def transition_from_clean(probabilities_MK: Tensor, labels_M: Tensor) -> Tensor:
    """``C[i, j]``, the chance that a row of class i is labelled j, ``(K, K)``; rows sum to 1.

    Eq. 1: ``C[i] = 1/|A_i| sum_{x in A_i} p(noisy label | x)``, with A_i the clean rows of class i.

    Args:
        probabilities_MK: ``(M, K)``, of a net that was trained on noisy labels, at clean rows that
            it was not trained on.
        labels_M: ``(M,)`` codes, verified.

    Differs: a class without a clean row keeps its labels, ``C[i, i] = 1``; the paper has clean rows
    of every class.
    """
    classes = probabilities_MK.shape[1]
    member_MK = F.one_hot(labels_M, classes).to(probabilities_MK)
    count_K = member_MK.sum(0)
    mean_KK = member_MK.T @ probabilities_MK / count_K.clamp_min(1)[:, None]
    return torch.where((count_K > 0)[:, None], mean_KK, torch.eye(classes).to(mean_KK))


def corrected_cross_entropy(
    log_probs_BK: Tensor, labels_BK: Tensor, transition_KK: Tensor, *, tiny: float = 1e-12
) -> Tensor:
    """``- sum_j label_j log sum_i p_i C[i, j]`` of each noisy row, ``(B,)`` in nats.

    For one-hot labels this is :func:`labelfix.equations.cross_entropy.forward_corrected`; with the
    identity for C, plain cross-entropy, which is the clean rows' loss.

    Args:
        log_probs_BK: ``(..., B, K)``, of the net that shall learn the right classes.
        labels_BK: ``(..., B, K)``, noisy, one-hot or soft.
        transition_KK: ``(..., K, K)``, C.
        tiny: least probability of a label.
    """
    noisy_BK = log_probs_BK.exp() @ transition_KK
    return -(labels_BK * noisy_BK.clamp_min(tiny).log()).sum(-1)

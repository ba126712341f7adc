"""DivideMix: noisy rows become unlabelled rows of MixMatch (Li, Socher and Hoi, ICLR 2020).

Shape suffixes: B rows of the batch, N rows, K classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sharpen(probabilities_BK: Tensor, temperature: float) -> Tensor:
    """``p^(1/T) / sum p^(1/T)``, rows sum to 1 (Sharpen in Algorithm 1).

    Args:
        probabilities_BK: ``(B, K)``.
        temperature: T in (0, 1]; 1 leaves p as it is.
    """
    if not 0 < temperature <= 1:
        raise ValueError(f"temperature must lie in (0, 1], not {temperature}")
    return (probabilities_BK.clamp_min(1e-12).log() / temperature).softmax(-1)


def co_refine(labels_BK: Tensor, clean_B: Tensor, own_BK: Tensor) -> Tensor:
    """``w y + (1 - w) p``: the label of a labelled row, refined (line 15 of Algorithm 1).

    Args:
        labels_BK: ``(B, K)``, y; rows sum to 1.
        clean_B: ``(B,)``, w, the probability that y is right, by the other net's losses.
        own_BK: ``(B, K)``, p, the net's own mean prediction over the views.
    """
    return torch.lerp(own_BK, labels_BK, clean_B[:, None])


def co_guess(own_BK: Tensor, other_BK: Tensor) -> Tensor:
    """The mean of both nets' mean predictions: the label of an unlabelled row (line 17)."""
    return (own_BK + other_BK) / 2


def unlabelled_loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
    """The mean squared distance of probabilities and guesses over rows and classes (Eq. 10)."""
    return (logits_BK.softmax(-1) - targets_BK).square().mean()


def balance_penalty(logits_BK: Tensor) -> Tensor:
    """``KL(uniform || mean prediction)``, against the collapse onto one class (Eq. 11)."""
    mean_K = logits_BK.softmax(-1).mean(0)
    return -(mean_K.clamp_min(1e-12).log().mean() + math.log(logits_BK.shape[-1]))


def noise_matrix(labels_NK: Tensor, belief_NK: Tensor) -> Tensor:
    """How often a row that is labelled l is believed to be k, ``(K, K)``: joint, sums to 1.

    Args:
        labels_NK: ``(N, K)``, the labels that are trained on, one-hot; entry l.
        belief_NK: ``(N, K)``, what the rows are believed to be; entry k.
    """
    return labels_NK.T @ belief_NK / max(len(labels_NK), 1)


def wrong_share(matrix_KK: Tensor) -> Tensor:
    """The share of labels believed wrong, a scalar in [0, 1]."""
    return 1 - matrix_KK.diagonal().sum()


def noise_symmetry(matrix_KK: Tensor) -> Tensor:
    """How evenly wrong labels spread over the other classes, a scalar in [0, 1].

    The entropy of where the wrong labels of a true class go, over ``log (K - 1)``, averaged with
    the classes' numbers of wrong labels: 1 = symmetric noise; 0 = each class is taken for one
    other. 1 where there is no wrong label, or for two classes, which know one kind only.
    """
    K = len(matrix_KK)
    wrong_KK = matrix_KK - torch.diag(matrix_KK.diagonal())
    wrong_K = wrong_KK.sum(0)  # of each true class
    if K == 2 or not bool((wrong_K > 0).any()):
        return torch.ones((), dtype=matrix_KK.dtype)
    share_KK = wrong_KK / wrong_K.clamp_min(1e-12)
    entropy_K = -torch.xlogy(share_KK, share_KK).sum(0) / math.log(K - 1)
    return (entropy_K * wrong_K).sum() / wrong_K.sum()


def unlabelled_weight(rate: Tensor, symmetry: Tensor, classes: int) -> Tensor:
    """lambda_u from what is estimated of the noise, a scalar >= 0.

    ``2.5 K`` (25 for ten classes) from a noise rate of one half, falling to 0 at one fifth, times
    the symmetry of the noise.

    Args:
        rate: from :func:`wrong_share`.
        symmetry: from :func:`noise_symmetry`.
        classes: K.

    Differs: the paper sets it by hand for each noise: 0 for 20 % symmetric and for asymmetric
    noise, 25 for 50 and 80 % on ten classes, 150 on a hundred. The loss is a mean over classes, so
    that its weight grows with their number.
    """
    return 2.5 * classes * ((rate - 0.2) / 0.3).clamp(0, 1) * symmetry

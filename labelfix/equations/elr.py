"""ELR, early-learning regularisation (Liu et al., NeurIPS 2020).

A net fits the right labels first; its running average of predictions then holds it where the
wrong ones would pull it away. Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

from torch import Tensor


def early_learning_penalty(logits_BK: Tensor, memory_BK: Tensor) -> Tensor:
    """``mean_i log(1 - <p_i, t_i>)`` (Eq. 6 without its factor lambda), a scalar <= 0.

    Its gradient for a row's logit c is ``-p_c (t_c - <p, t>) / (1 - <p, t>)``, over B: a pull
    towards what the net used to say, however large the loss of the label.

    Args:
        logits_BK: ``(B, K)``; p is their softmax.
        memory_BK: ``(B, K)``, t, a constant; rows sum to at most 1.

    Differs: probabilities are cut to [1e-4, 1 - 1e-4] and normalised again, as in the released
    code, so that the logarithm stays finite.
    """
    p_BK = logits_BK.softmax(-1).clamp(1e-4, 1 - 1e-4)
    agreement_B = (p_BK / p_BK.sum(-1, keepdim=True) * memory_BK).sum(-1)
    return (1 - agreement_B).clamp_min(1e-4).log().mean()


def remembered(memory_BK: Tensor, probabilities_BK: Tensor, momentum: float) -> Tensor:
    """``t <- beta t + (1 - beta) p``, the running average of predictions (Eq. 9), ``(B, K)``.

    Args:
        memory_BK: ``(B, K)``, t.
        probabilities_BK: ``(B, K)``, p; in ELR+ those of the other net's weight average.
        momentum: beta in [0, 1).
    """
    return momentum * memory_BK + (1 - momentum) * probabilities_BK.detach()


def average_momentum(momentum: float, step: int) -> float:
    """gamma of the weight average at a step, in [0, momentum]: short at first, so that it moves.

    Differs: the paper has a constant; a run of a few hundred steps would end at its start.
    """
    return min(momentum, (1 + step) / (10 + step))

"""L2RW, learning to reweight examples: a row's weight is what it does for the clean loss.

Ren et al., "Learning to Reweight Examples for Robust Deep Learning", ICML 2018.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labelfix.equations.hrp import meta_gradient


def example_weights(tangent_BK: Tensor, labels_BK: Tensor) -> Tensor:
    """Weights of a batch's rows, ``(B,)`` >= 0 that sum to 1; all 0 where no row helps.

    Algorithm 1 and Eq. 9: with ``w'(eps) = w - eta grad_w sum_i eps_i CE(f(x_i), label_i)``,

        u_i = max(-d upper(w'(eps)) / d eps_i, 0) at eps = 0,
        weight_i = u_i / (sum_j u_j + [sum_j u_j = 0]).

    At eps = 0 the step has not moved the weights, so that one tangent gives all of them
    (:func:`labelfix.equations.hrp.meta_gradient`); eta cancels.

    Args:
        tangent_BK: ``(B, K)``, of log-probabilities along the gradient of the upper loss at w, from
            :func:`~labelfix.equations.tangents.log_prob_tangent`.
        labels_BK: ``(B, K)``, one-hot or soft.
    """
    helpful_B = meta_gradient(tangent_BK, labels_BK).clamp_min(0)
    total = helpful_B.sum()
    return helpful_B / torch.where(total > 0, total, 1.0)

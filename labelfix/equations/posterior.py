"""The posterior q(y | x, given): a prediction and the given label, weighed as two witnesses.

By Bayes, ``q ∝ p(y|x) T[y, given]`` when the given label depends on the right one alone. Both
factors are estimates, and the plain product is overconfident, so each carries a weight:
``log q = sum_w a_w log p_w(y|x) + b log T[y, given] + c [y = given]`` (a logarithmic opinion pool,
Genest and Zidek 1986), the few weights fitted by maximum likelihood on checked rows.

Shape suffixes: N rows, K classes, J terms of the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def transition_matrix(
    right_N: Tensor, given_N: Tensor, classes: int, prior_rows: float = 20.0
) -> Tensor:
    """``T[y, given]``, the probability that a row of class y was given each label; ``(K, K)``.

    Each row is a Dirichlet mean: the counts, and ``prior_rows`` imaginary rows of symmetric noise
    at the pooled rate, so that a class with few checked rows leans on the others.

    Args:
        right_N: ``(N,)`` right classes of audited rows.
        given_N: ``(N,)`` given classes; -1 (no label) does not count.
        classes: K >= 2.
        prior_rows: strength of the prior, in rows a class.
    """
    labelled_N = given_N >= 0
    counts_KK = torch.zeros(classes, classes, dtype=torch.float64)
    ones_N = torch.ones(int(labelled_N.sum()), dtype=torch.float64)
    counts_KK.index_put_((right_N[labelled_N], given_N[labelled_N]), ones_N, accumulate=True)
    wrong = counts_KK.sum() - counts_KK.trace()
    rate = (wrong + 0.5) / (counts_KK.sum() + 1)
    prior_KK = torch.full_like(counts_KK, float(rate) / (classes - 1))
    prior_KK.fill_diagonal_(1 - float(rate))
    return (counts_KK + prior_rows * prior_KK) / (counts_KK.sum(1, keepdim=True) + prior_rows)


def log_likelihood_of_given(transition_KK: Tensor, given_N: Tensor) -> Tensor:
    """``log T[y, given]`` for every candidate class y, ``(N, K)``; 0 where no label was given."""
    logs_NK = transition_KK.log().T[given_N.clamp_min(0)]
    return logs_NK * (given_N >= 0)[:, None]


def pool_terms(
    log_probabilities: Sequence[Tensor], log_given_NK: Tensor, given_N: Tensor
) -> Tensor:
    """The terms that the pool weighs, ``(N, K, J)``: each prediction, the transition, agreement."""
    agrees_NK = torch.nn.functional.one_hot(given_N.clamp_min(0), log_given_NK.shape[1])
    agrees_NK = agrees_NK * (given_N >= 0)[:, None]
    return torch.stack([*log_probabilities, log_given_NK, agrees_NK.to(log_given_NK)], dim=-1)


def pool_log_likelihood(
    weights_J: Tensor, terms_NKJ: Tensor, right_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The pool's log likelihood of the right labels, its gradient ``(J,)`` and Hessian ``(J, J)``.

    Concave in the weights: the Hessian is minus the covariance of the terms under q.
    """
    q_NK = pool(weights_J, terms_NKJ)
    rows_N = torch.arange(len(right_N))
    value = q_NK[rows_N, right_N].log().sum()
    mean_NJ = torch.einsum("nk,nkj->nj", q_NK, terms_NKJ)
    gradient_J = (terms_NKJ[rows_N, right_N] - mean_NJ).sum(0)
    second_JJ = torch.einsum("nk,nki,nkj->ij", q_NK, terms_NKJ, terms_NKJ)
    return value, gradient_J, mean_NJ.T @ mean_NJ - second_JJ


def pool(weights_J: Tensor, terms_NKJ: Tensor) -> Tensor:
    """The posterior q, ``(N, K)``; rows sum to 1."""
    return (terms_NKJ @ weights_J).softmax(1)

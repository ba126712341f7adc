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
    right_N: Tensor,
    given_N: Tensor,
    classes: int,
    errors_KK: Tensor | None = None,
    rate: float | None = None,
    *,
    prior_rows: float = 20.0,
    rate_rows: float = 10.0,
    transition_rows: float = 50.0,
) -> Tensor:
    """``T[y, given]``, the probability that a row of class y was given each label; ``(K, K)``.

    How many labels of a class are wrong is its share among the audited rows and ``prior_rows``
    imaginary ones at the pooled rate; where they go is their count among the wrong ones and
    ``transition_rows`` imaginary ones. So a class with few checked rows leans on the others for the
    one, and on all rows for the other, of which they know more than any number of checked rows.

    Args:
        right_N: ``(N,)`` right classes of audited rows; there may be none.
        given_N: ``(N,)`` given classes; -1 (no label) does not count.
        classes: K >= 2.
        errors_KK: where wrong labels go, from :func:`error_transition`; None = nobody knows: all
            others alike (symmetric noise), for the ``prior_rows`` alone (one Dirichlet prior).
        rate: expected share of wrong labels, from :func:`rate_of_errors`, worth ``rate_rows``
            rows in the pooled rate; None = a half, worth one row.
        prior_rows: strength of the pooled rate, in rows a class.
        rate_rows: strength of the rate's prior, in rows.
        transition_rows: strength of the error_transition, in wrong rows a class.
    """
    labelled_N = given_N >= 0
    counts_KK = torch.zeros(classes, classes, dtype=torch.float64)
    ones_N = torch.ones(int(labelled_N.sum()), dtype=torch.float64)
    counts_KK.index_put_((right_N[labelled_N], given_N[labelled_N]), ones_N, accumulate=True)
    rate, rate_rows = (0.5, 1.0) if rate is None else (rate, rate_rows)
    pooled = _error_rate(counts_KK, rate, rate_rows)
    if errors_KK is None:
        errors_KK, transition_rows = _even(classes), prior_rows * float(pooled)
    wrong_KK = counts_KK.clone().fill_diagonal_(0)
    wrong_K1, rows_K1 = wrong_KK.sum(1, keepdim=True), counts_KK.sum(1, keepdim=True)
    rate_K1 = (wrong_K1 + prior_rows * pooled) / (rows_K1 + prior_rows)
    imagined_KK = wrong_KK + transition_rows * errors_KK
    return _at_rate(rate_K1, imagined_KK / (wrong_K1 + transition_rows).clamp_min(1e-30))


def error_transition(
    p_NK: Tensor, given_N: Tensor, *, prior_rows: float = 20.0, passes: int = 50
) -> Tensor:
    """Which labels the wrong rows of each class were given, ``(K, K)``: rows sum to 1, diagonal 0.

    The off-diagonal shape of the T that makes the given labels likeliest, ``prod_i sum_y p(y|x_i)
    T[y, given_i]``, by expectation maximisation (Dawid and Skene, 1979). No right label is needed,
    so all rows tell where wrong labels go; how many are wrong is a question for the checked rows,
    because a model's own errors look like label noise.

    Args:
        p_NK: ``(N, K)`` probabilities of the right class, without the row's own label.
        given_N: ``(N,)`` class codes.
        prior_rows: imaginary rows a class of symmetric noise.
        passes: at most.
    """
    classes = p_NK.shape[1]
    transition_KK = _at_rate(torch.tensor(0.2, dtype=torch.float64), _even(classes))
    for _ in range(passes):
        q_NK = p_NK * transition_KK.T[given_N]
        q_NK = q_NK / q_NK.sum(1, keepdim=True).clamp_min(1e-30)
        counts_KK = torch.zeros_like(transition_KK).index_add_(1, given_N, q_NK.T)
        prior_KK = _at_rate(_error_rate(counts_KK), _even(classes))
        before_KK = transition_KK
        transition_KK = counts_KK + prior_rows * prior_KK
        transition_KK = transition_KK / transition_KK.sum(1, keepdim=True)
        if float((transition_KK - before_KK).abs().max()) < 1e-4:
            break
    wrong_KK = transition_KK.clone().fill_diagonal_(0)
    return wrong_KK / wrong_KK.sum(1, keepdim=True)


def rate_of_errors(p_NK: Tensor, given_N: Tensor, errors_KK: Tensor, *, passes: int = 100) -> float:
    """The share of wrong labels that makes the given ones likeliest, in [0, 1].

    ``T = (1 - rate) I + rate spread`` in the likelihood of :func:`error_transition`, by expectation
    maximisation. It is as good as p is calibrated: on checked rows, no matter whether any of them
    had a given label. An overconfident p takes its own errors for noise.

    Args:
        p_NK: ``(N, K)`` calibrated probabilities of the right class, without the row's own label.
        given_N: ``(N,)`` class codes.
        errors_KK: from :func:`error_transition`.
        passes: at most.
    """
    as_given_N = p_NK.gather(1, given_N[:, None])[:, 0]
    astray_N = (p_NK * errors_KK.T[given_N]).sum(1)
    rate = torch.tensor(0.2, dtype=p_NK.dtype)
    for _ in range(passes):
        wrong_N = rate * astray_N
        fresh = (wrong_N / ((1 - rate) * as_given_N + wrong_N).clamp_min(1e-30)).mean()
        rate, before = fresh, rate
        if float((rate - before).abs()) < 1e-5:
            break
    return float(rate)


def _error_rate(counts_KK: Tensor, rate: float = 0.5, rows: float = 1.0) -> Tensor:
    """The share off the diagonal, with some imaginary rows at a rate."""
    wrong = counts_KK.sum() - counts_KK.trace()
    return (wrong + rate * rows) / (counts_KK.sum() + rows)


def _even(classes: int) -> Tensor:
    """The spread of symmetric noise."""
    even_KK = torch.full((classes, classes), 1 / (classes - 1), dtype=torch.float64)
    return even_KK.fill_diagonal_(0)


def _at_rate(rate: Tensor, errors_KK: Tensor) -> Tensor:
    """T of a rate of wrong labels, one for all or ``(K, 1)``."""
    return (1 - rate) * torch.eye(len(errors_KK), dtype=torch.float64) + rate * errors_KK


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

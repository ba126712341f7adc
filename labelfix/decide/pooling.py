"""Weighing the predictors: the pool's weights and the noise transition, fitted on checked rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.annotations import Annotations
from labelfix.equations import posterior as eq
from labelfix.features.folds import some_of

BLOCK_ROWS = 65536
SAMPLE_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A fitted pool.

    Attributes:
        weights: ``(J,)``: one for each prediction, then the transition's and the agreement's.
        transition: ``(K, K)``, ``T[y, given]``.
    """

    weights: Tensor
    transition: Tensor

    def posterior(
        self, log_probabilities: Sequence[NDArray[np.floating]], given: NDArray[np.int32]
    ) -> NDArray[np.float64]:
        """The posterior q of every row, ``(N, K)``.

        Args:
            log_probabilities: one ``(N, K)`` array a prediction.
            given: ``(N,)`` class codes, -1 = no label.
        """
        q_NK = np.empty(log_probabilities[0].shape)
        for start in range(0, len(given), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            given_B = torch.from_numpy(given[rows].astype(np.int64))
            predictions = [
                torch.from_numpy(logs[rows].astype(np.float64)) for logs in log_probabilities
            ]
            likelihood_BK = eq.log_likelihood_of_given(self.transition, given_B)
            terms_BKJ = eq.pool_terms(predictions, likelihood_BK, given_B)
            q_NK[rows] = eq.pool(self.weights, terms_BKJ).numpy()
        return q_NK


@dataclass(frozen=True, kw_only=True)
class PooledPrediction:
    """A prediction that may be believed, and what it says of the noise.

    Attributes:
        log_probabilities: one or more ``(N, K)`` arrays, out of fold, that are weighed together.
        sample: ``(S, K, J)``, these of the labelled rows from which the noise is judged.
        given: ``(S,)``, the sample's labels.
        error_transition: ``(K, K)``, of the sample; see ``equations/posterior.py``.
    """

    log_probabilities: Sequence[NDArray[np.floating]]
    sample: Tensor
    given: Tensor
    error_transition: Tensor

    @classmethod
    def of(
        cls, log_probabilities: Sequence[NDArray[np.floating]], given: NDArray[np.int32]
    ) -> PooledPrediction:
        """With the spread under even weights, as no checked row has a say in it.

        They add up to J^(1/4): predictors that err together would be averaged, to 1, and predictors
        that err by themselves multiplied, to J; too soft a mixture blurs where wrong labels go.
        """
        rows = some_of(np.flatnonzero(given >= 0), SAMPLE_ROWS)
        sample_SKJ = stacked(log_probabilities, rows)
        given_S = torch.from_numpy(given[rows].astype(np.int64))
        even_J = torch.full((len(log_probabilities),), len(log_probabilities) ** -0.75).double()
        errors_KK = eq.error_transition(eq.pool(even_J, sample_SKJ), given_S)
        return cls(
            log_probabilities=log_probabilities,
            sample=sample_SKJ,
            given=given_S,
            error_transition=errors_KK,
        )

    def fit(self, annotations: Annotations, rows: NDArray[np.int64]) -> Pool:
        """The pool of some checked rows.

        Their right labels calibrate the prediction, by which all given labels tell the rate of
        wrong ones: the whole answer where no checked row had a label, a word in it elsewhere.
        """
        logs = [each[rows] for each in self.log_probabilities]
        audits = annotations.part(rows)
        without_given = replace(audits, given=np.full_like(audits.given, -1))
        alone_J = fit_pool(logs, without_given).weights[: len(logs)]
        rate = None
        if len(self.given):
            estimated = eq.rate_of_errors(
                eq.pool(alone_J, self.sample), self.given, self.error_transition
            )
            mixed_VK = eq.pool(alone_J, stacked(self.log_probabilities, rows))
            hits = mixed_VK.argmax(1).numpy() == audits.clean
            rate = max(estimated - _error_of_rate(hits, mixed_VK.shape[1]), 0.5 / len(self.given))
        return fit_pool(logs, audits, self.error_transition, rate)

    def posterior(
        self, pool: Pool, given: NDArray[np.int32], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The posterior of some rows, ``(B, K)``."""
        return pool.posterior([each[rows] for each in self.log_probabilities], given[rows])


def _error_of_rate(hits: NDArray[np.bool_], classes: int) -> float:
    """One standard error of a noise rate that is told by how often a prediction meets the labels.

    A share ``h`` of right predictions meets wrong labels by chance alone, in ``(1 - h) / (K - 1)``
    of the rows: the closer the two, the more of what looks like noise may be the prediction's own.
    """
    share = (float(hits.sum()) + 0.5) / (len(hits) + 1)
    error = np.sqrt(share * (1 - share) / max(len(hits), 1))
    return float(error / max(share - (1 - share) / (classes - 1), 1e-9))


def stacked(predictions: Sequence[NDArray[np.floating]], rows: NDArray[np.int64]) -> Tensor:
    """Some rows of J predictions side by side, ``(B, K, J)`` float64, as the pool weighs them."""
    return torch.from_numpy(np.stack([each[rows] for each in predictions], -1).astype(np.float64))


def fit_pool(
    log_probabilities: Sequence[NDArray[np.floating]],
    audits: Annotations,
    error_transition: Tensor | None = None,
    rate: float | None = None,
) -> Pool:
    """Fit the pool's weights on checked rows by penalised maximum likelihood.

    A row's transition comes from the other folds' rows, or the pool would trust it too much. The
    penalty is a Gaussian around equal trust; it decides only where checked rows are few.

    Args:
        log_probabilities: one ``(V, K)`` out-of-fold prediction a predictor.
        audits: the labels of the V checked rows.
        error_transition: ``(K, K)``, where wrong labels go by all rows; None = anywhere.
        rate: of wrong labels, by all rows; None = unknown.
    """
    classes = log_probabilities[0].shape[1]
    given_V = torch.from_numpy(audits.given.astype(np.int64))
    right_V = torch.from_numpy(audits.clean.astype(np.int64))
    fold_V = torch.from_numpy(audits.folds.astype(np.int64))
    likelihood_VK = torch.zeros(len(given_V), classes, dtype=torch.float64)
    for fold in fold_V.unique():
        own = fold_V == fold
        transition_KK = eq.transition_matrix(
            right_V[~own], given_V[~own], classes, error_transition, rate
        )
        likelihood_VK[own] = eq.log_likelihood_of_given(transition_KK, given_V[own])
    predictions = [torch.from_numpy(logs.astype(np.float64)) for logs in log_probabilities]
    terms_VKJ = eq.pool_terms(predictions, likelihood_VK, given_V)
    return Pool(
        weights=_maximise(terms_VKJ, right_V, audited=bool(audits.audited.any())),
        transition=eq.transition_matrix(right_V, given_V, classes, error_transition, rate),
    )


def _maximise(terms_VKJ: Tensor, right_V: Tensor, *, audited: bool) -> Tensor:
    """Newton's method with backtracking on the concave penalised likelihood."""
    predictors = terms_VKJ.shape[2] - 2  # then the transition's and the agreement's terms
    of_given = [0.75, 0.5] if audited else [1.0, 0.0]  # Bayes' rule where nothing else is known
    centre_J = torch.tensor([1 / predictors] * predictors + of_given, dtype=torch.float64)
    precision_J = torch.tensor([1.0] * predictors + [2.0, 1.0], dtype=torch.float64)

    def penalty(weights_J: Tensor) -> Tensor:
        return 0.5 * (precision_J * (weights_J - centre_J) ** 2).sum()

    def objective(weights_J: Tensor) -> float:
        right_q_V = eq.pool(weights_J, terms_VKJ).gather(1, right_V[:, None])
        return float(right_q_V.log().sum() - penalty(weights_J))

    weights_J = centre_J
    for _ in range(100):
        value, gradient_J, hessian_JJ = eq.pool_log_likelihood(weights_J, terms_VKJ, right_V)
        curvature_JJ = precision_J.diag() - hessian_JJ
        step_J = torch.linalg.solve(curvature_JJ, gradient_J - precision_J * (weights_J - centre_J))
        size, before = 1.0, float(value - penalty(weights_J))
        while size > 1e-6 and not objective(weights_J + size * step_J) >= before:
            size /= 2
        weights_J = weights_J + size * step_J
        if float((size * step_J).abs().max()) < 1e-8:
            break
    return weights_J

"""Judging without any checked row: the pool's transition and weights from the data themselves.

What the likelihood alone says cannot be trusted: a model's own errors look just like label noise,
and full expectation maximisation took right human labels for wrong ones. So the transition comes
from *anchors*, the rows that the prediction is surest of (Patrini et al., CVPR 2017), which are
cleaner than the rest: the noise comes out too low rather than too high, and changes stay few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.decide.pooling import Pool, stacked
from labelfix.equations import posterior as eq
from labelfix.equations.calibration import expected_calibration_error
from labelfix.features.folds import some_of

ANCHOR_SHARE = 0.1  # fewer: too clean a picture of the noise; more: the model's errors count as it
ANCHOR_ROWS = 20
FITTING_ROWS = 20_000
BLOCK_ROWS = 65536


@dataclass(frozen=True, kw_only=True)
class SelfEstimate:
    """What the posterior believes of its own result: a model's opinion, not evidence.

    No labelled row was checked, so nothing here was measured against a right label; where the
    prediction errs, these figures err with it. All in [0, 1], NaN where there is nothing to
    average.

    Attributes:
        rows: rows that had a label.
        label_accuracy_before, label_accuracy_after: mean posterior of the given and final label.
        change_precision: mean posterior of the new label over the changes.
        change_recall: expected share of the wrong labels that end at the right one.
        calibration_error: of the only prediction that can be tested here, that of the *given*
            label, ``sum_y p(y|x) T[y, given]``; 0 is necessary for a calibrated q, not sufficient.
    """

    rows: int
    label_accuracy_before: float
    label_accuracy_after: float
    change_precision: float
    change_recall: float
    calibration_error: float


def estimate(predictions: Sequence[NDArray[np.floating]], given: NDArray[np.int32]) -> Pool:
    """A pool ``q ∝ prod_w p_w(y|x)^a_w T[y, given]`` fitted without checked rows.

    First the weights that predict the *given* labels best choose the anchors, and these T; then,
    seen through T, the weights that make the given labels likeliest: a prediction of the right
    class is sharper than its agreement with noisy labels shows.

    Args:
        predictions: ``(N, K)`` log-probabilities, one array a predictor, out of fold: no row's own
            label may be in them.
        given: ``(N,)`` class codes, -1 = no label.

    Returns:
        A pool for :meth:`Pool.posterior`. Its weights are a, then 1 and 0.
    """
    labelled = np.flatnonzero(given >= 0)
    fitting = some_of(labelled, FITTING_ROWS)
    terms_BKW = stacked(predictions, fitting)
    given_B = torch.from_numpy(given[fitting].astype(np.int64))
    classes, predictors = terms_BKW.shape[1:]
    as_given_KK = (0.98 * torch.eye(classes) + 0.02 / classes).double()
    start_W = torch.full((predictors,), 1 / predictors, dtype=torch.float64)
    plain_W = _likeliest_weights(terms_BKW, given_B, as_given_KK, start_W)
    transition_KK = anchored_transition(predictions, given, plain_W)
    weights_W = _likeliest_weights(terms_BKW, given_B, transition_KK, plain_W)
    return Pool(
        weights=torch.cat([weights_W, torch.tensor([1.0, 0.0], dtype=torch.float64)]),
        transition=transition_KK,
    )


def anchored_transition(
    predictions: Sequence[NDArray[np.floating]], given: NDArray[np.int32], weights_W: Tensor
) -> Tensor:
    """``T[y, given]``, ``(K, K)``, from the surest rows of each predicted class, taken as right.

    The surest ``ANCHOR_SHARE`` of the labelled rows of a class count, at least ``ANCHOR_ROWS``,
    shrunk towards symmetric noise as in :func:`labelfix.equations.posterior.transition_matrix`.
    """
    labelled, classes = np.flatnonzero(given >= 0), predictions[0].shape[1]
    confidence, predicted = np.empty(len(labelled)), np.empty(len(labelled), dtype=np.int64)
    for start in range(0, len(labelled), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        p_BK = eq.pool(weights_W, stacked(predictions, labelled[rows])).numpy()
        confidence[rows], predicted[rows] = p_BK.max(1), p_BK.argmax(1)
    anchors = []
    for code in range(classes):
        own = np.flatnonzero(predicted == code)
        surest = own[np.argsort(-confidence[own], kind="stable")]
        anchors.append(surest[: max(ANCHOR_ROWS, int(ANCHOR_SHARE * len(own)))])
    chosen = np.concatenate(anchors)
    return eq.transition_matrix(
        torch.from_numpy(predicted[chosen]),
        torch.from_numpy(given[labelled[chosen]].astype(np.int64)),
        classes,
    )


def _likeliest_weights(
    terms_BKW: Tensor, given_B: Tensor, transition_KK: Tensor, start_W: Tensor
) -> Tensor:
    """The weights > 0, ``(W,)``, of greatest ``prod_i sum_y p(y|x_i) T[y, given_i]``.

    A prior of one row's worth on their logarithms, around the start, settles what no row does.
    """
    likelihood_BK = eq.log_likelihood_of_given(transition_KK, given_B)
    logs_W = start_W.log().clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logs_W], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        logs_BK = (terms_BKW @ logs_W.exp()).log_softmax(1)
        prior = 0.5 * (logs_W - start_W.log()).square().sum()
        value = (prior - (logs_BK + likelihood_BK).logsumexp(1).sum()) / max(len(given_B), 1)
        value.backward()
        return value

    optimiser.step(loss)
    return logs_W.detach().exp()


def self_estimate(
    pool: Pool,
    predictions: Sequence[NDArray[np.floating]],
    soft_labels: NDArray[np.floating],
    labels: NDArray[np.int32],
    given: NDArray[np.int32],
) -> SelfEstimate:
    """The posterior's opinion of the result, over the rows that had a label.

    Args:
        pool: from :func:`estimate`.
        predictions: as :func:`estimate` saw them.
        soft_labels: ``(N, K)``, q.
        labels: ``(N,)`` codes after the decisions.
        given: ``(N,)`` codes before, -1 = no label.
    """
    had = np.flatnonzero(given >= 0)
    q_given = soft_labels[had, given[had]].astype(np.float64)
    q_label = soft_labels[had, labels[had]].astype(np.float64)
    changed = labels[had] != given[had]
    wrong = float((1 - q_given).sum())
    return SelfEstimate(
        rows=len(had),
        label_accuracy_before=_mean(q_given),
        label_accuracy_after=_mean(q_label),
        change_precision=_mean(q_label[changed]),
        change_recall=float(q_label[changed].sum()) / wrong if wrong > 0 else float("nan"),
        calibration_error=_calibration_of_given(pool, predictions, given, had),
    )


def _calibration_of_given(
    pool: Pool,
    predictions: Sequence[NDArray[np.floating]],
    given: NDArray[np.int32],
    rows: NDArray[np.int64],
) -> float:
    weights_W = pool.weights[: len(predictions)]
    predicted_BK = eq.pool(weights_W, stacked(predictions, rows)) @ pool.transition
    confidence_B, code_B = predicted_BK.max(1)
    hit_B = code_B == torch.from_numpy(given[rows].astype(np.int64))
    return expected_calibration_error(confidence_B, hit_B.double())


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")

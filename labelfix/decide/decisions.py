"""From predictions to decisions, with honest evidence: which labels change, and how right that is.

Every figure of the evidence comes from checked rows that the step which judged them never saw:
predictions are out of fold, and pool, transition and the least margin of a change are fitted again
without the fold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from labelfix.annotations import Annotations
from labelfix.decide.audits import SamplingReport, random_audits
from labelfix.decide.evidence import Evidence, measure, self_estimated
from labelfix.decide.no_clean_set import estimate, self_estimate
from labelfix.decide.pooling import Pool, PooledPrediction
from labelfix.decide.threshold import NEVER, change_threshold, margins
from labelfix.ranges import Share, check_settings

Predictions = Mapping[str, Sequence[NDArray[np.floating]]]
PooledPredictions = Mapping[str, PooledPrediction]


@dataclass(frozen=True, kw_only=True)
class DecideConfig:
    """When a label changes.

    Attributes:
        min_precision: least posterior probability of a new label, in [0, 1]; 0 = it must only be
            likelier than the given one, by the margin that the checked rows ask for.
    """

    min_precision: Share = 0.0

    def __post_init__(self) -> None:
        check_settings(self)


DEFAULTS = DecideConfig()


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What is decided for each row.

    Attributes:
        soft_labels: ``(N, K)`` float32, the posterior; one-hot for checked rows.
        labels: ``(N,)`` int32 codes of the label to train on.
        transition: ``(K, K)``, ``T[y, given]``.
        predictor: the name of the prediction that was believed.
        predictor_losses: log loss of each prediction's posterior on checked rows, cross-fitted.
        pool_weights: what prediction, transition and agreement count for.
        change_threshold: by how much a new label must be likelier than the given one, in [0, 1];
            see :func:`labelfix.decide.threshold.change_threshold`; 1 = nothing may change.
        evidence: the measured figures.
        sampling: how the verified rows were chosen, as far as it was found out.
    """

    soft_labels: NDArray[np.float32]
    labels: NDArray[np.int32]
    transition: NDArray[np.float64]
    predictor: str
    predictor_losses: dict[str, float]
    pool_weights: list[float]
    change_threshold: float
    evidence: Evidence
    sampling: SamplingReport = field(default_factory=SamplingReport)


def decide(
    predictions: Predictions, annotations: Annotations, config: DecideConfig = DEFAULTS
) -> Decisions:
    """Weigh predictions against given labels, and decide.

    Checked rows calibrate; those that had a label (*audited* rows) also show how labels go wrong,
    and alone give evidence. Without them the given labels of all rows tell the noise, seen through
    the calibrated prediction, and the evidence is the posterior's own estimate. Rows that were not
    drawn at random, by the person's word or by what they are, lend their label alone.

    Args:
        predictions: the candidates by name; the one whose posterior the checked rows prefer is
            believed. Each is one or more ``(N, K)`` out-of-fold log-probabilities, the method's own
            first, that are weighed together.
        annotations: the rows' labels; folds are those of the predictions.
        config: when a label changes.
    """
    audits, sampling = random_audits(annotations)
    if audits.is_clean.any():
        found = _decide_with_clean_set(predictions, audits, config)
    else:
        found = _decide_without_clean_set(predictions, annotations.given, config)
    rows_V = np.flatnonzero(annotations.is_clean)
    soft_NK, labels = found.soft_labels, found.labels
    soft_NK[rows_V] = np.eye(soft_NK.shape[1], dtype=np.float32)[annotations.clean[rows_V]]
    labels[rows_V] = annotations.clean[rows_V]
    return replace(found, sampling=sampling)


def _decide_with_clean_set(
    predictions: Predictions, annotations: Annotations, config: DecideConfig
) -> Decisions:
    """Pool, threshold and evidence from verified rows that were drawn at random."""
    given, clean = annotations.given, annotations.clean
    rows_V = np.flatnonzero(annotations.is_clean)
    candidates = {name: PooledPrediction.of(logs, given) for name, logs in predictions.items()}
    losses = posterior_losses(candidates, annotations, rows_V)
    predictor = min(losses, key=lambda name: losses[name])
    pool = candidates[predictor].fit(annotations, rows_V)
    honest_VK = _cross_fitted(candidates, annotations, rows_V)
    soft_NK = pool.posterior(predictions[predictor], given)
    margin = change_threshold(
        honest_VK, given[rows_V], clean[rows_V], estimated_rate=noise_rate(soft_NK, given) or 0.0
    )
    labels = _labels_of(soft_NK, given, config, margin)
    soft_NK[rows_V] = np.eye(soft_NK.shape[1])[clean[rows_V]]
    labels[rows_V] = clean[rows_V]
    if annotations.audited.any():
        honest_V = _labels_by_fold(honest_VK, annotations.part(rows_V), config, margin)
        evidence = measure(honest_VK, honest_V, given[rows_V], clean[rows_V])
    else:
        figures = self_estimate(pool, predictions[predictor], soft_NK, labels, given)
        evidence = self_estimated(figures)
    choice = PoolChoice(predictor=predictor, losses=losses, pool=pool, change_threshold=margin)
    return _decisions(soft_NK.astype(np.float32), labels, choice, evidence)


def _decide_without_clean_set(
    predictions: Predictions, given: NDArray[np.int32], config: DecideConfig
) -> Decisions:
    """Without checked rows: transition and weights from the data, figures from the posterior."""
    (predictor, logs), *_ = predictions.items()
    pool = estimate(logs, given)
    soft_NK = pool.posterior(logs, given)
    tells_rows_apart = len(np.unique(logs[0].argmax(1))) > 1
    margin = 0.0 if tells_rows_apart else NEVER
    labels = _labels_of(soft_NK, given, config, margin)
    soft = soft_NK.astype(np.float32)
    figures = self_estimate(pool, logs, soft, labels, given)
    choice = PoolChoice(predictor=predictor, losses={}, pool=pool, change_threshold=margin)
    return _decisions(soft, labels, choice, self_estimated(figures))


def noise_rate(soft_NK: NDArray[np.floating], given: NDArray[np.int32]) -> float | None:
    """Share of wrong labels among the rows that were given one: the posterior's mean doubt.

    Where checked rows are one-hot they count as what they are. None where no row has a label.
    """
    rows = np.flatnonzero(given >= 0)
    if not len(rows):
        return None
    return float(1 - soft_NK[rows, given[rows]].astype(np.float64).mean())


@dataclass(frozen=True, kw_only=True)
class PoolChoice:
    """Which prediction was believed, by how much, and when labels may change."""

    predictor: str
    losses: dict[str, float]
    pool: Pool
    change_threshold: float


def _decisions(
    soft: NDArray[np.float32],
    labels: NDArray[np.int32],
    choice: PoolChoice,
    evidence: Evidence,
) -> Decisions:
    return Decisions(
        soft_labels=soft,
        labels=labels,
        transition=choice.pool.transition.numpy(),
        predictor=choice.predictor,
        predictor_losses=choice.losses,
        pool_weights=choice.pool.weights.tolist(),
        change_threshold=choice.change_threshold,
        evidence=evidence,
    )


def posterior_losses(
    candidates: PooledPredictions, annotations: Annotations, rows_V: NDArray[np.int64]
) -> dict[str, float]:
    """Mean log loss of each prediction's posterior on some checked rows, by name, in nats.

    A row's posterior comes from a pool that was fitted on the other folds among ``rows_V``.
    """
    losses, fold_V = {}, annotations.folds[rows_V]
    for name, candidate in candidates.items():
        total = 0.0
        for fold in np.unique(fold_V):
            own = rows_V[fold_V == fold]
            pool = candidate.fit(annotations, rows_V[fold_V != fold])
            soft_VK = candidate.posterior(pool, annotations.given, own)
            held = soft_VK[np.arange(len(own)), annotations.clean[own]]
            total -= np.log(held.clip(1e-12)).sum()
        losses[name] = float(total / max(1, len(rows_V)))
    return losses


def _cross_fitted(
    candidates: PooledPredictions, annotations: Annotations, rows_V: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The posterior of each checked row, ``(V, K)``, fitted as if nobody had checked its fold."""
    classes = len(next(iter(candidates.values())).error_transition)
    soft_VK, fold_V = np.empty((len(rows_V), classes)), annotations.folds[rows_V]
    for fold in np.unique(fold_V):
        own = fold_V == fold
        losses = posterior_losses(candidates, annotations, rows_V[~own])
        best = candidates[min(losses, key=lambda name: losses[name])]
        pool = best.fit(annotations, rows_V[~own])
        soft_VK[own] = best.posterior(pool, annotations.given, rows_V[own])
    return soft_VK


def _labels_by_fold(
    soft_VK: NDArray[np.float64], audits: Annotations, config: DecideConfig, margin: float
) -> NDArray[np.int32]:
    """What becomes of audited rows, each by the least margin that the other folds ask for.

    Where all of them together let nothing change (``margin``), nothing does.
    """
    label_V = np.empty(len(audits), dtype=np.int32)
    for fold in np.unique(audits.folds):
        own = audits.folds == fold
        asked = NEVER
        if margin < NEVER:
            asked = change_threshold(soft_VK[~own], audits.given[~own], audits.clean[~own])
        label_V[own] = _labels_of(soft_VK[own], audits.given[own], config, asked)
    return label_V


def _labels_of(
    soft_NK: NDArray[np.float64],
    given: NDArray[np.int32],
    config: DecideConfig,
    margin: float,
) -> NDArray[np.int32]:
    """The label to train on: the posterior's best where labels may change, else the given."""
    may_N = (margins(soft_NK, given) > margin) & (soft_NK.max(1) >= config.min_precision)
    return np.where((given < 0) | may_N, soft_NK.argmax(1), given).astype(np.int32)

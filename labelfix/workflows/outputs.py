"""What a purify run leaves behind: labels.parquet and summary.json."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import contract, inputs
from labelfix.decide.decisions import Decisions, noise_rate
from labelfix.decide.evidence import Evidence
from labelfix.decide.scores import Scores
from labelfix.decide.threshold import NEVER
from labelfix.workflows.output_folder import row_digest, versions
from labelfix.workflows.samples import LearningRows, Prediction
from labelfix.workflows.settings import Run


def summarise(
    dataset: inputs.Dataset,
    rows: LearningRows,
    prediction: Prediction,
    decided: Decisions,
    run: Run,
) -> dict[str, Any]:
    """summary.json: classes, noise rate, transition, evidence, decisions, timings, versions."""
    count = len(dataset)
    decisions = Counter(contract.DECISIONS[code] for code in decided.decisions[:count].tolist())
    audited = (dataset.clean >= 0) & (dataset.given >= 0)
    return {
        "source": source_of(dataset),
        "rows": count,
        "rows_without_label": int((dataset.given < 0).sum()),
        "checked_rows": {"audited": int(audited.sum()), "all": int((rows.checked >= 0).sum())},
        "class_names": dataset.class_names,
        "settings": asdict(run.config)
        | {"method": decided.predictor, "backbone": run.config.backbone_name},
        "noise_rate": noise_rate(decided.soft_labels, dataset.given),
        "noise_rate_interval": noise_rate_interval(decided.evidence),
        "transition_matrix": decided.transition.tolist(),
        "decisions": {name: decisions.get(name, 0) for name in contract.DECISIONS},
        "changes_allowed": decided.change_threshold < NEVER,
        "change_threshold": decided.change_threshold,
        "pool_weights": decided.pool_weights,
        "predictor": {
            "believed": decided.predictor,
            "log_loss_on_checked_rows": decided.predictor_losses,
            "learning": prediction.training_log,
        },
        "evidence": decided.evidence.to_dict(),
        "notices": dataset.notices,
        "fingerprints": {
            "data": dataset.fingerprint,
            "features": rows.key,
            "rows": row_digest(dataset.ids, rows.content[:count]),
        },
        "seconds": run.seconds,
        "versions": versions(),
    }


def source_of(dataset: inputs.Dataset) -> dict[str, str | None]:
    """Where DATA is, for the retraining that reads its images or features again."""
    return {
        "data": str(dataset.source.resolve()),
        "image_column": dataset.image_column,
        "features": dataset.features_from,
    }


def noise_rate_interval(evidence: Evidence) -> list[float] | None:
    """95 % interval of the share of wrong labels, from the audited rows; None = there are none."""
    if not evidence.audited:
        return None
    before = evidence.label_accuracy_before
    return [1 - before.high, 1 - before.low]


def write_outputs(
    dataset: inputs.Dataset,
    decided: Decisions,
    scores: Scores,
    summary: dict[str, Any],
    run: Run,
) -> None:
    """labels.parquet, with nothing in its metadata that differs between two equal runs."""
    started = time.monotonic()
    told = (
        "source", "settings", "noise_rate", "noise_rate_interval", "fingerprints", "checked_rows",
    )  # fmt: skip
    metadata = {name: summary[name] for name in told}
    contract.write_labels(
        run.folder.labels,
        corrected(
            decided, scores, dataset.ids, dataset.class_names, dataset.given, metadata=metadata
        ),
        other_schema=dataset.other_schema,
        other_columns=dataset.other_columns(),
    )
    run.seconds["write"] = round(time.monotonic() - started, 3)


def corrected(
    decided: Decisions,
    scores: Scores,
    ids: NDArray[np.object_],
    class_names: tuple[str, ...],
    given: NDArray[np.int32],
    *,
    metadata: dict[str, Any],
) -> contract.Labels:
    """The rows of labels.parquet: the first ``len(ids)`` of those that were judged and scored."""
    rows = slice(len(ids))
    evidence = "audited" if decided.evidence.audited else "self-estimated"
    return contract.Labels(
        ids=ids,
        class_names=class_names,
        given=given,
        label=decided.labels[rows],
        decision=decided.decisions[rows],
        soft_label=decided.soft_labels[rows],
        weight=decided.weights[rows],
        review_rank=rank_within(decided.review_ranks[rows]),
        label_reliability=scores.label_reliability[rows],
        pseudo_reliability=scores.pseudo_reliability[rows],
        clid=scores.clid[rows],
        metadata=metadata | {"evidence": evidence},
    )


def rank_within(ranks: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ranks from 1 without gaps, in the same order."""
    within = np.empty_like(ranks)
    within[np.argsort(ranks)] = np.arange(1, len(ranks) + 1, dtype=np.int32)
    return within

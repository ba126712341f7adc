"""What a purify run leaves behind: labels.parquet and summary.json."""

from __future__ import annotations

import time
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
from labelfix.workflows.source import Source, weights_name, write_places


def summarise(
    dataset: inputs.Dataset,
    rows: LearningRows,
    prediction: Prediction,
    decided: Decisions,
    run: Run,
) -> dict[str, Any]:
    """summary.json: classes, noise rate, transition, evidence, decisions, timings, versions."""
    count = len(dataset)
    codes = contract.decision(
        dataset.given, decided.labels[:count], decided.soft_labels[:count], dataset.clean >= 0
    )
    decisions = np.bincount(codes, minlength=len(contract.DECISIONS)).tolist()
    audited = (dataset.clean >= 0) & (dataset.given >= 0)
    return {
        "source": asdict(Source.of_dataset(dataset)),
        "rows": count,
        "rows_without_label": int((dataset.given < 0).sum()),
        "checked_rows": {"audited": int(audited.sum()), "all": int((rows.checked >= 0).sum())},
        "class_names": dataset.class_names,
        "settings": asdict(run.config)
        | {
            "method": decided.predictor,
            "backbone": run.config.backbone_name,
            "weights": weights_name(run.config.weights),
        },
        "noise_rate": noise_rate(decided.soft_labels, dataset.given),
        "noise_rate_interval": noise_rate_interval(decided.evidence),
        "transition_matrix": decided.transition.tolist(),
        "decisions": dict(zip(contract.DECISIONS, decisions, strict=True)),
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
    names = (
        "source", "settings", "noise_rate", "noise_rate_interval", "fingerprints", "checked_rows",
    )  # fmt: skip
    metadata = {name: summary[name] for name in names}
    write_places(dataset, run.config, run.folder)
    contract.write_labels(
        run.folder.labels,
        corrected(
            decided,
            scores,
            dataset.class_names,
            ids=dataset.ids,
            given=dataset.given,
            checked=dataset.clean >= 0,
            metadata=metadata,
        ),
        other_schema=dataset.other_schema,
        other_columns=dataset.other_columns(),
    )
    run.seconds["write"] = round(time.monotonic() - started, 3)


def corrected(
    decided: Decisions,
    scores: Scores,
    class_names: tuple[str, ...],
    *,
    ids: NDArray[np.object_],
    given: NDArray[np.int32],
    checked: NDArray[np.bool_],
    metadata: dict[str, Any],
) -> contract.Labels:
    """The rows of labels.parquet: the first N of those that were decided and scored.

    Args:
        decided, scores: of at least N rows.
        class_names: the K classes.
        ids, given, checked: ``(N,)``: names, codes of the given labels, who was checked.
        metadata: what the file says of itself.
    """
    rows = slice(len(ids))
    label, soft_label = decided.labels[rows], decided.soft_labels[rows]
    columns = {
        "id": ids,
        "given_label": given,
        "label": label,
        "decision": contract.decision(given, label, soft_label, checked),
        "soft_label": soft_label,
        "label_reliability": scores.label_reliability[rows],
        "pseudo_reliability": scores.pseudo_reliability[rows],
        "clid": scores.clid[rows],
    }
    evidence = "audited" if decided.evidence.audited else "self-estimated"
    return contract.complete(columns, class_names, metadata | {"evidence": evidence})


def renamed_notices(dataset: inputs.Dataset) -> tuple[str, ...]:
    """A line for each column of DATA whose name labels.parquet needs for itself."""
    names = contract.free_names(dataset.other_schema.names)
    return tuple(
        f"{dataset.table.title}: column '{name}' comes out as '{free}'"
        for name, free in names.items()
        if name != free
    )

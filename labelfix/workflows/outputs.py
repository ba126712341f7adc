"""What a purify run leaves behind: labels.parquet and summary.json."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import contract, inputs
from labelfix.annotations import Annotations, Answer, Drawn
from labelfix.decide.audits import SamplingReport
from labelfix.decide.decisions import Decisions, noise_rate
from labelfix.decide.evidence import Evidence
from labelfix.decide.scores import Scores
from labelfix.decide.threshold import NEVER
from labelfix.predictors.learning import Predictions
from labelfix.training.diagnostics import TrainingLog
from labelfix.workflows.output_folder import plain, row_digest, versions
from labelfix.workflows.samples import LearningRows
from labelfix.workflows.settings import PurifyConfig, Run
from labelfix.workflows.source import Source, weights_name, write_places


@dataclass(frozen=True, kw_only=True)
class CheckedRows:
    """How many rows a person checked.

    Attributes:
        audited: of DATA's rows that have a given label: they show how labels go wrong.
        all: those, rows without a given label, and rows of the clean set alone.
        drawn: DATA's rows with an answer by how they were chosen: random or chosen by the person's
            word, else unknown.
        without_class: DATA's rows whose answer names no class, by the answer: none (of the
            classes), wrong (the given label, and nobody said what is right), unsure.
    """

    audited: int
    all: int
    drawn: dict[str, int]
    without_class: dict[str, int]

    @classmethod
    def of(cls, annotations: Annotations, rows: int) -> CheckedRows:
        """Counts of the first ``rows`` rows, and in ``all`` of those beside them."""
        given, answers = annotations.given[:rows], annotations.answers[:rows]
        drawn = annotations.drawn[:rows][answers != Answer.MISSING]
        nameless = (Answer.NONE, Answer.WRONG, Answer.UNSURE)
        return cls(
            audited=int(((answers >= 0) & (given >= 0)).sum()),
            all=int(annotations.is_clean.sum()),
            drawn={word.name.lower(): int((drawn == word).sum()) for word in Drawn},
            without_class={word.name.lower(): int((answers == word).sum()) for word in nameless},
        )


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """Hashes of what was read; the same data has the same ones anywhere.

    Attributes:
        data: of DATA and the clean set.
        features: of the features, given or embedded.
        rows: of the rows' ids and contents, in order.
    """

    data: str
    features: str
    rows: str


Setting = str | int | float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did, as in summary.json.

    Attributes:
        source: what was read, by name.
        rows, rows_without_label: of DATA.
        checked_rows: how many rows a person checked.
        class_names: the K classes.
        settings: of the run; method and backbone as they were chosen.
        noise_rate: estimated share of wrong labels in [0, 1]; None where no row has a label.
        noise_rate_interval: its 95 % interval from audited rows; None where there are none.
        transition_matrix: ``(K, K)``, row y, column given: how often a row of class y is given
            each label.
        decisions: rows by decision.
        changes_allowed: whether any label may have changed.
        change_threshold: by how much a new label had to be likelier than the given one, in [0, 1].
        predictor: the prediction that was taken.
        predictor_losses: log loss of each prediction on the checked rows, in nats.
        pool_weights: what prediction, transition and agreement count for.
        training_log: what is kept of each prediction's training, by name.
        evidence: how right the labels are.
        sampling: how the checked rows were chosen, as far as it was found out.
        sampling_note: what a person should know of it, or None.
        notices: what a person should know of the input, one line each.
        fingerprints: hashes of what was read.
        seconds: of each stage.
        versions: of labelfix and the libraries that the result depends on.
    """

    source: Source
    rows: int
    rows_without_label: int
    checked_rows: CheckedRows
    class_names: tuple[str, ...]
    settings: Mapping[str, Setting]
    noise_rate: float | None
    noise_rate_interval: tuple[float, float] | None
    transition_matrix: list[list[float]]
    decisions: dict[str, int]
    changes_allowed: bool
    change_threshold: float
    predictor: str
    predictor_losses: dict[str, float]
    pool_weights: list[float]
    training_log: Mapping[str, TrainingLog]
    evidence: Evidence
    sampling: SamplingReport
    sampling_note: str | None
    notices: tuple[str, ...]
    fingerprints: Fingerprints
    seconds: dict[str, float]
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what could not be measured is null."""
        return plain(asdict(self))

    @property
    def metadata(self) -> dict[str, object]:
        """What labels.parquet says of itself: nothing that differs between two equal runs."""
        whole = self.to_dict()
        return {name: whole[name] for name in IN_METADATA}


IN_METADATA = (
    "source", "settings", "noise_rate", "noise_rate_interval", "fingerprints", "checked_rows",
)  # fmt: skip


def summarise(
    dataset: inputs.Dataset,
    rows: LearningRows,
    predictions: Predictions,
    decided: Decisions,
    run: Run,
) -> Summary:
    """What the run did."""
    count = len(dataset)
    codes = contract.decision(
        dataset.given, decided.labels[:count], decided.soft_labels[:count], dataset.clean >= 0
    )
    decisions = np.bincount(codes, minlength=len(contract.DECISIONS)).tolist()
    return Summary(
        source=Source.of_dataset(dataset),
        rows=count,
        rows_without_label=int((dataset.given < 0).sum()),
        checked_rows=CheckedRows.of(rows.annotations, count),
        class_names=dataset.class_names,
        settings=settings_of_run(run.config, decided),
        noise_rate=noise_rate(decided.soft_labels, dataset.given),
        noise_rate_interval=noise_rate_interval(decided.evidence),
        transition_matrix=decided.transition.tolist(),
        decisions=dict(zip(contract.DECISIONS, decisions, strict=True)),
        changes_allowed=decided.change_threshold < NEVER,
        change_threshold=decided.change_threshold,
        predictor=decided.predictor,
        predictor_losses=decided.predictor_losses,
        pool_weights=decided.pool_weights,
        training_log=predictions.training_log,
        evidence=decided.evidence,
        sampling=decided.sampling,
        sampling_note=sampling_note(decided.sampling),
        notices=dataset.notices,
        fingerprints=Fingerprints(
            data=dataset.fingerprint,
            features=rows.key,
            rows=row_digest(dataset.ids, rows.content[:count]),
        ),
        seconds=run.seconds,
        versions=versions(),
    )


def settings_of_run(config: PurifyConfig, decided: Decisions) -> dict[str, Setting]:
    """The settings, with the method and backbone that were chosen, and no path."""
    return asdict(config) | {
        "method": decided.predictor,
        "backbone": config.backbone_name,
        "weights": weights_name(config.weights),
    }


def sampling_note(found: SamplingReport) -> str | None:
    """What a person should know of how the checked rows were chosen; None = nothing."""
    if found.chosen:
        return (
            f"{found.chosen} checked rows were chosen, not drawn at random: their labels are used, "
            "and nothing is measured on them. Evidence needs rows drawn at random: "
            "labelfix review RUN --budget 200"
        )
    return "The checked rows are taken as drawn at random on your word." if found.on_word else None


def noise_rate_interval(evidence: Evidence) -> tuple[float, float] | None:
    """95 % interval of the share of wrong labels, from the audited rows; None = there are none."""
    if not evidence.audited:
        return None
    before = evidence.label_accuracy_before
    return 1 - before.high, 1 - before.low


def write_outputs(
    dataset: inputs.Dataset,
    decided: Decisions,
    scores: Scores,
    summary: Summary,
    run: Run,
) -> None:
    """Write labels.parquet, and where its inputs lie."""
    started = time.monotonic()
    write_places(dataset, run.config, run.files)
    contract.write_labels(
        run.files.labels,
        corrected(
            decided,
            scores,
            dataset.class_names,
            ids=dataset.ids,
            given=dataset.given,
            checked=dataset.clean >= 0,
            metadata=summary.metadata,
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
    metadata: Mapping[str, object],
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
    return contract.complete(columns, class_names, {**metadata, "evidence": evidence})


def renamed_notices(dataset: inputs.Dataset) -> tuple[str, ...]:
    """A line for each column of DATA whose name labels.parquet needs for itself."""
    names = contract.free_names(dataset.other_schema.names)
    return tuple(
        f"{dataset.table.title}: column '{name}' comes out as '{free}'"
        for name, free in names.items()
        if name != free
    )

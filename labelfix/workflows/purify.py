"""The flow of purify on one page, for the command line and for Python alike.

    Dataset ── images ── pretrain ── embed ──┐
       └────────────── features ─────────────┴─ rows ── neighbours ── predict ── decide ── score

With an output folder, work that takes long is a stage in it: complete or absent, and skipped when
nothing that it depends on has changed. Without one, everything is computed in memory.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from labelfix import inputs
from labelfix.annotations import Drawn
from labelfix.decide.decisions import DecideConfig, Decisions, decide
from labelfix.decide.scores import Scores, score
from labelfix.features.neighbours import Neighbours, nearest
from labelfix.features.standardise import Matrix, Stacked
from labelfix.predictors import registry
from labelfix.predictors.learning import Predictions, RowImages
from labelfix.training.devices import algebra_device
from labelfix.training.diagnostics import TrainingLog
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.output_folder import (
    NEIGHBOURS,
    PURIFY,
    SCORE,
    OutputFolder,
    digest,
    write_json,
)
from labelfix.workflows.outputs import Summary, renamed_notices, summarise, write_outputs
from labelfix.workflows.predict import predict
from labelfix.workflows.review_answers import reviewed_sets
from labelfix.workflows.samples import LearningRows
from labelfix.workflows.settings import PurifyConfig, Run


@dataclass(frozen=True, kw_only=True)
class Purified:
    """What was found out about the rows: neighbours, predictions, decisions and scores."""

    graph: Neighbours
    predictions: Predictions
    decided: Decisions
    scores: Scores


def purify_dataset(
    dataset: inputs.Dataset,
    out: Path,
    config: PurifyConfig,
    *,
    fresh: bool = False,
    report: Reporter = SILENT,
) -> Summary:
    """Correct a dataset: every stage that is missing, then labels.parquet and summary.json.

    Args:
        dataset: read and checked.
        out: the output folder.
        config: settings.
        fresh: do every stage again.
        report: where progress goes.

    Returns:
        The summary, as in summary.json.

    Raises:
        InputError: images are broken, the folder is not ours, or the settings do not fit.
        DegenerateLearningError: learning gave nothing usable; no labels are written.
    """
    started = time.monotonic()
    clean_rows = int((dataset.clean >= 0).sum()) + len(dataset.clean_labels)
    registry.require_clean(config.method, config.upper_loss, clean_rows)
    if dataset.features is None:
        _embedding().require_backbone(config)
    first = is_rank_zero(config.num_nodes)
    folder = OutputFolder.open(out, fresh=fresh, writes=first)
    flow = Run(config=config, folder=folder, report=report)
    dataset, rows = rows_to_learn(dataset, flow)
    found = run(rows, flow)
    summary = summarise(dataset, rows, found.predictions, found.decided, flow)
    if first:
        write_outputs(dataset, found.decided, found.scores, summary, flow)
        flow.seconds["total"] = round(time.monotonic() - started, 3)
        write_json(folder.summary, summary.to_dict())
    barrier(config.num_nodes)
    return summary


def run(rows: LearningRows, flow: Run) -> Purified:
    """From rows to decisions and scores.

    Args:
        rows: what to learn from.
        flow: settings, and the output folder, if there is one.

    Raises:
        InputError: the method needs checked rows that are not there.
        DegenerateLearningError: learning gave nothing usable.
    """
    graph = find_neighbours(rows, flow)
    predictions = make_predictions(rows, graph, flow)
    config = DecideConfig(min_precision=flow.config.min_precision)
    decided = decide(predictions.candidates, rows.annotations, config)
    scores = score_rows(rows, graph, predictions, decided, flow)
    return Purified(graph=graph, predictions=predictions, decided=decided, scores=scores)


def clean_source(
    paths: Sequence[Path],
    drawn: Sequence[str] = (),
    reviewed: Path | None = None,
    **columns: str | None,
) -> inputs.CleanSource:
    """Where checked rows are, and what a person says of them.

    Args:
        paths: the clean sets.
        drawn: "random" or "chosen", once for all sets or once for each.
        reviewed: a purify output folder whose review decisions are clean sets too.
        columns: names of their ``label``, ``image`` and ``id`` column.

    Raises:
        InputError: the words do not fit the sets.
    """
    words = tuple(Drawn[word.upper()] for word in drawn)
    named = inputs.CleanSource(paths=tuple(paths), columns=inputs.Columns(**columns), drawn=words)
    if reviewed is None:
        return named
    words = tuple(named.drawn_of(place) for place in range(len(paths)))
    sets = reviewed_sets(reviewed)
    return replace(named, paths=(*paths, *sets), drawn=(*words, *sets.values()))


def read_dataset(
    data: Path,
    clean: Path | inputs.CleanSource | None = None,
    **columns: Any,  # noqa: ANN401
) -> inputs.Dataset:
    """The checked tables; see :func:`labelfix.inputs.read`."""
    dataset = inputs.read(data, clean, **columns)
    return replace(dataset, notices=(*dataset.notices, *renamed_notices(dataset)))


def formats() -> str:
    """The formats of tables with their usual suffixes, for help."""
    return inputs.listed_formats()


def rows_to_learn(dataset: inputs.Dataset, flow: Run) -> tuple[inputs.Dataset, LearningRows]:
    """The rows to learn from: given features, or images embedded by a backbone.

    Returns the dataset too: only images show which clean rows are DATA's under another id.
    """
    if dataset.features is not None:
        features: Matrix = dataset.features
        if dataset.clean_features is not None and len(dataset.clean_labels):
            features = Stacked(dataset.features, dataset.clean_features)
        content = dataset.feature_keys
        assert content is not None, "features come with their content keys"
        clean = np.concatenate([dataset.clean, dataset.clean_labels])
        return dataset, LearningRows.of(
            features, content, dataset.given, clean,
            classes=len(dataset.class_names), seed=flow.config.seed, key=digest(content),
            answers=dataset.answers, drawn=dataset.drawn,
        )  # fmt: skip
    images = _embedding()
    pixels = images.decode_images(dataset, flow)
    matched = inputs.match_content(dataset, pixels.keys)
    for line in matched.notices[len(dataset.notices) :]:
        flow.report.say(line)
    beside = np.full(len(dataset.clean_labels), -1, np.int32)  # copies of DATA's rows: no evidence
    beside[np.isin(dataset.clean_rows.rows, matched.clean_rows.rows)] = matched.clean_labels
    weights, key = images.pretrain_backbone(matched, pixels, flow)
    features, key = images.embed_images(pixels, weights, key, flow)
    kept = RowImages(pixels=pixels.images, backbone=flow.config.backbone_name, weights=weights)
    return matched, LearningRows.of(
        features, pixels.keys, matched.given, np.concatenate([matched.clean, beside]),
        classes=len(matched.class_names), seed=flow.config.seed, key=key, images=kept,
        answers=matched.answers, drawn=matched.drawn,
    )  # fmt: skip


def _embedding() -> ModuleType:
    """Imported on need: timm takes seconds, and features do without it."""
    from labelfix.workflows import embed

    return embed


def find_neighbours(rows: LearningRows, flow: Run) -> Neighbours:
    """Stage neighbours: the graph that predictions and scores share."""
    config = flow.config

    def build(place: Path | None) -> Neighbours:
        with flow.report.task("neighbours"):
            return nearest(rows.features, device=algebra_device(config.device))

    def save(graph: Neighbours, place: Path) -> None:
        np.save(place / "rows.npy", graph.rows)
        np.save(place / "similarities.npy", graph.similarities)

    def load(place: Path) -> Neighbours:
        return Neighbours(
            rows=np.load(place / "rows.npy"), similarities=np.load(place / "similarities.npy")
        )

    key = NEIGHBOURS.key(rows=rows.key, device=config.device)
    return flow.staged(NEIGHBOURS, key, build, save, load)


def make_predictions(rows: LearningRows, graph: Neighbours, flow: Run) -> Predictions:
    """Stage purify: the method's out-of-fold predictions."""
    notes, config = rows.annotations, flow.config
    key = PURIFY.key(
        graph=NEIGHBOURS.key(rows=rows.key), given=digest(notes.given), clean=digest(notes.clean),
        method=config.method, upper_loss=config.upper_loss, learn_from=config.learn_from,
        seed=config.seed, device=config.device, devices=config.devices,
        num_nodes=config.num_nodes, precision=config.precision,
    )  # fmt: skip

    def build(place: Path | None) -> Predictions:
        scratch = None if place is None else place / "checkpoints"
        found = predict(rows, graph, config, flow.report, scratch=scratch)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        return found

    def save(found: Predictions, place: Path) -> None:
        for name, logs_NK in found.log_probabilities.items():
            np.save(place / f"log_probabilities-{name}.npy", logs_NK)
        np.save(place / "auxiliary.npy", np.stack(found.auxiliary))
        logs = {name: log.to_dict() for name, log in found.training_log.items()}
        write_json(place / "training_log.json", logs)

    def load(place: Path) -> Predictions:
        logs = json.loads((place / "training_log.json").read_text())
        return Predictions(
            log_probabilities={
                name: np.load(place / f"log_probabilities-{name}.npy") for name in logs
            },
            auxiliary=list(np.load(place / "auxiliary.npy")),
            training_log={name: TrainingLog(**log) for name, log in logs.items()},
        )

    return flow.staged(PURIFY, key, build, save, load)


def score_rows(
    rows: LearningRows,
    graph: Neighbours,
    predictions: Predictions,
    decided: Decisions,
    flow: Run,
) -> Scores:
    """Stage score: the reliabilities and CLID of every row."""
    key = SCORE.key(
        graph=NEIGHBOURS.key(rows=rows.key), soft_labels=digest(decided.soft_labels),
        predictor=decided.predictor, given=digest(rows.annotations.given),
        device=flow.config.device,
    )  # fmt: skip

    def build(place: Path | None) -> Scores:
        with flow.report.task("score"):
            return score(
                rows.design(algebra_device(flow.config.device)),
                graph,
                rows.annotations,
                decided.soft_labels,
                predictions.of_student(decided.predictor),
                device=algebra_device(flow.config.device),
            )

    def save(scores: Scores, place: Path) -> None:
        np.savez(place / "scores.npz", **vars(scores))

    def load(place: Path) -> Scores:
        with (place / "scores.npz").open("rb") as file, np.load(file) as found:
            return Scores(
                label_reliability=found["label_reliability"],
                pseudo_reliability=found["pseudo_reliability"],
                clid=found["clid"],
                direction=str(found["direction"]),
            )

    return flow.staged(SCORE, key, build, save, load)

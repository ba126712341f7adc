"""The flow of purify on one page: read, pretrain, embed, purify, judge, score, write.

    Dataset ── images ── pretrain ── embed ──┐
       └────────────── features ─────────────┴─ rows ── neighbours ── predict ── decide ── score

Each function takes typed artifacts and returns one; work that takes long is a stage in the output
folder, complete or absent, and skipped when its fingerprint has not changed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from labelfix import inputs
from labelfix.annotations import Drawn
from labelfix.decide.decisions import DecideConfig, Decisions, decide
from labelfix.decide.scores import Scores, score
from labelfix.features.neighbours import Neighbours, nearest
from labelfix.features.standardise import Matrix, Stacked
from labelfix.training.devices import algebra_device
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.workflows.output_folder import OutputFolder, digest, fingerprint, reading, write_json
from labelfix.workflows.outputs import Summary, renamed_notices, summarise, write_outputs
from labelfix.workflows.predict import method_of, run_methods
from labelfix.workflows.progress import SILENT, Reporter
from labelfix.workflows.samples import LearningRows, Prediction, RowImages, gather
from labelfix.workflows.settings import PurifyConfig, Run


def purify(
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
    method_of(config, int((dataset.clean >= 0).sum()) + len(dataset.clean_labels))
    if dataset.features is None:
        _embedding().require_backbone(config)
    first = is_rank_zero(config.num_nodes)
    folder = OutputFolder.open(out, fresh=fresh, writes=first)
    run = Run(folder=folder, config=config, report=report)
    dataset, rows = rows_of(dataset, run)
    graph = find_neighbours(rows, run)
    prediction = predict(rows, graph, run)
    decided = run_decide(rows, prediction, config)
    scores = score_rows(rows, graph, prediction, decided, run)
    summary = summarise(dataset, rows, prediction, decided, run)
    if first:
        write_outputs(dataset, decided, scores, summary, run)
        run.seconds["total"] = round(time.monotonic() - started, 3)
        write_json(run.folder.summary, summary.to_dict())
    barrier(config.num_nodes)
    return summary


def clean_source(
    paths: Sequence[Path], drawn: Sequence[str] = (), **columns: str | None
) -> inputs.CleanSource:
    """Where checked rows are, and what a person says of them.

    Args:
        paths: the clean sets.
        drawn: "random" or "chosen", once for all sets or once for each.
        columns: names of their ``label``, ``image`` and ``id`` column.

    Raises:
        InputError: the words do not fit the sets.
    """
    words = tuple(Drawn[word.upper()] for word in drawn)
    return inputs.CleanSource(paths=tuple(paths), columns=inputs.Columns(**columns), drawn=words)


def read(
    data: Path, clean: Path | inputs.CleanSource | None = None, **columns: str | None
) -> inputs.Dataset:
    """The checked tables; see :func:`labelfix.inputs.read`."""
    dataset = inputs.read(data, clean, **columns)
    return replace(dataset, notices=(*dataset.notices, *renamed_notices(dataset)))


def formats() -> str:
    """The formats of tables with their usual suffixes, for help."""
    return inputs.listed_formats()


def rows_of(dataset: inputs.Dataset, run: Run) -> tuple[inputs.Dataset, LearningRows]:
    """The rows to learn from: given features, or images embedded by a backbone.

    Returns the dataset too: only images show which clean rows are DATA's under another id.
    """
    if dataset.features is not None:
        features: Matrix = dataset.features
        if dataset.clean_features is not None and len(dataset.clean_labels):
            features = Stacked(dataset.features, dataset.clean_features)
        content = dataset.feature_keys
        assert content is not None, "features come with their content keys"
        return dataset, gather(dataset, features, content, digest(content), dataset.clean_labels)
    images = _embedding()
    pixels = images.decode_images(dataset, run)
    matched = inputs.match_content(dataset, pixels.keys)
    for line in matched.notices[len(dataset.notices) :]:
        run.report.say(line)
    extra = np.full(len(dataset.clean_labels), -1, np.int32)  # copies of DATA's rows: no evidence
    extra[np.isin(dataset.clean_rows.rows, matched.clean_rows.rows)] = matched.clean_labels
    weights, key = images.pretrain_backbone(matched, pixels, run)
    features, key = images.embed_images(pixels, weights, key, run)
    kept = RowImages(pixels=pixels.images, backbone=run.config.backbone_name, weights=weights)
    return matched, gather(matched, features, pixels.keys, key, extra, kept)


def _embedding() -> ModuleType:
    """Imported on need: timm takes seconds, and features do without it."""
    from labelfix.workflows import embed

    return embed


def find_neighbours(rows: LearningRows, run: Run) -> Neighbours:
    """Stage neighbours: the graph that predictions and scores share."""

    def build(place: Path) -> None:
        with run.report.task("neighbours"):
            graph = nearest(rows.features)
        np.save(place / "rows.npy", graph.rows)
        np.save(place / "similarities.npy", graph.similarities)

    place = run.stage("neighbours", fingerprint(rows=rows.key), build)
    with reading(place):
        return Neighbours(
            rows=np.load(place / "rows.npy"), similarities=np.load(place / "similarities.npy")
        )


def predict(rows: LearningRows, graph: Neighbours, run: Run) -> Prediction:
    """Stage purify: the method's out-of-fold predictions."""
    key = fingerprint(
        rows=rows.key, given=digest(rows.given), checked=digest(rows.checked),
        method=run.config.method, upper_loss=run.config.upper_loss,
        learn_from=run.config.learn_from, seed=run.config.seed, device=run.config.device,
        devices=run.config.devices, num_nodes=run.config.num_nodes, precision=run.config.precision,
    )  # fmt: skip

    def build(place: Path) -> None:
        scratch = place / "checkpoints"
        prediction = run_methods(rows, graph, run.config, run.report, scratch=scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        for name, logs_NK in prediction.log_probabilities.items():
            np.save(place / f"log_probabilities-{name}.npy", logs_NK)
        np.save(place / "auxiliary.npy", prediction.auxiliary)
        np.save(place / "folds.npy", prediction.folds)
        write_json(place / "training_log.json", prediction.training_log)

    place = run.stage("purify", key, build)
    with reading(place):
        training_log = json.loads((place / "training_log.json").read_text())
        return Prediction(
            log_probabilities={
                name: np.load(place / f"log_probabilities-{name}.npy") for name in training_log
            },
            auxiliary=np.load(place / "auxiliary.npy"),
            folds=np.load(place / "folds.npy"),
            training_log=training_log,
        )


def score_rows(
    rows: LearningRows, graph: Neighbours, prediction: Prediction, decided: Decisions, run: Run
) -> Scores:
    """Stage score: the reliabilities and CLID of every row."""
    key = fingerprint(
        rows=rows.key, soft_labels=digest(decided.soft_labels), predictor=decided.predictor,
        given=digest(rows.given), device=run.config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        with run.report.task("score"):
            scores = run_scores(rows, graph, prediction, decided, run.config)
        np.savez(place / "scores.npz", **vars(scores))

    place = run.stage("score", key, build)
    with reading(place), (place / "scores.npz").open("rb") as file, np.load(file) as found:
        return Scores(
            label_reliability=found["label_reliability"],
            pseudo_reliability=found["pseudo_reliability"],
            clid=found["clid"],
            direction=str(found["direction"]),
        )


def run_scores(
    rows: LearningRows,
    graph: Neighbours,
    prediction: Prediction,
    decided: Decisions,
    config: PurifyConfig,
) -> Scores:
    """The scores, in memory."""
    return score(
        rows.features,
        graph,
        rows.given,
        rows.checked,
        prediction.folds,
        decided.soft_labels,
        prediction.of_student(decided.predictor),
        device=algebra_device(config.device),
    )


def run_decide(rows: LearningRows, prediction: Prediction, config: PurifyConfig) -> Decisions:
    """Stage judge: posterior, decisions and evidence; cheap, so it is done every time."""
    return decide(
        prediction.candidates,
        rows.given,
        rows.checked,
        prediction.folds,
        DecideConfig(min_precision=config.min_precision),
    )

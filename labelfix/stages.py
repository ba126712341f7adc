"""The flow of purify on one page: read, pretrain, embed, purify, judge, write.

    Dataset ── images ── pretrain ── embed ──┐
       └────────────── features ─────────────┴─ Rows ── predict ── judge ── labels.parquet

Each function takes typed artifacts and returns one; work that takes long is a stage in the output
folder, complete or absent, and skipped when its fingerprint has not changed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import contract, inputs
from labelfix.artifacts import OutputFolder, digest, fingerprint, stamps, versions, write_json
from labelfix.errors import InputError
from labelfix.methods import backbones, dmlp, folds
from labelfix.methods.design import Matrix, Stacked
from labelfix.methods.devices import is_first_node, pick_device
from labelfix.methods.embed import embed
from labelfix.methods.judge import DECISIONS, JudgeConfig, Judgement, judge
from labelfix.methods.pretraining import CheckedImages, PretrainConfig, default_epochs, pretrain
from labelfix.methods.training import EpochReport, LoopConfig
from labelfix.methods.weights import save_weights
from labelfix.progress import SILENT, Advance, Reporter

METHODS = ("auto", "dmlp")
PRETRAINING = ("simclr", "moco", "none")


@dataclass(frozen=True, kw_only=True)
class PurifyConfig:
    """Settings of a purify run; what they mean stands with the command line's options.

    Raises:
        InputError: a value is out of range.
    """

    method: str = "auto"
    pretrain: str = "simclr"
    backbone: str | None = None
    weights: str = "random"
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "auto"
    min_precision: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("pretrain", PRETRAINING)):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"--{name} is '{getattr(self, name)}'", mend=f"use one of {', '.join(choices)}"
                )
        for name, least in (("devices", 1), ("num_nodes", 1), ("seed", 0), ("epochs", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is {value}", mend=f"use a number from {least} up")
        if not 0 <= self.min_precision <= 1:
            raise InputError(
                f"--min-precision is {self.min_precision}", mend="use a share from 0 to 1"
            )

    @property
    def loop(self) -> LoopConfig:
        return LoopConfig(
            epochs=1,
            device=self.device,
            devices=self.devices,
            num_nodes=self.num_nodes,
            precision=self.precision,
        )

    @property
    def backbone_name(self) -> str:
        """The backbone: the one asked for, else one that suits the device."""
        on_cpu = pick_device(self.device).type == "cpu"
        return self.backbone or ("smallconv" if on_cpu else "resnet18")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: where stages lie, how they are set, where progress goes, what took how long."""

    folder: OutputFolder
    config: PurifyConfig
    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The complete folder of a stage, built if it must be; see ``OutputFolder.stage``."""
        started = time.monotonic()
        place, was_there = self.folder.stage(name, key, build)
        if was_there:
            self.report.say(f"{name}: nothing changed, taken from the last run")
        self.seconds[name] = round(time.monotonic() - started, 3)
        return place


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a method learns from: DATA's N rows, then the M rows that are in CLEAN alone.

    Attributes:
        features: ``(N + M, D)``, array or memory map.
        given: ``(N + M,)`` int32 codes, -1 = no label.
        checked: ``(N + M,)`` int32 right codes, -1 = not checked.
        content: ``(N + M,)`` uint64 keys; rows of equal content share a fold.
        classes: K.
        key: fingerprint of the features.
    """

    features: Matrix
    given: NDArray[np.int32]
    checked: NDArray[np.int32]
    content: NDArray[np.uint64]
    classes: int
    key: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Out-of-fold log p(y|x), ``(N + M, K)`` float32, with folds and the method's own account."""

    log_probabilities: NDArray[np.float32]
    folds: NDArray[np.int8]
    account: dict[str, Any]


def purify(
    dataset: inputs.Dataset,
    out: Path,
    config: PurifyConfig,
    *,
    fresh: bool = False,
    report: Reporter = SILENT,
) -> dict[str, Any]:
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
    require_clean_rows(dataset)
    run = Run(folder=OutputFolder.open(out, fresh=fresh), config=config, report=report)
    dataset, rows = rows_of(dataset, run)
    prediction = predict(rows, run)
    judgement = decide(rows, prediction, config)
    summary = summarise(dataset, rows, prediction, judgement, run)
    if is_first_node():
        write_labels(dataset, judgement, summary, run)
        run.seconds["total"] = round(time.monotonic() - started, 3)
        write_json(run.folder.summary, summary)
    return summary


def pretrain_only(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, *, report: Reporter = SILENT
) -> str:
    """Stages images and pretrain alone; returns the path of the weights."""
    run = _run_on_images(dataset, out, config, report)
    return pretrain_backbone(dataset, decode_images(dataset, run), run)[0]


def embed_only(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, *, report: Reporter = SILENT
) -> Path:
    """Stages images, pretrain and embed; returns the path of the features."""
    run = _run_on_images(dataset, out, config, report)
    pixels = decode_images(dataset, run)
    embed_images(pixels, *pretrain_backbone(dataset, pixels, run), run)
    return run.folder.stages / "embed" / "features.npy"


def _run_on_images(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, report: Reporter
) -> Run:
    if dataset.features is not None or dataset.image_column is None:
        raise InputError(
            "has no images to learn from", mend="name them with --image-column", file=dataset.source
        )
    return Run(folder=OutputFolder.open(out), config=config, report=report)


def require_clean_rows(dataset: inputs.Dataset) -> None:
    """Method dmlp learns from checked rows; without any there is nothing to steer by."""
    if not (dataset.checked >= 0).any() and not len(dataset.clean_labels):
        raise InputError(
            "there are no checked rows", mend="pass some with --clean-set", file=dataset.source
        )


def rows_of(dataset: inputs.Dataset, run: Run) -> tuple[inputs.Dataset, Rows]:
    """The rows to learn from: given features, or images embedded by a backbone.

    Returns the dataset too: only images show which clean rows are DATA's under another id.
    """
    if dataset.features is not None:
        features: Any = dataset.features
        if dataset.clean_features is not None and len(dataset.clean_labels):
            features = Stacked(dataset.features, dataset.clean_features)
        content = dataset.feature_keys
        assert content is not None, "features come with their content keys"
        return dataset, gather(dataset, features, content, digest(content), dataset.clean_labels)
    pixels = decode_images(dataset, run)
    matched = inputs.match_content(dataset, pixels.keys)
    for line in matched.notices[len(dataset.notices) :]:
        run.report.say(line)
    extra = np.full(len(dataset.clean_rows), -1, np.int32)  # copies of DATA's rows: no evidence
    extra[np.isin(dataset.clean_rows, matched.clean_rows)] = matched.clean_labels
    features, key = embed_images(pixels, *pretrain_backbone(matched, pixels, run), run)
    return matched, gather(matched, features, pixels.keys, key, extra)


def gather(
    dataset: inputs.Dataset,
    features: Any,  # noqa: ANN401  (an array, a memory map or two stacked)
    content: NDArray[np.uint64],
    key: str,
    extra: NDArray[np.int32],
) -> Rows:
    """DATA's rows over the ``extra`` checked ones."""
    return Rows(
        features=features,
        given=np.concatenate([dataset.given, np.full(len(extra), -1, np.int32)]),
        checked=np.concatenate([dataset.checked, extra]),
        content=content,
        classes=len(dataset.class_names),
        key=key,
    )


def decode_images(dataset: inputs.Dataset, run: Run) -> inputs.Pixels:
    """Stage images: one uint8 array of all images, with their content keys."""

    def build(place: Path) -> None:
        with run.report.task("read images") as advance:
            pixels = inputs.decode(
                dataset, place / "pixels.npy", progress=lambda done, total: advance(done, total, "")
            )
        np.save(place / "keys.npy", pixels.keys)

    files = [file for file in dataset.encoded_images() if isinstance(file, Path)]
    key = fingerprint(data=dataset.fingerprint, files=stamps(files))
    place = run.stage("images", key, build)
    images = np.load(place / "pixels.npy", mmap_mode="r")
    return inputs.Pixels(images=images, keys=np.load(place / "keys.npy"))


def pretrain_backbone(dataset: inputs.Dataset, pixels: inputs.Pixels, run: Run) -> tuple[str, str]:
    """Stage pretrain: the weights, as ``backbones.build`` takes them, and their key."""
    config = run.config
    if config.weights != "random" or config.pretrain == "none":
        files = [Path(config.weights)] if Path(config.weights).is_file() else []
        key = fingerprint(
            backbone=config.backbone_name,
            weights=config.weights,
            file=stamps(files),
            seed=config.seed,
        )
        return config.weights, key
    epochs = config.epochs or default_epochs(
        len(pixels.images), max(pixels.images.shape[1:3]), config.device
    )
    settings = PretrainConfig(
        method=config.pretrain, backbone=config.backbone_name, epochs=epochs, seed=config.seed
    )
    key = fingerprint(
        images=digest(pixels.keys), settings=asdict(settings), devices=config.devices,
        num_nodes=config.num_nodes, precision=config.precision, device=config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        title = f"pretrain ({config.pretrain}, {config.backbone_name}, {epochs} epochs)"
        with run.report.task(title) as advance:
            trained = pretrain(
                pixels.images,
                config=settings,
                loop=config.loop,
                checked=checked_images(dataset, pixels),
                checkpoint=place / "checkpoint.pt",
                on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, in_words(epoch)),
            )
        save_weights(trained.backbone.net, place / "weights.safetensors")
        write_json(place / "history.json", [asdict(epoch) for epoch in trained.history])
        (place / "checkpoint.pt").unlink(missing_ok=True)

    return str(run.stage("pretrain", key, build) / "weights.safetensors"), key


def checked_images(dataset: inputs.Dataset, pixels: inputs.Pixels) -> CheckedImages | None:
    """The checked rows' images, for the kNN accuracy that shows whether pretraining learns."""
    labels = dataset.checked
    rows = np.flatnonzero(labels >= 0)
    if len(rows) < 2:
        return None
    return CheckedImages(images=pixels.images[rows], labels=labels[rows], k=min(20, len(rows) - 1))


def in_words(epoch: EpochReport) -> str:
    """An epoch's metrics as a short remark."""
    return "  ".join(
        f"kNN on checked rows {value:.1%}" if name == "knn" else f"{name} {value:.3f}"
        for name, value in epoch.metrics.items()
    )


def embed_images(
    pixels: inputs.Pixels, weights: str, weights_key: str, run: Run
) -> tuple[Any, str]:
    """Stage embed: ``(N + M, D)`` float16 features, memory-mapped, and their key."""
    name = run.config.backbone_name
    key = fingerprint(images=digest(pixels.keys), backbone=weights_key)

    def build(place: Path) -> None:
        side = max(pixels.images.shape[1:3])
        backbone = backbones.build(name, side, weights=weights, seed=run.config.seed)
        with run.report.task(f"embed ({name})") as advance:
            embed(
                backbone,
                pixels.images,
                device=run.config.device,
                destination=place / "features.npy",
                on_batch=lambda done: advance(done, len(pixels.images), ""),
            )

    place = run.stage("embed", key, build)
    return np.load(place / "features.npy", mmap_mode="r"), key


def predict(rows: Rows, run: Run) -> Prediction:
    """Stage purify: the method's out-of-fold predictions."""
    key = fingerprint(
        rows=rows.key, given=digest(rows.given), checked=digest(rows.checked),
        method="dmlp", seed=run.config.seed, device=run.config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        with run.report.task("purify (dmlp)") as advance:
            prediction = run_method(rows, run.config, advance)
        np.save(place / "log_probabilities.npy", prediction.log_probabilities)
        np.save(place / "folds.npy", prediction.folds)
        write_json(place / "account.json", prediction.account)

    place = run.stage("purify", key, build)
    return Prediction(
        log_probabilities=np.load(place / "log_probabilities.npy"),
        folds=np.load(place / "folds.npy"),
        account=json.loads((place / "account.json").read_text()),
    )


def run_method(rows: Rows, config: PurifyConfig, advance: Advance) -> Prediction:
    """The method on all rows, in memory: what Python API and command line share."""
    strata = (rows.checked + 1) * (rows.classes + 1) + rows.given + 1
    fold = folds.assign(rows.content, strata, seed=config.seed)
    found = dmlp.purify(
        rows.features, rows.given, rows.checked, fold, rows.classes,
        device=pick_device(config.device), on_pass=lambda done, total: advance(done, total, ""),
    )  # fmt: skip
    account = {"method": "dmlp", "snapshots": found.history, "chosen": found.chosen}
    return Prediction(log_probabilities=found.log_probabilities, folds=fold, account=account)


def decide(rows: Rows, prediction: Prediction, config: PurifyConfig) -> Judgement:
    """Stage judge: posterior, decisions and evidence; cheap, so it is done every time."""
    return judge(
        [prediction.log_probabilities],
        rows.given,
        rows.checked,
        prediction.folds,
        JudgeConfig(min_precision=config.min_precision),
    )


def summarise(
    dataset: inputs.Dataset, rows: Rows, prediction: Prediction, judgement: Judgement, run: Run
) -> dict[str, Any]:
    """summary.json: classes, noise rate, transition, evidence, decisions, timings, versions."""
    count = len(dataset)
    decisions = Counter(DECISIONS[code] for code in judgement.decisions[:count].tolist())
    audited = (dataset.checked >= 0) & (dataset.given >= 0)
    return {
        "source": source_of(dataset),
        "rows": count,
        "rows_without_label": int((dataset.given < 0).sum()),
        "checked_rows": {"audited": int(audited.sum()), "all": int((rows.checked >= 0).sum())},
        "class_names": dataset.class_names,
        "settings": asdict(run.config)
        | {"method": prediction.account["method"], "backbone": run.config.backbone_name},
        "noise_rate": noise_rate(judgement, dataset.given),
        "transition_matrix": judgement.transition.tolist(),
        "decisions": {name: decisions.get(name, 0) for name in DECISIONS},
        "label_changes_allowed": judgement.gate_open,
        "witness_weights": judgement.pool_weights,
        "method": prediction.account,
        "evidence": judgement.evidence.to_dict(),
        "notices": dataset.notices,
        "fingerprints": {"data": dataset.fingerprint, "features": rows.key},
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


def noise_rate(judgement: Judgement, given: NDArray[np.int32]) -> float | None:
    """Share of wrong labels among the rows that were given one: the posterior's mean doubt.

    Checked rows count as what they are. None where no row has a label.
    """
    rows = np.flatnonzero(given >= 0)
    if not len(rows):
        return None
    return float(1 - judgement.soft_labels[rows, given[rows]].astype(np.float64).mean())


def write_labels(
    dataset: inputs.Dataset, judgement: Judgement, summary: dict[str, Any], run: Run
) -> None:
    """labels.parquet, with nothing in its metadata that differs between two equal runs."""
    started, rows = time.monotonic(), slice(len(dataset))
    kept = ("source", "settings", "noise_rate", "fingerprints", "checked_rows")
    labels = contract.Labels(
        ids=dataset.ids,
        class_names=dataset.class_names,
        given=dataset.given,
        label=judgement.labels[rows],
        decision=judgement.decisions[rows],
        soft_label=judgement.soft_labels[rows],
        weight=judgement.weights[rows],
        review_rank=rank_within(judgement.review_ranks[rows]),
        metadata={name: summary[name] for name in kept}
        | {"evidence": "audited" if judgement.evidence.rows else "self-estimated"},
    )
    contract.write(
        run.folder.labels,
        labels,
        other_schema=dataset.other_schema,
        other_columns=dataset.other_columns(),
    )
    run.seconds["write"] = round(time.monotonic() - started, 3)


def rank_within(ranks: NDArray[np.int32]) -> NDArray[np.int32]:
    """Ranks from 1 without gaps, in the same order."""
    within = np.empty_like(ranks)
    within[np.argsort(ranks)] = np.arange(1, len(ranks) + 1, dtype=np.int32)
    return within

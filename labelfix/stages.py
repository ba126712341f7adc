"""The flow of purify on one page: read, pretrain, embed, purify, judge, write.

    Dataset ── images ── pretrain ── embed ──┐
       └────────────── features ─────────────┴─ Rows ── predict ── judge ── labels.parquet

Each function takes typed artifacts and returns one; work that takes long is a stage in the output
folder, complete or absent, and skipped when its fingerprint has not changed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import inputs
from labelfix.artifacts import OutputFolder, digest, fingerprint, write_json
from labelfix.errors import InputError
from labelfix.methods import clid, dmlp, folds, head
from labelfix.methods.design import Matrix, Stacked
from labelfix.methods.devices import is_first_node, pick_device
from labelfix.methods.judge import JudgeConfig, Judgement, judge, soft_targets
from labelfix.methods.scores import Scores, score
from labelfix.outcome import summarise, write_labels
from labelfix.progress import SILENT, Advance, Reporter
from labelfix.rows import Prediction, Rows, gather
from labelfix.run import PurifyConfig, Run


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
    if config.method in ("dmlp", "dmlp-naive"):
        require_checked(int((dataset.checked >= 0).sum()) + len(dataset.clean_labels))
    if dataset.features is None:
        _image_stages().require_backbone(config)
    run = Run(folder=OutputFolder.open(out, fresh=fresh), config=config, report=report)
    dataset, rows = rows_of(dataset, run)
    prediction = predict(rows, run)
    judgement = decide(rows, prediction, config)
    scores = score_rows(rows, prediction, judgement, run)
    summary = summarise(dataset, rows, prediction, judgement, run)
    if is_first_node():
        write_labels(dataset, judgement, scores, summary, run)
        run.seconds["total"] = round(time.monotonic() - started, 3)
        write_json(run.folder.summary, summary)
    return summary


def rows_of(dataset: inputs.Dataset, run: Run) -> tuple[inputs.Dataset, Rows]:
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
    images = _image_stages()
    pixels = images.decode_images(dataset, run)
    matched = inputs.match_content(dataset, pixels.keys)
    for line in matched.notices[len(dataset.notices) :]:
        run.report.say(line)
    extra = np.full(len(dataset.clean_rows), -1, np.int32)  # copies of DATA's rows: no evidence
    extra[np.isin(dataset.clean_rows, matched.clean_rows)] = matched.clean_labels
    weights, key = images.pretrain_backbone(matched, pixels, run)
    features, key = images.embed_images(pixels, weights, key, run)
    return matched, gather(matched, features, pixels.keys, key, extra)


def _image_stages() -> ModuleType:
    """Imported on need: timm takes seconds, and features do without it."""
    from labelfix import image_stages

    return image_stages


def predict(rows: Rows, run: Run) -> Prediction:
    """Stage purify: the method's out-of-fold predictions."""
    key = fingerprint(
        rows=rows.key, given=digest(rows.given), checked=digest(rows.checked),
        method=run.config.method, seed=run.config.seed, device=run.config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        prediction = run_methods(rows, run.config, run.report)
        for name, logs_NK in prediction.log_probabilities.items():
            np.save(place / f"log_probabilities-{name}.npy", logs_NK)
        np.save(place / "folds.npy", prediction.folds)
        write_json(place / "account.json", prediction.account)

    place = run.stage("purify", key, build)
    account = json.loads((place / "account.json").read_text())
    return Prediction(
        log_probabilities={
            name: np.load(place / f"log_probabilities-{name}.npy") for name in account
        },
        folds=np.load(place / "folds.npy"),
        account=account,
    )


def run_methods(rows: Rows, config: PurifyConfig, report: Reporter = SILENT) -> Prediction:
    """The methods on all rows, in memory: what Python API and command line share.

    ``dmlp`` gives the accompanying classifier's predictions; ``dmlp-naive`` those of a net trained
    on the purified soft labels; ``clid`` those of a head whose rows a weight net weighs. ``auto``
    is ``clid`` where no row is checked, else ``dmlp`` and ``dmlp-naive``: the judge picks.
    """
    strata = (rows.checked + 1) * (rows.classes + 1) + rows.given + 1
    fold = folds.assign(rows.content, strata, seed=config.seed)
    checked = int((rows.checked >= 0).sum())
    if config.method == "clid" or (config.method == "auto" and not checked):
        return run_clid(rows, fold, config, report)
    require_checked(checked)
    return run_dmlp(rows, fold, config, report)


def require_checked(rows: int) -> None:
    """DMLP learns from checked rows; without any there is nothing to steer by."""
    if rows == 0:
        raise InputError(
            "there are no checked rows", mend="pass some with --clean-set, or use --method clid"
        )
    if rows == 1:
        raise InputError("there is one checked row", mend="check two or more, best a hundred")


def run_clid(
    rows: Rows, fold: NDArray[np.int8], config: PurifyConfig, report: Reporter
) -> Prediction:
    """CLID-MU; a checked row's right label stands in for its given one."""
    known = np.where(rows.checked >= 0, rows.checked, rows.given)
    with report.task("purify (clid)") as advance:
        found = clid.purify(
            rows.features, known, fold, rows.classes, device=pick_device(config.device),
            seed=config.seed, on_pass=without_remark(advance),
        )  # fmt: skip
    account = {"clid": {"snapshots": found.history, "chosen": found.chosen}}
    return Prediction(
        log_probabilities={"clid": found.log_probabilities}, folds=fold, account=account
    )


def run_dmlp(
    rows: Rows, fold: NDArray[np.int8], config: PurifyConfig, report: Reporter
) -> Prediction:
    """DMLP, and unless only that is wanted, a net trained on its purified soft labels."""
    device = pick_device(config.device)
    learn = (rows.features, rows.given, rows.checked, fold, rows.classes)
    with report.task("purify (dmlp)") as advance:
        found = dmlp.purify(*learn, device=device, on_pass=without_remark(advance))
    account = {"dmlp": {"snapshots": found.history, "chosen": found.chosen}}
    first = Prediction(
        log_probabilities={"dmlp": found.log_probabilities}, folds=fold, account=account
    )
    if config.method == "dmlp":
        return first
    with report.task("purify (soft labels for every fold)") as advance:
        nested = dmlp.nested(*learn, found.chosen, device=device, on_pass=without_remark(advance))
    targets = soft_targets(nested, rows.given, rows.checked, fold)
    with report.task("purify (dmlp-naive)") as advance:
        retrained = head.fit_head(
            rows.features,
            targets,
            fold,
            loop=replace(config.loop, seed=config.seed),
            on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )
    if config.method == "dmlp-naive":
        return Prediction(
            log_probabilities={"dmlp-naive": retrained}, folds=fold, account={"dmlp-naive": {}}
        )
    return replace(
        first,
        log_probabilities=first.log_probabilities | {"dmlp-naive": retrained},
        account=account | {"dmlp-naive": {}},
    )


def without_remark(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")


def score_rows(rows: Rows, prediction: Prediction, judgement: Judgement, run: Run) -> Scores:
    """Stage score: the reliabilities and CLID of every row."""
    key = fingerprint(
        rows=rows.key, soft_labels=digest(judgement.soft_labels), witness=judgement.witness,
        given=digest(rows.given), device=run.config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        with run.report.task("score"):
            scores = run_scores(rows, prediction, judgement, run.config)
        np.savez(place / "scores.npz", **vars(scores))

    with np.load(run.stage("score", key, build) / "scores.npz") as found:
        return Scores(
            label_reliability=found["label_reliability"],
            pseudo_reliability=found["pseudo_reliability"],
            clid=found["clid"],
            direction=str(found["direction"]),
        )


def run_scores(
    rows: Rows, prediction: Prediction, judgement: Judgement, config: PurifyConfig
) -> Scores:
    """The scores, in memory."""
    return score(
        rows.features,
        rows.given,
        rows.checked,
        prediction.folds,
        judgement.soft_labels,
        prediction.log_probabilities[judgement.witness],
        device=pick_device(config.device),
    )


def decide(rows: Rows, prediction: Prediction, config: PurifyConfig) -> Judgement:
    """Stage judge: posterior, decisions and evidence; cheap, so it is done every time."""
    return judge(
        prediction.log_probabilities,
        rows.given,
        rows.checked,
        prediction.folds,
        JudgeConfig(min_precision=config.min_precision),
    )

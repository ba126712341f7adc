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
from pathlib import Path
from typing import Any

import numpy as np

from labelfix import inputs
from labelfix.artifacts import OutputFolder, digest, fingerprint, write_json
from labelfix.errors import InputError
from labelfix.image_stages import decode_images, embed_images, pretrain_backbone, require_backbone
from labelfix.methods import dmlp, folds, head
from labelfix.methods.design import Matrix, Stacked
from labelfix.methods.devices import is_first_node, pick_device
from labelfix.methods.judge import JudgeConfig, Judgement, judge, soft_targets
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
    require_clean_rows(dataset)
    if dataset.features is None:
        require_backbone(config)
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
        features: Matrix = dataset.features
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
    on the purified soft labels; ``auto`` both, and the judge picks by the checked rows.
    """
    if (rows.checked >= 0).sum() == 1:
        raise InputError("there is one checked row", mend="check two or more, best a hundred")
    strata = (rows.checked + 1) * (rows.classes + 1) + rows.given + 1
    fold = folds.assign(rows.content, strata, seed=config.seed)
    device = pick_device(config.device)
    learn = (rows.features, rows.given, rows.checked, fold, rows.classes)
    with report.task("purify (dmlp)") as advance:
        found = dmlp.purify(*learn, device=device, on_pass=without_remark(advance))
    predictions = {"dmlp": found.log_probabilities}
    account = {"dmlp": {"snapshots": found.history, "chosen": found.chosen}}
    if config.method != "dmlp":
        with report.task("purify (soft labels for every fold)") as advance:
            nested = dmlp.nested(
                *learn, found.chosen, device=device, on_pass=without_remark(advance)
            )
        targets = soft_targets(nested, rows.given, rows.checked, fold)
        with report.task("purify (dmlp-naive)") as advance:
            predictions["dmlp-naive"] = head.fit_head(
                rows.features,
                targets,
                fold,
                loop=config.loop,
                on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
            )
        account["dmlp-naive"] = {}
    wanted = {config.method} if config.method in predictions else set(predictions)
    return Prediction(
        log_probabilities={name: logs for name, logs in predictions.items() if name in wanted},
        folds=fold,
        account={name: told for name, told in account.items() if name in wanted},
    )


def without_remark(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")


def decide(rows: Rows, prediction: Prediction, config: PurifyConfig) -> Judgement:
    """Stage judge: posterior, decisions and evidence; cheap, so it is done every time."""
    return judge(
        prediction.log_probabilities,
        rows.given,
        rows.checked,
        prediction.folds,
        JudgeConfig(min_precision=config.min_precision),
    )

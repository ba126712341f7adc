"""retrain: labels.parquet and its images or features in, a trained and tested model out."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import nn

from labelfix import contract
from labelfix.artifacts import versions, write_json
from labelfix.equations.intervals import wilson_interval
from labelfix.errors import InputError
from labelfix.material import Material
from labelfix.methods.cross_entropy import Targets, default_epochs, retrain
from labelfix.methods.devices import pick_device
from labelfix.methods.sources import predict_probabilities
from labelfix.methods.training import EpochReport, LoopConfig
from labelfix.methods.weights import save_weights
from labelfix.progress import SILENT, Reporter
from labelfix.run import require_settings

METHODS = ("ce",)
LABELS = ("purified", "given")


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """Settings of a retraining.

    Raises:
        InputError: a value is out of range.
    """

    method: str = "ce"
    labels: str = "purified"
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "auto"

    def __post_init__(self) -> None:
        require_settings(self, method=METHODS, labels=LABELS)

    def loop(self, epochs: int) -> LoopConfig:
        return LoopConfig(
            epochs=epochs,
            batch_size=128,
            seed=self.seed,
            device=self.device,
            devices=self.devices,
            num_nodes=self.num_nodes,
            precision=self.precision,
        )


def run(
    material: Material, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> dict[str, Any]:
    """Train on the labels that the settings name, test, and write weights, predictions, metrics.

    Args:
        material: from :func:`labelfix.material.gather`.
        out: the folder for weights.safetensors, predictions.parquet and metrics.json.
        config: settings.
        report: where progress goes.

    Returns:
        The metrics, as in metrics.json.

    Raises:
        InputError: no row is left to train on, or the folder cannot be written.
        DegenerateLearningError: the loss is no longer finite.
    """
    started = time.monotonic()
    shared = material.in_test
    if shared.any():
        report.say(f"{shared.sum()} rows stand in the test table too and are left out of training")
    targets = targets_of(material.labels, config.labels, shared)
    out.mkdir(parents=True, exist_ok=True)
    device = pick_device(config.device)
    rows = int((targets.weights > 0).sum())
    epochs = config.epochs or default_epochs(rows, material.pixels, device)
    with report.task(
        f"retrain ({config.method}, {config.labels} labels, {epochs} epochs)"
    ) as advance:

        def tell(epoch: EpochReport) -> None:
            remark = f"loss {epoch.metrics['loss']:.3f}" if "loss" in epoch.metrics else ""
            advance(epoch.epoch, epoch.epochs, remark)

        net = retrain(
            material.net_maker(config.seed),
            material.train.source,
            targets,
            images=material.pixels is not None,
            loop=config.loop(epochs),
            on_epoch=tell,
        )
    seen = material.test or material.train
    predicted_NK = predict_probabilities(net, seen.source, device)
    metrics = {
        "method": config.method,
        "labels": config.labels,
        "test_accuracy": None,
        **(_tested(predicted_NK, seen.labels) if material.test else {}),
        "uses": uses(config.labels),
        "trained_rows": rows,
        "left_out_as_test_rows": int(shared.sum()),
        "epochs": epochs,
        "seed": config.seed,
        "seconds": round(time.monotonic() - started, 3),
        "versions": versions(),
    }
    _write(out, net, predicted_NK, material, metrics)
    return metrics


def compare(
    material: Material, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> dict[str, Any]:
    """The same recipe on the given and on the purified labels, side by side.

    Returns:
        The metrics of the purified labels, and both under ``given`` and ``purified``; as in
        compare.json. Each training writes its files into a folder of its name.

    Raises:
        InputError: there is no test table, or as :func:`run`.
    """
    if material.test is None:
        raise InputError("--compare has nothing to compare on", mend="pass --test TABLE")
    found = {
        labels: run(material, out / labels, replace(config, labels=labels), report=report)
        for labels in ("given", "purified")
    }
    metrics = found["purified"] | found
    write_json(out / "compare.json", metrics)
    return metrics


def uses(labels: str) -> list[str]:
    """The columns of labels.parquet that plain retraining reads."""
    return ["soft_label", "weight"] if labels == "purified" else ["given_label"]


def targets_of(labels: contract.Labels, which: str, left_out: NDArray[np.bool_]) -> Targets:
    """What to train on: soft labels with their weights, or the given labels as they came.

    Raises:
        InputError: no row is left.
    """
    if which == "purified":
        soft, weights = labels.soft_label, labels.weight.copy()
    else:
        soft = np.eye(len(labels.class_names), dtype=np.float32)[labels.given.clip(0)]
        weights = (labels.given >= 0).astype(np.float32)
    weights[left_out] = 0
    if not (weights > 0).any():
        raise InputError(
            "no row is left to train on", mend="check --labels and the overlap with the test table"
        )
    return Targets(soft_labels=soft, weights=weights)


def _tested(predicted_TK: NDArray[np.float32], labels: NDArray[np.int32]) -> dict[str, Any]:
    hits = int((predicted_TK.argmax(1) == labels).sum())
    low, high = wilson_interval(hits, len(labels))
    return {
        "test_accuracy": hits / len(labels),
        "test_accuracy_interval": [low, high],
        "test_rows": len(labels),
    }


def _write(
    out: Path,
    net: nn.Module,
    predicted_NK: NDArray[np.float32],
    material: Material,
    metrics: dict[str, Any],
) -> None:
    """Weights, predictions and metrics; each file aside first, then renamed."""
    names = np.array(material.labels.class_names, dtype=object)
    seen = material.test or material.train
    card = {name: metrics[name] for name in ("method", "labels", "seed", "epochs")}
    card |= {"class_names": list(names), "backbone": material.backbone if material.pixels else None}
    save_weights(net, out / "weights.safetensors", metadata={"labelfix": json.dumps(card)})
    table = pa.table(
        {
            "id": pa.array(seen.ids, pa.string()),
            "label": pa.array(names[seen.labels], pa.string()),
            "predicted": pa.array(names[predicted_NK.argmax(1)], pa.string()),
            "probabilities": pa.FixedSizeListArray.from_arrays(
                pa.array(predicted_NK.ravel()), len(names)
            ),
        },
        metadata={"labelfix": json.dumps(card | {"rows": "test" if material.test else "training"})},
    )
    aside = out / ".predictions.partial"
    pq.write_table(table, aside)
    os.replace(aside, out / "predictions.parquet")
    write_json(out / "metrics.json", metrics)

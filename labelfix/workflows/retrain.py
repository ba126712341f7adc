"""retrain: labels.parquet and its images or features in, a trained and tested model out."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import nn

from labelfix import contract
from labelfix.errors import InputError
from labelfix.nets.classifiers import predict_logits
from labelfix.ranges import AtLeastOne, OneOf, Seed, check_options
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import (
    METHODS,
    Retrained,
    RetrainMethod,
    batch_size,
    default_epochs,
    retrain,
    settings_of,
)
from labelfix.training.config import EpochReport, LoopConfig
from labelfix.training.devices import pick_device
from labelfix.training.diagnostics import collapse_of
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows import model_files
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.metrics import Accuracy, Metrics
from labelfix.workflows.model_files import card_of, save_model
from labelfix.workflows.output_folder import (
    RETRAIN,
    digest,
    versions,
    write_json,
)
from labelfix.workflows.settings import require_machine

LABELS = ("purified", "given")


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """Settings of a retraining; ``changes`` are ``name=value`` of the method's own settings.

    Raises:
        InputError: a value is out of range.
    """

    method: Annotated[str, OneOf(*METHODS)] = "ce"
    labels: Annotated[str, OneOf(*LABELS)] = "purified"
    epochs: AtLeastOne | None = None
    seed: Seed = 0
    device: str = "auto"
    devices: AtLeastOne = 1
    num_nodes: AtLeastOne = 1
    precision: str = "auto"
    changes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_options(self)
        require_machine(self)
        settings_of(self.method, self.changes)

    @property
    def registered(self) -> RetrainMethod:
        return METHODS[self.method]

    @property
    def method_settings(self) -> Any:  # noqa: ANN401  (each method has its own dataclass)
        return settings_of(self.method, self.changes)

    @property
    def uses(self) -> tuple[str, ...]:
        """The columns of labels.parquet that this training reads."""
        return self.registered.columns(self.method_settings, purified=self.labels == "purified")

    def loop(self, epochs: int, rows: int) -> LoopConfig:
        return LoopConfig(
            epochs=epochs,
            batch_size=batch_size(rows),
            seed=self.seed,
            device=self.device,
            devices=self.devices,
            num_nodes=self.num_nodes,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training left: its metrics, and the logits ``(T, K)`` of the rows it was tested on.

    Without test rows these are the training rows' logits.
    """

    metrics: Metrics
    logits: torch.Tensor


def train_on(
    dataset: CorrectedDataset, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> Metrics:
    """Train on the labels that the settings name, test, and write weights, predictions, metrics.

    Args:
        dataset: from :meth:`labelfix.workflows.corrected_dataset.CorrectedDataset.open`.
        out: the folder for weights.safetensors, predictions.parquet and metrics.json. An
            interrupted training left its checkpoint there: the same call goes on from it.
        config: settings.
        report: where progress goes.

    Returns:
        The metrics, which metrics.json holds.

    Raises:
        InputError: no label was given or no row is left to train on, or the folder cannot be
            written.
        DegenerateLearningError: the loss is no longer finite.
    """
    metrics = train_and_test(dataset, out, config, report=report).metrics
    barrier(config.num_nodes)
    return metrics


def train_and_test(
    dataset: CorrectedDataset, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> Outcome:
    """:func:`run`, with the logits too."""
    started = time.monotonic()
    if config.labels == "given" and (dataset.labels.given < 0).all():
        raise InputError(
            "no row has a given label",
            hint="add this column, or train on the purified labels alone",
            file=dataset.file,
            column="given_label",
        )
    shared = dataset.in_test
    if shared.any():
        report.say(f"{shared.sum()} rows stand in the test table too and are left out of training")
    problem, loop = problem_of(
        dataset, targets_of(dataset.labels, config.labels, shared, config.uses), config
    )
    checkpoint = _checkpoint(out, dataset, problem, loop, config)
    trained = _train(problem, loop, config, checkpoint, report)
    device, seen = pick_device(config.device), dataset.test or dataset.train
    logits = predict_logits(trained.net.to(device), seen.source.to(device))
    diagnostics = [
        *problem.source.notices,
        *config.registered.diagnose(trained.history),
        *_collapse(logits, seen.labels),
    ]
    for line in diagnostics:
        report.say(line)
    metrics = Metrics(
        method=config.method,
        labels=config.labels,
        test=_tested(logits.argmax(1).numpy(), seen.labels) if dataset.test else None,
        uses=config.uses,
        settings=asdict(config.method_settings),
        trained_rows=len(problem.labelled),
        left_out_as_test_rows=int(shared.sum()),
        epochs=loop.epochs,
        seed=config.seed,
        last_epoch=trained.history[-1].metrics,
        diagnostics=tuple(diagnostics),
        seconds=round(time.monotonic() - started, 3),
        versions=versions(),
    )
    if is_rank_zero(config.num_nodes):
        _write(out, trained.net, logits, dataset, metrics, config)
        checkpoint.unlink(missing_ok=True)
    return Outcome(metrics=metrics, logits=logits)


def problem_of(
    dataset: CorrectedDataset, targets: Targets, config: RetrainConfig
) -> tuple[Problem, LoopConfig]:
    """What is trained, and for how long, by the number of labelled rows."""
    rows = int(targets.labelled.sum())
    default = default_epochs(rows, dataset.pixels, pick_device(config.device))
    loop = config.loop(config.epochs or default, rows)
    problem = Problem(
        make_net=dataset.net_maker(config.seed),
        source=dataset.train.source_for(targets.codes),
        targets=targets,
        images=dataset.pixels is not None,
        batch_size=loop.batch_size,
        seed=config.seed,
    )
    return problem, loop


def _train(
    problem: Problem, loop: LoopConfig, config: RetrainConfig, checkpoint: Path, report: Reporter
) -> Retrained:
    """The training, with its progress."""
    title = f"retrain ({config.method}, {config.labels} labels, {loop.epochs} epochs)"
    with report.task(title) as advance:

        def tell(epoch: EpochReport) -> None:
            note = f"loss {epoch.metrics['loss']:.3f}" if "loss" in epoch.metrics else ""
            advance(epoch.epoch, epoch.epochs, note)

        return retrain(
            config.method, problem, config.method_settings, loop=loop, checkpoint=checkpoint,
            on_epoch=tell,
        )  # fmt: skip


def _write(
    out: Path,
    net: nn.Module,
    logits: torch.Tensor,
    dataset: CorrectedDataset,
    metrics: Metrics,
    config: RetrainConfig,
) -> None:
    """Weights with their card, predictions and metrics."""
    card = card_of(dataset, config, metrics.epochs)
    save_model(net, out, card)
    model_files.save_predictions(out, logits, dataset, card)
    write_json(out / "metrics.json", metrics.to_dict())


def targets_of(
    labels: contract.Labels,
    which: str,
    left_out: NDArray[np.bool_],
    uses: tuple[str, ...] = ("soft_label", "weight"),
) -> Targets:
    """What to train on: soft labels with their weights, or the given labels as they came.

    Args:
        labels: the corrected dataset.
        which: "purified" or "given"; with given labels nothing that purify said is read, but for
            the checked rows where ``uses`` names them.
        left_out: ``(N,)``, rows that may not be looked at.
        uses: the columns that the method reads.

    Raises:
        InputError: no row is left.
    """
    checked = labels.checked & ("decision" in uses)
    if which == "purified":
        soft, weights = labels.soft_label, labels.weight
    else:
        soft = np.eye(len(labels.class_names), dtype=np.float32)[labels.given.clip(0)]
        weights = (labels.given >= 0).astype(np.float32)
    if not (weights[~left_out] > 0).any():
        raise InputError(
            "no row is left to train on", hint="check --labels and the overlap with the test table"
        )
    return Targets(
        soft_labels=soft,
        weights=np.where(left_out, np.float32(0), weights),
        usable=~left_out,
        clean=np.where(checked, labels.label, -1).astype(np.int32),
        label_reliability=labels.label_reliability if "label_reliability" in uses else None,
        pseudo_reliability=labels.pseudo_reliability if "pseudo_reliability" in uses else None,
    )


def _checkpoint(
    out: Path,
    dataset: CorrectedDataset,
    problem: Problem,
    loop: LoopConfig,
    config: RetrainConfig,
) -> Path:
    """Where this very training keeps its state; those of others are removed.

    Raises:
        InputError: the folder cannot be written.
    """
    targets = {
        name: digest(value) for name, value in vars(problem.targets).items() if value is not None
    }
    key = RETRAIN.key(
        config=asdict(config), epochs=loop.epochs, targets=targets,
        rows=digest(dataset.train.keys), backbone=dataset.backbone, weights=dataset.weights,
    )  # fmt: skip
    own = out / f"checkpoint-{key[:12]}.pt"
    if not is_rank_zero(config.num_nodes):
        return own
    try:
        out.mkdir(parents=True, exist_ok=True)
        for other in out.glob("checkpoint-*.pt"):
            if other != own:
                other.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", hint="give --out another folder", file=out
        ) from error
    return own


def _collapse(logits: torch.Tensor, labels: NDArray[np.int32]) -> list[str]:
    """What to say of predictions of enough rows to tell that few of the classes were learned."""
    if len(logits) < 2 * logits.shape[1]:
        return []
    collapse = collapse_of(logits.numpy(), labels)
    return [collapse] if collapse else []


def _tested(predicted: NDArray[np.integer], labels: NDArray[np.int32]) -> Accuracy:
    hits = int((predicted == labels).sum())
    interval = binomtest(hits, len(labels)).proportion_ci(0.95, method="wilson")
    ends = float(interval.low), float(interval.high)
    return Accuracy(value=hits / len(labels), interval=ends, rows=len(labels))

"""Out-of-fold predictions by training once a fold: the same for features and for images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.method import BilevelMethod
from labelfix.predictors.bilevel.rows_in_view import Batch
from labelfix.predictors.bilevel.snapshots import Snapshots
from labelfix.training.config import EpochReport, LoopConfig, Trained
from labelfix.training.devices import pick_device, pick_precision
from labelfix.training.diagnostics import TrainingLog
from labelfix.training.loop import train

_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class CrossFitted:
    """What the models of all folds say.

    Attributes:
        log_probabilities: ``(N, K)`` float32, the students', each row by a model that saw none of
            its labels.
        corrected: ``(N, K)`` float32, log of the teachers' corrected labels, by teachers that saw
            the row's given label only as their input; None = the teacher has none.
        training_log: each fold's metrics, and what they show.
    """

    log_probabilities: NDArray[np.float32]
    corrected: NDArray[np.float32] | None
    training_log: TrainingLog


def cross_fit(
    task: FoldTask,
    method: BilevelMethod,
    loop: LoopConfig,
    *,
    scratch: Path | None = None,
    on_epoch: Callable[[int, int, EpochReport], None] = lambda done, total, report: None,
) -> CrossFitted:
    """Train a method's student and teacher for every fold, and predict the fold.

    Args:
        task: the rows.
        method: of :data:`labelfix.predictors.bilevel.registry.METHODS`, or another.
        loop: how; its batch size is the method's.
        scratch: a folder for checkpoints; an interrupted run goes on from there.
        on_epoch: called with (epochs done, epochs in all folds, the epoch's report).

    Raises:
        DegenerateLearningError: a loss is not finite, or a fold leaves no rows to learn from.
    """
    device = pick_device(loop.device)
    logs_NK = np.empty((len(task.annotations), task.classes), np.float32)
    corrected_NK = np.full_like(logs_NK, np.nan)
    histories = []
    settings = _loop_of(task, method, loop)
    for fold in range(task.fold_count):

        def tell(report: EpochReport, before: int = fold * settings.epochs) -> None:
            on_epoch(before + report.epoch, task.fold_count * settings.epochs, report)

        trained = train(
            partial(method.build, task=task, fold=fold),
            replace(settings, seed=_fold_seed(loop.seed, fold)),
            checkpoint=None if scratch is None else scratch / f"fold{fold}.pt",
            on_epoch=tell,
        )
        rows = np.flatnonzero(task.annotations.folds == fold)
        logs_NK[rows], corrected_NK[rows] = _predict(task, method, trained, rows, device)
        histories.append(trained.history)
    return CrossFitted(
        log_probabilities=logs_NK,
        corrected=None if np.isnan(corrected_NK).any() else corrected_NK,
        training_log=TrainingLog.of(histories),
    )


def _fold_seed(seed: int, fold: int) -> int:
    return seed * 64 + fold


def _loop_of(task: FoldTask, method: BilevelMethod, loop: LoopConfig) -> LoopConfig:
    """The loop for this method. No loss is scaled here, so that half precision would underflow."""
    batch = method.student_batch(task.noisy_count) * method.config.student_steps
    precision = pick_precision(pick_device(loop.device), loop.precision)
    precision = "32-true" if precision == "16-mixed" else precision
    return replace(loop, batch_size=batch, precision=precision)


@torch.no_grad()
def _predict(
    task: FoldTask,
    method: BilevelMethod,
    trained: Trained,
    rows: NDArray[np.int64],
    device: torch.device,
) -> tuple[NDArray[np.float32], NDArray[np.float32] | float]:
    """The snapshots' mean prediction of some rows, and the teacher's corrected labels."""
    snapshots = Snapshots(task.make_student(), method.config.snapshots)
    teacher = method.make_teacher(task)
    nets: tuple[tuple[str, nn.Module], ...] = (("snapshots", snapshots), ("teacher", teacher))
    for name, net in nets:
        net.load_state_dict(trained.modules[name])
        net.to(device).eval()
    source, frozen = task.source.to(device), task.frozen.to(device)
    given_N = torch.from_numpy(task.annotations.given.astype(np.int64))
    logs, corrected = [], []
    for part in torch.from_numpy(rows).split(_BATCH):
        x, given_B = source.test_batch(part), given_N[part].to(device)
        p_BK = snapshots(x)
        labels_B = given_B.clamp_min(0)
        batch = Batch(x=x, features=frozen.test_batch(part), labels=labels_B, given=labels_B)
        logs.append(_log(p_BK))
        q_BK = teacher.corrected(batch, p_BK.clamp_min(1e-12).log())
        if q_BK is not None:
            corrected.append(_log(torch.where((given_B >= 0)[:, None], q_BK, p_BK)))
    return torch.cat(logs).numpy(), torch.cat(corrected).numpy() if corrected else np.nan


def _log(probabilities_BK: Tensor) -> Tensor:
    return probabilities_BK.clamp_min(1e-12).log().cpu()

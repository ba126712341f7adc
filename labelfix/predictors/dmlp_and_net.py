"""DMLP, and a net that learns its purified soft labels: what ``auto`` runs with checked rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from labelfix.decide.soft_targets import FoldTargets, fold_targets
from labelfix.predictors import dmlp, dmlp_naive
from labelfix.predictors.auxiliary import votes_of
from labelfix.predictors.dmlp_passes import OutOfFold
from labelfix.predictors.kernel_ridge import KernelColumns, KernelRidge
from labelfix.predictors.knn_votes import purified_votes
from labelfix.predictors.learning import Learning, Logs, Predictions
from labelfix.training.diagnostics import TrainingLog
from labelfix.training.progress import Advance


def dmlp_alone(learning: Learning) -> Predictions:
    """The linear purifier."""
    found = _purify(learning)
    return Predictions(
        log_probabilities={"dmlp": found.log_probabilities},
        auxiliary=[],
        training_log={"dmlp": _log_of(found)},
    )


def net_alone(learning: Learning) -> Predictions:
    """The net on purified soft labels, with neighbours and kernel that learned from them too."""
    both = dmlp_and_net(learning)
    return replace(both, log_probabilities={"dmlp-naive": both.log_probabilities["dmlp-naive"]})


def dmlp_and_net(learning: Learning) -> Predictions:
    """DMLP and the net; the checked rows decide which of the two serves better."""
    found = _purify(learning)
    targets, auxiliary = _purified(learning, found)
    with learning.report.task("purify (dmlp-naive)") as advance:
        net = dmlp_naive.fit_fold_mlps(
            learning.design,
            targets,
            loop=learning.loop,
            on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )
    return Predictions(
        log_probabilities={"dmlp": found.log_probabilities, "dmlp-naive": net},
        auxiliary=auxiliary,
        training_log={"dmlp": _log_of(found)},
    )


def _purify(learning: Learning) -> OutOfFold:
    with learning.report.task("purify (dmlp)") as advance:
        return dmlp.out_of_fold(
            learning.design,
            learning.annotations,
            device=learning.device,
            on_pass=_count_only(advance),
        )


def _purified(learning: Learning, found: OutOfFold) -> tuple[FoldTargets, list[Logs]]:
    """Soft labels for every fold, and the predictions of neighbours and kernel that learn them.

    The soft labels come from DMLP, the neighbours' votes, and the kernel classifier twice: of all
    labels, and of the verified ones alone, which are worth more than all where most are wrong.
    """
    notes = learning.annotations
    with learning.report.task("purify (soft labels for every fold)") as advance:
        nested = dmlp.nested(
            learning.design, notes, found.chosen,
            device=learning.device, on_pass=_count_only(advance),
        )  # fmt: skip
        columns = KernelColumns(learning.design)
        kernel = KernelRidge(columns, notes.best_known, notes.folds, notes.classes)
        of_clean = KernelRidge(columns, notes.clean, notes.folds, notes.classes)
        learned = zip(nested, kernel.nested(), of_clean.nested(), strict=True)
        predictors = [(*logs, votes_of(learning, hidden=fold)) for fold, logs in enumerate(learned)]
        targets = fold_targets(predictors, notes)
        return targets, [purified_votes(learning.graph, targets), kernel.retrained(targets)]


def _log_of(found: OutOfFold) -> TrainingLog:
    return TrainingLog(snapshots=found.history, chosen=found.chosen)


def _count_only(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")

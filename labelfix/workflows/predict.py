"""Which methods run on a dataset, and what they predict: one function for each kind of method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from labelfix.annotations import Annotations
from labelfix.decide.soft_targets import fold_targets
from labelfix.errors import DegenerateLearningError, InputError
from labelfix.features import folds
from labelfix.features.neighbours import Neighbours
from labelfix.features.standardise import Design
from labelfix.nets.datasets import BatchSource, ImageSource
from labelfix.nets.feature_net import student_net
from labelfix.nets.mirroring import may_mirror
from labelfix.predictors import dmlp, dmlp_naive
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FeatureRows, FoldTask
from labelfix.predictors.bilevel.registry import METHODS, STEERABLE, method_for, sized
from labelfix.predictors.kernel_ridge import KernelColumns, KernelRidge
from labelfix.predictors.knn_votes import neighbour_votes, purified_votes
from labelfix.training.config import EpochReport
from labelfix.training.devices import algebra_device, pick_device
from labelfix.training.diagnostics import collapse_of
from labelfix.workflows.progress import SILENT, Advance, Reporter
from labelfix.workflows.samples import TEACHER, LearningRows, Prediction, RowImages
from labelfix.workflows.settings import PurifyConfig

Folds = NDArray[np.int8]
ByName = dict[str, NDArray[np.float32]]
Opinions = list[NDArray[np.float32]]
Found = tuple[ByName, dict[str, Any], Opinions]  # predictions, accounts, what else is known


def method_of(config: PurifyConfig, checked: int) -> str:
    """The method to run: ``auto`` is ``clid`` where no row is checked.

    Raises:
        InputError: the method needs checked rows, and there are none, or only one.
    """
    name = config.method
    if name == "auto" and not checked:
        return "clid"
    if name in METHODS and not method_for(name, config.upper_loss, clean=bool(checked)).needs_clean:
        return name
    if checked == 0:
        without = "--upper-loss clid" if name in STEERABLE else "--method clid"
        raise InputError(
            "there are no checked rows", hint=f"pass some with --clean-set, or use {without}"
        )
    if checked == 1:
        raise InputError("there is one checked row", hint="check two or more, best a hundred")
    return name


def run_methods(
    rows: LearningRows,
    graph: Neighbours,
    config: PurifyConfig,
    report: Reporter = SILENT,
    *,
    scratch: Path | None = None,
) -> Prediction:
    """The methods on all rows: what Python API and command line share.

    ``dmlp`` gives the accompanying classifier's predictions; ``dmlp-naive`` those of a net trained
    on the purified soft labels; the bilevel methods those of their students and, under the name
    with ``-teacher``, the labels that their teachers corrected. ``auto`` is ``clid`` where no row
    is checked, else ``dmlp`` and ``dmlp-naive``. Where there are several, the judge picks.

    Args:
        rows: what to learn from.
        graph: their nearest neighbours.
        config: settings.
        report: where progress goes.
        scratch: a folder for checkpoints, from which an interrupted run goes on.

    Raises:
        InputError: as :func:`method_of`.
        DegenerateLearningError: learning gave nothing usable.
    """
    method = method_of(config, int((rows.checked >= 0).sum()))
    fold = folds_of(rows, config.seed)
    if method in METHODS:
        found, training_log = run_bilevel(method, rows, fold, config, report, scratch)
        auxiliary = [kernel_prediction(rows, fold, config)]
    else:
        found, training_log, auxiliary = run_dmlp(rows, graph, fold, config, report)
    usable = without_collapsed(found, rows.known, report)
    votes_NK = neighbour_votes(graph, rows.known, fold, rows.classes)
    return Prediction(
        log_probabilities=usable,
        auxiliary=np.stack([votes_NK, *auxiliary]),
        folds=fold,
        training_log={name: training_log[name] for name in usable},
    )


def kernel_prediction(rows: LearningRows, fold: Folds, config: PurifyConfig) -> NDArray[np.float32]:
    """What the kernel classifier says of each row, out of fold, ``(N + M, K)``."""
    design = Design.of(rows.features, algebra_device(config.device))
    return KernelRidge(KernelColumns(design), rows.known, fold, rows.classes).own()


def folds_of(rows: LearningRows, seed: int) -> Folds:
    """The rows' folds, ``(N + M,)``, balanced in the right label where it is known, else the given.

    Not in both: then every fold would repeat the others' counts of T, and the evidence on a fold
    would flatter (on CIFAR-10N, 1,000 checked rows, by 0.7 points of label accuracy).
    """
    strata = np.where(rows.checked >= 0, rows.checked, rows.classes + 1 + rows.given)
    return folds.assign(rows.content, strata, seed=seed)


def without_collapsed(
    found: dict[str, NDArray[np.float32]], known: NDArray[np.int32], report: Reporter
) -> dict[str, NDArray[np.float32]]:
    """The predictions that can be used; one that collapsed is named and left out.

    A teacher goes with its student, whose prediction the scores need: labels that were told the
    given ones name all classes, whatever was learned.

    Raises:
        DegenerateLearningError: none is left.
    """
    collapsed = {name: collapse_of(logs_NK, known) for name, logs_NK in found.items()}
    usable = {
        name: logs_NK
        for name, logs_NK in found.items()
        if not (collapsed[name] or collapsed[name.removesuffix(TEACHER)])
    }
    remarks = [f"{name}: {remark}" for name, remark in collapsed.items() if remark]
    if not usable:
        raise DegenerateLearningError(remarks[0])
    for remark in remarks:
        report.say(f"left out: {remark}")
    return usable


def run_bilevel(
    method: str,
    rows: LearningRows,
    fold: Folds,
    config: PurifyConfig,
    report: Reporter,
    scratch: Path | None = None,
) -> tuple[ByName, dict[str, Any]]:
    """A student and a teacher for each fold.

    The teacher's label has seen the row's given label, as the judge's posterior has; the pool that
    weighs it then counts the given label for less, and what all rows say of the noise rate (worth
    ten rows) is too low. It is offered beside the student's prediction where checked rows can tell
    which of the two serves better.
    """
    task = task_of(rows, fold, config)
    bilevel = method_for(method, config.upper_loss, clean=bool((rows.checked >= 0).any()))
    bilevel, epochs = sized(bilevel, task)
    loop = replace(config.loop, seed=config.seed, epochs=epochs)
    with report.task(f"purify ({method}, {epochs} epochs a fold)") as advance:
        found = cross_fit(task, bilevel, loop, scratch=scratch, on_epoch=partial(_tell, advance))
    for line in (*task.source.remarks, *found.training_log.diagnostics):
        report.say(f"{method}: {line}")
    log_probabilities, training_log = (
        {method: found.log_probabilities},
        {method: found.training_log.to_dict()},
    )
    if found.corrected is not None:
        log_probabilities[method + TEACHER] = found.corrected
        training_log[method + TEACHER] = {}
    return log_probabilities, training_log


def _tell(advance: Advance, done: int, total: int, report: EpochReport) -> None:
    loss = report.metrics.get("loss")
    advance(done, total, "" if loss is None else f"loss {loss:.3f}")


def task_of(rows: LearningRows, fold: Folds, config: PurifyConfig) -> FoldTask:
    """The rows as students see them: images where DATA has them and the settings say so."""
    features = FeatureRows(rows.features)
    source: BatchSource = features
    make: Callable[[], nn.Module]
    if rows.images is not None and learns_from_images(config):
        pixels = rows.images.pixels
        source = ImageSource(pixels, mirrored=may_mirror(pixels, rows.known))
        make = partial(_image_net, images=rows.images, classes=rows.classes, seed=config.seed)
    else:
        features.noise = FEATURE_NOISE
        make = partial(student_net, features.columns, rows.classes)
    return FoldTask(
        source=source,
        frozen=features,
        annotations=Annotations.of(rows.given, rows.checked, fold, rows.classes),
        make_student=make,
    )


FEATURE_NOISE = 0.7  # on a feature's input, in units of a column's root mean square


def learns_from_images(config: PurifyConfig) -> bool:
    """Whether students see images rather than frozen features; by itself, where a GPU is."""
    if config.learn_from != "auto":
        return config.learn_from == "images"
    return pick_device(config.device).type == "cuda"


def _image_net(*, images: RowImages, classes: int, seed: int) -> nn.Module:
    from labelfix.nets.classifiers import image_classifier  # timm takes seconds

    side = max(images.pixels.shape[1:3])
    return image_classifier(images.backbone, side, classes, weights=images.weights, seed=seed)


def run_dmlp(
    rows: LearningRows,
    graph: Neighbours,
    fold: Folds,
    config: PurifyConfig,
    report: Reporter,
) -> Found:
    """DMLP, and unless only that is wanted, a net trained on its purified soft labels.

    These soft labels come from DMLP, the neighbours' votes, and the kernel classifier twice: of all
    labels, and of the checked rows alone, which say more than all others where most labels are
    wrong. Kernel and neighbours then learn from them too, as auxiliary auxiliary beside the net and
    beside DMLP.
    """
    device = algebra_device(config.device)
    design = Design.of(rows.features, device)  # measured once for all that follows
    learn = (design, rows.given, rows.checked, fold, rows.classes)
    with report.task("purify (dmlp)") as advance:
        found = dmlp.purify(*learn, device=device, on_pass=without_remark(advance))
    first: Found = (
        {"dmlp": found.log_probabilities},
        {"dmlp": {"snapshots": found.history, "chosen": found.chosen}},
        [],
    )
    if config.method == "dmlp":
        return first
    with report.task("purify (soft labels for every fold)") as advance:
        nested = dmlp.nested(*learn, found.chosen, device=device, on_pass=without_remark(advance))
        columns = KernelColumns(design)
        kernel = KernelRidge(columns, rows.known, fold, rows.classes)
        sure = KernelRidge(columns, rows.checked, fold, rows.classes)
        learned = zip(nested, kernel.nested(), sure.nested(), strict=True)
        predictors = [
            (*said, neighbour_votes(graph, rows.known, fold, rows.classes, hidden=hidden))
            for hidden, said in enumerate(learned)
        ]
        targets = fold_targets(predictors, rows.given, rows.checked, fold)
        auxiliary = [purified_votes(graph, targets), kernel.retrained(targets)]
    with report.task("purify (dmlp-naive)") as advance:
        retrained = dmlp_naive.fit_fold_mlps(
            design
            if device.type == "cpu" and config.devices * config.num_nodes == 1
            else rows.features,  # worker processes measure for themselves
            targets,
            loop=replace(config.loop, seed=config.seed),
            on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )
    second: Found = {"dmlp-naive": retrained}, {"dmlp-naive": {}}, auxiliary
    if config.method == "dmlp-naive":
        return second
    return first[0] | second[0], first[1] | second[1], auxiliary


def without_remark(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")

"""The bilevel methods as predictors: a student and a teacher for each fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from labelfix.nets.datasets import BatchSource, ImageSource
from labelfix.nets.feature_net import student_net
from labelfix.nets.mirroring import may_mirror
from labelfix.predictors.auxiliary import kernel_of
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FeatureRows, FoldTask
from labelfix.predictors.bilevel.registry import method_for, sized
from labelfix.predictors.learning import TEACHER, Learning, Predictions, RowImages
from labelfix.training.config import EpochReport
from labelfix.training.progress import Advance

FEATURE_NOISE = 0.7  # on a feature's input, in units of a column's root mean square


def run_bilevel(name: str, learning: Learning) -> Predictions:
    """What the students predict and the teachers correct, with the kernel classifier beside.

    A teacher's label has seen the row's given label, as the posterior has; the pool that weighs it
    then counts the given label for less, and what all rows say of the noise rate (worth ten rows)
    is too low. It is offered beside the student's prediction where checked rows can tell which of
    the two serves better.

    Args:
        name: of :data:`labelfix.predictors.bilevel.registry.METHODS`.
        learning: what to learn from.
    """
    task, notes = task_of(learning), learning.annotations
    method = method_for(name, learning.upper_loss, clean=bool(notes.is_clean.any()))
    method, epochs = sized(method, task)
    loop = replace(learning.loop, epochs=epochs)
    with learning.report.task(f"purify ({name}, {epochs} epochs a fold)") as advance:
        found = cross_fit(
            task, method, loop, scratch=learning.scratch, on_epoch=partial(_say, advance)
        )
    for line in (*task.source.notices, *found.training_log.diagnostics):
        learning.report.say(f"{name}: {line}")
    logs = {name: found.log_probabilities}
    if found.corrected is not None:
        logs[name + TEACHER] = found.corrected
    return Predictions(
        log_probabilities=logs,
        auxiliary=[kernel_of(learning)],
        training_log={name: found.training_log},
    )


def _say(advance: Advance, done: int, total: int, report: EpochReport) -> None:
    loss = report.metrics.get("loss")
    advance(done, total, "" if loss is None else f"loss {loss:.3f}")


def task_of(learning: Learning) -> FoldTask:
    """The rows as students see them: images where there are any, else features with noise."""
    notes, features = learning.annotations, FeatureRows(learning.design)
    source: BatchSource = features
    make: Callable[[], nn.Module]
    if learning.images is None:
        features.noise = FEATURE_NOISE
        make = partial(student_net, features.columns, notes.classes)
    else:
        pixels = learning.images.pixels
        source = ImageSource(pixels, mirrored=may_mirror(pixels, notes.best_known))
        make = partial(
            _image_net, images=learning.images, classes=notes.classes, seed=learning.loop.seed
        )
    return FoldTask(
        source=source,
        frozen=features,
        annotations=notes,
        make_student=make,
    )


def _image_net(*, images: RowImages, classes: int, seed: int) -> nn.Module:
    from labelfix.nets.classifiers import image_classifier  # timm takes seconds

    side = max(images.pixels.shape[1:3])
    return image_classifier(images.backbone, side, classes, weights=images.weights, seed=seed)

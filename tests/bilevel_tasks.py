"""Small tasks for bilevel methods, and methods with quick settings."""

from dataclasses import replace
from functools import partial

from lightning_fabric import Fabric

from labelfix.annotations import Annotations
from labelfix.nets.feature_net import student_net
from labelfix.predictors.bilevel.fold_data import FeatureRows, FoldTask
from labelfix.predictors.bilevel.registry import METHODS
from labelfix.training.config import LoopConfig

LOOP = LoopConfig(epochs=4, device="cpu", precision="32-true")


QUICK = {"optimizer": "adamw", "lr": 1e-2, "batch": 32, "teacher_lr": 1e-3}


def task_of(made, *, hidden=16, noise=0.3):
    rows = FeatureRows(made.features, noise=noise)
    return FoldTask(
        source=rows, frozen=rows,
        annotations=Annotations.of(made.given, made.checked, made.folds, 3),
        make_student=partial(student_net, rows.columns, 3, hidden),
    )  # fmt: skip


def quick(name, **changes):
    method = METHODS[name]
    return replace(method, config=replace(method.config, **QUICK | changes))


def trainer_of(task, method):
    return method.build(Fabric(accelerator="cpu", devices=1), task=task, fold=0)

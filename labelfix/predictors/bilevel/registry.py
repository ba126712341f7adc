"""The bilevel methods by name: rule, teacher, upper loss and settings of each."""

from __future__ import annotations

from dataclasses import replace

from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.ebomlc import EBOMLC, MLC_D
from labelfix.predictors.bilevel.emlc import EMLC
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.l2rw import L2RW
from labelfix.predictors.bilevel.meta_weight_net import MetaWeightNet
from labelfix.predictors.bilevel.method import BilevelMethod
from labelfix.predictors.bilevel.mlc import MLC
from labelfix.predictors.bilevel.teachers import (
    GatedTeacher,
    LabelCorrector,
    Rectifier,
    WeightTeacher,
)

METHODS = {
    "mlc": BilevelMethod(
        title="MLC: a net corrects the labels", rule=MLC(), make_teacher=LabelCorrector.for_task
    ),
    "mlc-d": BilevelMethod(
        title="MLC-D: the same by first derivatives",
        rule=MLC_D, make_teacher=LabelCorrector.for_task,
    ),
    "emlc": BilevelMethod(
        title="EMLC: a gate trusts labels or a second net",
        rule=EMLC(), make_teacher=GatedTeacher.for_task, config=BilevelConfig(lr=0.02),
    ),
    "ebomlc": BilevelMethod(
        title="EBOMLC: MLC-D with a barrier", rule=EBOMLC, make_teacher=LabelCorrector.for_task
    ),
    "mw-net": BilevelMethod(
        title="Meta-Weight-Net: a net weighs the rows",
        rule=MetaWeightNet(), make_teacher=WeightTeacher.for_task, steerable=True,
    ),
    "l2rw": BilevelMethod(
        title="L2RW: a row weighs what it does for clean rows", rule=L2RW(), steerable=True
    ),
    "clid": BilevelMethod(
        title="CLID-MU: the same, steered without checked rows",
        rule=MetaWeightNet(), make_teacher=WeightTeacher.for_task,
        upper_loss="clid", steerable=True,
        config=BilevelConfig(student_steps=5, warm_up=0.25, tolerance=1e-3),
    ),
    "vri": BilevelMethod(
        title="VRI: random vectors rectify the losses",
        rule=MetaWeightNet(), make_teacher=Rectifier.for_task,
        upper_loss="clid", steerable=True,
    ),
}  # fmt: skip
STEERABLE = tuple(name for name, method in METHODS.items() if method.steerable)


def method_for(name: str, upper_loss: str = "auto", *, clean: bool) -> BilevelMethod:
    """A method with its upper loss.

    Args:
        name: of :data:`METHODS`.
        upper_loss: for steerable ones; "auto" = the method's own, or CLID where that needs clean
            rows and there are none.
        clean: whether there are clean rows.
    """
    method = METHODS[name]
    if not method.steerable:
        return method
    if upper_loss != "auto":
        return replace(method, upper_loss=upper_loss)
    return replace(method, upper_loss="clid") if method.needs_clean and not clean else method


IMAGE_EPOCHS = 15
EMLC_STEPS = 5  # of the student to one of the teacher, on images: the paper's k on CIFAR
FEATURE_PASSES, FEATURE_STEPS = 6, 300


def sized(method: BilevelMethod, task: FoldTask) -> tuple[BilevelMethod, int]:
    """A method with settings that suit the task, and its epochs.

    Images: the method's own settings, and EMLC's 15 epochs from pretrained weights (and its k = 5).
    Features: AdamW, larger batches, and few passes, but 300 steps at least, each with one of the
    correctors' teachers.
    """
    if task.images:
        if isinstance(method.rule, EMLC):
            method = replace(method, config=replace(method.config, student_steps=EMLC_STEPS))
        return method, IMAGE_EPOCHS
    config = replace(method.config, batch=256, optimizer="adamw", lr=2e-3, weight_decay=1e-4)
    method = replace(method, config=config)
    a_pass = task.noisy_count // method.student_batch(task.noisy_count)
    return method, max(FEATURE_PASSES, -(-FEATURE_STEPS // max(1, a_pass)))

"""The bilevel methods by name: rule, teacher, upper loss and settings of each."""

from __future__ import annotations

from dataclasses import replace

from labelfix.predictors.bilevel.config import BilevelConfig, BilevelMethod
from labelfix.predictors.bilevel.ebomlc import EBOMLC, MLC_D
from labelfix.predictors.bilevel.emlc import EMLC
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.meta_weight_net import MetaWeightNet
from labelfix.predictors.bilevel.mlc import MLC
from labelfix.predictors.bilevel.teachers import GatedTeacher, LabelCorrector, Rectifier, WeightNet

METHODS = {
    "mlc": BilevelMethod(rule=MLC(), make_teacher=LabelCorrector.for_task, upper="ce-clean"),
    "mlc-d": BilevelMethod(rule=MLC_D, make_teacher=LabelCorrector.for_task, upper="ce-clean"),
    "emlc": BilevelMethod(
        rule=EMLC(),
        make_teacher=GatedTeacher.for_task,
        upper="ce-clean",
        config=BilevelConfig(lr=0.02),
    ),
    "ebomlc": BilevelMethod(rule=EBOMLC, make_teacher=LabelCorrector.for_task, upper="ce-clean"),
    "mw-net": BilevelMethod(
        rule=MetaWeightNet(), make_teacher=WeightNet.for_task, upper="ce-clean"
    ),
    "clid": BilevelMethod(
        rule=MetaWeightNet(),
        make_teacher=WeightNet.for_task,
        upper="clid",
        config=BilevelConfig(student_steps=5, warm_up=0.25, tolerance=1e-3),
    ),
    "vri": BilevelMethod(rule=MetaWeightNet(), make_teacher=Rectifier.for_task, upper="clid"),
}
STEERABLE = ("clid", "mw-net", "vri")  # by any upper loss


def method_for(name: str, upper_loss: str = "auto", *, checked: bool) -> BilevelMethod:
    """The plan of a method.

    Args:
        name: of :data:`METHODS`.
        upper_loss: for those of :data:`STEERABLE`; "auto" = the plan's own, or CLID where that
            needs checked rows and there are none.
        checked: whether rows are checked.
    """
    plan = METHODS[name]
    if name not in STEERABLE:
        return plan
    if upper_loss != "auto":
        return replace(plan, upper=upper_loss)
    return replace(plan, upper="clid") if plan.needs_checked and not checked else plan


IMAGE_EPOCHS = 15
EMLC_STEPS = 5  # of the student to one of the teacher, on images: the paper's k on CIFAR
FEATURE_PASSES, FEATURE_STEPS = 6, 300


def sized(plan: BilevelMethod, task: FoldTask) -> tuple[BilevelMethod, int]:
    """A plan with settings that suit the task, and its epochs.

    Images: the plan's own settings, and EMLC's 15 epochs from pretrained weights (and its k = 5).
    Features: AdamW, larger batches, and few passes, but 300 steps at least, each with one of the
    correctors' teachers.
    """
    if task.images:
        if isinstance(plan.rule, EMLC):
            plan = replace(plan, config=replace(plan.config, student_steps=EMLC_STEPS))
        return plan, IMAGE_EPOCHS
    config = replace(plan.config, batch=256, optimizer="adamw", lr=2e-3, weight_decay=1e-4)
    plan = replace(plan, config=config)
    a_pass = task.noisy_rows // plan.student_batch(task.noisy_rows)
    return plan, max(FEATURE_PASSES, -(-FEATURE_STEPS // max(1, a_pass)))

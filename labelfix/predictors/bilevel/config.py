"""What a bilevel method is made of: a rule, a teacher, an upper loss and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from torch import Tensor

from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.teachers import Teacher
from labelfix.predictors.bilevel.upper_losses import STEERED_BY_CHECKED
from labelfix.ranges import AtLeastOne, BelowOne, NotNegative, OneOf, Positive, check_settings
from labelfix.training.config import StepContext

if TYPE_CHECKING:
    from labelfix.predictors.bilevel.trainer import FoldTrainer


class Rule(Protocol):
    """What a method does with some noisy rows: the student's steps and the teacher's."""

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        """Scalars, "loss" and "upper" among them."""
        ...


@dataclass(frozen=True, kw_only=True)
class BilevelConfig:
    """Settings that all bilevel methods share.

    Attributes:
        batch: noisy rows of one student step.
        student_steps: k, of the student to one of the teacher.
        meta_batch: rows of the upper loss a step.
        meta_rows: rows of the upper loss in all, where they are not the checked ones.
        optimizer: the student's: sgd (Nesterov) or adamw.
        lr, momentum, weight_decay: of the student.
        teacher_lr: of Adam.
        warm_up: share of the epochs in which the teacher rests, where the rule asks whether it
            does (as in ``meta_weight_net.py``), as with ``tolerance``.
        tolerance: relative fall of an epoch's upper loss that still counts; 0 = the teacher learns
            to the end. Once two epochs in a row stay below it, meta steps stop (CLID-MU's third
            economy).
        temperature: tau of CLID.
        snapshots: states of the student that are averaged.
        compile: whether the tangent runs under ``torch.compile``, in full precision alone; it pays
            for long trainings of convolutional students.
    """

    batch: AtLeastOne = 128
    student_steps: AtLeastOne = 1
    meta_batch: AtLeastOne = 100
    meta_rows: AtLeastOne = 1000
    optimizer: Annotated[str, OneOf("sgd", "adamw")] = "sgd"
    lr: Positive = 0.1
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    teacher_lr: Positive = 3e-4
    warm_up: BelowOne = 0.0
    tolerance: NotNegative = 0.0
    temperature: Positive = 0.5
    snapshots: AtLeastOne = 5
    compile: bool = False

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class BilevelMethod:
    """A bilevel method.

    Attributes:
        rule: what a step does.
        make_teacher: the untrained teacher for a task.
        upper: name of the upper loss.
        config: settings.
    """

    rule: Rule
    make_teacher: Callable[[FoldTask], Teacher]
    upper: str
    config: BilevelConfig = BilevelConfig()

    @property
    def needs_checked(self) -> bool:
        """Whether checked rows steer it; they then stay out of the noisy rows."""
        return self.upper in STEERED_BY_CHECKED

    def student_batch(self, rows: int) -> int:
        """Rows of one student step: the config's, fewer where rows are few."""
        return min(self.config.batch, max(16, rows // (8 * self.config.student_steps)))

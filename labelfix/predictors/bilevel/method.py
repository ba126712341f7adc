"""What a bilevel method is made of: a rule, a teacher, an upper loss and settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lightning_fabric import Fabric
from torch import Tensor

from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.teachers import NoTeacher, Teacher
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES
from labelfix.training.config import StepContext

DEFAULTS = BilevelConfig()


class Rule(Protocol):
    """What a method does with some noisy rows: the student's steps and the teacher's."""

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        """Scalars, "loss" and "upper" among them."""
        ...


@dataclass(frozen=True, kw_only=True)
class BilevelMethod:
    """A bilevel method.

    Attributes:
        title: what it is, in a few words.
        rule: what a step does.
        make_teacher: the untrained teacher for a task.
        upper_loss: by name.
        steerable: whether any other upper loss may take its place.
        config: settings.
    """

    title: str
    rule: Rule
    make_teacher: Callable[[FoldTask], Teacher] = NoTeacher.for_task
    upper_loss: str = "ce-clean"
    steerable: bool = False
    config: BilevelConfig = DEFAULTS

    @property
    def needs(self) -> tuple[str, ...]:
        """What there must be, as for its upper loss."""
        return UPPER_LOSSES[self.upper_loss].needs

    @property
    def needs_clean(self) -> bool:
        """Whether clean rows steer it; they then stay out of the noisy rows."""
        return "clean" in self.needs

    def student_batch(self, rows: int) -> int:
        """Rows of one student step: the config's, fewer where rows are few."""
        return min(self.config.batch, max(16, rows // (8 * self.config.student_steps)))

    def build(self, fabric: Fabric, *, task: FoldTask, fold: int) -> FoldTrainer:
        """The method at work on one fold."""
        return FoldTrainer(fabric, task=task, method=self, fold=fold)

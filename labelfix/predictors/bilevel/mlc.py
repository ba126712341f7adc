"""MLC, meta label correction (Zheng et al., AAAI 2021): k student steps to one of the teacher."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from labelfix.equations.mlc import lower_loss, projected_discount
from labelfix.equations.weight_vectors import Direction
from labelfix.predictors.bilevel.meta_step import through_one_step
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class MLC:
    """The rule, with k the config's ``student_steps``.

    Differs: the gradient passes through the optimizer's own step, momentum included, where the
    released code takes a plain step aside; and the k steps share one clean batch, so that the
    upper gradient after one step is the one before the next and is computed once.
    """

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        student, generator = trainer.student, context.generator
        meta = trainer.meta_batch(generator)
        before: Direction | None = None
        found: list[Tensor] = []
        for part in rows.chunk(trainer.config.student_steps):
            batch = trainer.data.batch(part, generator)
            logs_BK = student.log_probs(batch.x, remember=True)
            targets_BK = trainer.targets(batch, logs_BK, generator)
            loss = lower_loss(targets_BK, logs_BK)
            made = through_one_step(
                student, batch.x, logs_BK, targets_BK, trainer.teacher_parameters,
                partial(trainer.upper_gradient, meta=meta),
            )  # fmt: skip
            after, new = made.upper_gradient, made.teacher_gradient
            if before is not None:
                kept = projected_discount(after, before, student.rate())
                new = [fresh + kept * old for fresh, old in zip(new, found, strict=True)]
            found, before = new, after
            student.step(made.gradient)
        trainer.move_teacher(found)
        return {"loss": loss.detach(), "upper": made.upper}

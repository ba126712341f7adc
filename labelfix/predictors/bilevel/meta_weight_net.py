"""Meta-Weight-Net (Shu et al., NeurIPS 2019), WNet-CLID (Hu et al., KDD 2025), and VRI."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from labelfix.equations.mlc import lower_loss
from labelfix.predictors.bilevel.meta_step import through_one_step
from labelfix.predictors.bilevel.rows_in_view import Batch
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class MetaWeightNet:
    """The rule: virtual step, meta step, actual step (CLID-MU, Eq. 4 to 6, Algorithm 1).

    The teacher moves at the first of the config's ``student_steps``. Differs: the papers' tables
    have 1; CLID-MU names more as a way to save, and ``clid`` has 5.
    """

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        student, generator = trainer.student, context.generator
        upper = torch.zeros((), device=trainer.data.device)
        for number, part in enumerate(rows.chunk(trainer.config.student_steps)):
            batch = trainer.data.batch(part, generator)
            meta = number == 0 and trainer.teaches(context)
            logs_BK = student.log_probs(batch.x, remember=meta)
            if meta:
                upper = self.meta_step(trainer, batch, logs_BK, generator)
            with torch.no_grad():
                targets_BK = trainer.targets(batch, logs_BK, generator)
            loss = lower_loss(targets_BK, logs_BK)
            student.step(student.gradient(loss))
        return {"loss": loss, "upper": upper}

    def meta_step(
        self, trainer: FoldTrainer, batch: Batch, logs_BK: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The teacher follows the upper loss's gradient through one step (Eq. 5, 10)."""
        targets_BK = trainer.targets(batch, logs_BK, generator)
        made = through_one_step(
            trainer.student, batch.x, logs_BK, targets_BK, trainer.teacher_parameters,
            lambda ahead: trainer.upper_gradient(ahead, trainer.meta_batch(generator)),
            keep_graph=True,
        )  # fmt: skip
        found = made.teacher_gradient
        penalty = trainer.teacher.penalty(batch)
        if penalty is not None:
            own = torch.autograd.grad(penalty, trainer.teacher_parameters, materialize_grads=True)
            found = [part + more for part, more in zip(found, own, strict=True)]
        trainer.move_teacher(found)
        return made.upper

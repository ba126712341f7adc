"""Meta-Weight-Net (Shu et al., NeurIPS 2019), WNet-CLID (Hu et al., KDD 2025), and VRI."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from labelfix.equations.mlc import lower_loss, teacher_gradient
from labelfix.predictors.bilevel.fold_data import Batch
from labelfix.predictors.bilevel.trainer import FoldTrainer


@dataclass(frozen=True, kw_only=True)
class MetaWeightNet:
    """The rule: virtual step, meta step, actual step (CLID-MU, Eq. 4 to 6, Algorithm 1).

    The teacher moves at the first of the config's ``student_steps``. Differs: the papers' tables
    have 1; CLID-MU names more as a way to save, and CLID's plan has 5.
    """

    def step(
        self, learner: FoldTrainer, rows: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        student = learner.student
        upper = torch.zeros((), device=learner.data.device)
        for number, part in enumerate(rows.chunk(learner.config.student_steps)):
            batch = learner.data.batch(part, generator)
            meta = number == 0 and learner.teaching
            logs_BK = student.log_probs(batch.x, remember=meta)
            if meta:
                upper = self.meta_step(learner, batch, logs_BK, generator)
            with torch.no_grad():
                targets_BK = learner.targets(batch, logs_BK, generator)
            loss = lower_loss(targets_BK, logs_BK)
            student.step(student.gradient(loss))
        return {"loss": loss, "upper": upper}

    def meta_step(
        self, learner: FoldTrainer, batch: Batch, logs_BK: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The teacher follows the upper loss's gradient through one step (Eq. 5, 10)."""
        student = learner.student
        targets_BK = learner.targets(batch, logs_BK, generator)
        gradient = student.gradient(lower_loss(targets_BK, logs_BK), keep_graph=True)
        ahead, pull = student.ahead(gradient)
        upper, after = learner.upper_gradient(ahead, learner.meta_batch(generator))
        tangent_BK = student.tangent(batch.x, pull(after))
        found = teacher_gradient(targets_BK, learner.teacher_parameters, tangent_BK)
        penalty = learner.teacher.penalty(batch)
        if penalty is not None:
            own = torch.autograd.grad(penalty, learner.teacher_parameters, materialize_grads=True)
            found = [part + more for part, more in zip(found, own, strict=True)]
        learner.move_teacher(found)
        return upper

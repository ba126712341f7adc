"""EMLC, enhanced meta label correction (Keren Taraday and Baskin, ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from labelfix.equations import emlc as eq
from labelfix.equations.mlc import lower_loss, teacher_gradient
from labelfix.predictors.bilevel.rows_in_view import Batch
from labelfix.predictors.bilevel.teachers import GatedTeacher
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class EMLC:
    """The rule: Algorithm 2 (FPMG) and the teacher's own losses (Eq. 12).

    k is the config's ``student_steps``.

    Attributes:
        adversarial: corrupt by the strongest wrong class; else at random.

    Differs: Algorithm 2 writes the tangents at the newest weights; Eq. 11, and this, take each at
    the weights, the batch and the targets of its own step (in the released CIFAR code four of five
    tangents meet the targets of another batch). The gradient passes through the optimizer's own
    step, momentum included.
    """

    adversarial: bool = True

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        student, generator = trainer.student, context.generator
        window = []
        for part in rows.chunk(trainer.config.student_steps):
            batch = trainer.data.batch(part, generator)
            logs_BK = student.log_probs(batch.x)
            targets_BK = trainer.targets(batch, logs_BK, generator)
            loss = lower_loss(targets_BK, logs_BK)
            gradient = student.gradient(loss)
            _, pull = student.ahead(gradient)
            window.append((batch.x, targets_BK, student.moment(), pull))
            student.step(gradient)
        upper, slope = trainer.upper_gradient(student.parameters, trainer.meta_batch(generator))
        own = self.own_loss(trainer, generator)
        found = list(torch.autograd.grad(own, trainer.teacher_parameters, materialize_grads=True))
        discounts = eq.step_discounts(min(1.0, student.rate()), len(window))
        for (x, targets_BK, moment, pull), discount in zip(window, discounts, strict=True):
            tangent_BK = discount * student.tangent(x, pull(slope), moment)
            parts = teacher_gradient(targets_BK, trainer.teacher_parameters, tangent_BK)
            found = [total + part for total, part in zip(found, parts, strict=True)]
        trainer.move_teacher(found)
        return {"loss": loss, "upper": upper, "teacher_loss": own}

    def own_loss(self, trainer: FoldTrainer, generator: torch.Generator) -> Tensor:
        """``L_CE + L_BCE`` of Eq. 12: clean rows right, corrupted labels apart from right ones."""
        teacher = trainer.teacher
        assert isinstance(teacher, GatedTeacher)
        clean = trainer.data.strong_batch(trainer.meta_rows(), generator)
        with trainer.fabric.autocast():
            features_BD, logits_BK = teacher.look(clean.x)
            labels_B, kept_B = self.corrupt(clean, logits_BK, generator)
            gate_B = teacher.gate_logits(features_BD, labels_B)
        return F.cross_entropy(logits_BK, clean.labels) + eq.gate_loss(gate_B, kept_B)

    def corrupt(
        self, clean: Batch, logits_BK: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Labels of which every other one is wrong, and which were kept, ``(B,)`` each."""
        kept_B = torch.arange(len(clean.labels), device=clean.labels.device) % 2 == 0
        if self.adversarial:
            wrong_B = eq.strongest_wrong_labels(logits_BK, clean.labels)
        else:
            wrong_B = eq.random_wrong_labels(clean.labels, logits_BK.shape[1], generator)
        return torch.where(kept_B, clean.labels, wrong_B), kept_B

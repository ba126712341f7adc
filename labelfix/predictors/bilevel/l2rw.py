"""L2RW, learning to reweight examples (Ren et al., ICML 2018): no teacher, one tangent a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from labelfix.equations.l2rw import example_weights
from labelfix.equations.mlc import lower_loss
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class L2RW:
    """The rule: each row weighs what a step on its label does for the upper loss (Algorithm 1).

    The weights are read at the current weights of the student, in its training mode, and forgotten
    after the step.
    """

    def step(self, trainer: FoldTrainer, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        student, generator = trainer.student, context.generator
        batch = trainer.data.batch(rows, generator)
        logs_BK = student.log_probs(batch.x, remember=True)
        upper, slope = trainer.upper_gradient(student.parameters, trainer.meta_batch(generator))
        tangent_BK = student.tangent(batch.x, slope)
        onehot_BK = F.one_hot(batch.labels, logs_BK.shape[1]).to(logs_BK)
        weights_B = example_weights(tangent_BK, onehot_BK)
        loss = lower_loss(weights_B[:, None] * onehot_BK, logs_BK)
        student.step(student.gradient(loss))
        return {"loss": loss, "upper": upper, "weighed": (weights_B > 0).float().mean()}

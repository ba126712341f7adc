"""Plain retraining: soft-label, weighted cross-entropy (DMLP-Naive, Tu et al. 2023, Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.ranges import check_settings
from labelfix.retrain.learned_weights import NONE, LearnedWeights, SteeredBy
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig:
    """Settings.

    Attributes:
        upper_loss: what a weight net follows that weighs the rows; none = the file's weights.
    """

    upper_loss: SteeredBy = NONE

    def __post_init__(self) -> None:
        check_settings(self)


class CrossEntropy:
    """The method for the training loop; module "net" is a classifier."""

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: CrossEntropyConfig) -> None:
        self.fabric, self.problem, self.data = fabric, problem, problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets("net")
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.weights: LearnedWeights | None = None
        if config.upper_loss != NONE:
            trained = self.modules["net"], self.optimizers["net"]
            self.weights = LearnedWeights(fabric, problem, *trained, config.upper_loss)
            self.modules["weight_net"] = self.weights

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if self.weights is not None:
            self.weights.begin_epoch()
        return self.problem.labelled

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        inputs_B = self.data.source.train_batch(rows, context.generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        if self.weights is not None:
            self.weights.update(inputs_B, soft_BK, context)
        logits_BK = self.modules["net"](inputs_B).float()
        if self.weights is not None:
            return {"loss": self.weights.loss(logits_BK, soft_BK)}
        return {"loss": weighted_soft_cross_entropy(logits_BK, soft_BK, weight_B)}

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

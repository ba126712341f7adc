"""Plain retraining: soft-label, weighted cross-entropy (DMLP-Naive, Tu et al. 2023, Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.retrain.clid_weights import ClidWeights
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig:
    """Settings.

    Attributes:
        clid: whether CLID-MU's weight net weighs the rows, in place of the file's weights.
    """

    clid: bool = False


class CrossEntropy:
    """The method for the training loop; module "net" is a classifier."""

    manual_update = False

    def __init__(self, fabric: Fabric, task: Problem, config: CrossEntropyConfig) -> None:
        self.fabric, self.task, self.data = fabric, task, task.on(fabric.device)
        self.modules: dict[str, nn.Module] = task.nets("net")
        self.optimizers: dict[str, Optimizer] = task.optimizers(self.modules)
        self.net = self.modules["net"]
        self.weigher = ClidWeights(task) if config.clid else None
        if self.weigher is not None:
            self.modules["weigher"] = self.weigher

    def epoch_rows(self, context: EpochContext) -> Tensor:
        return self.task.labelled

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        inputs_B = self.data.source.train_batch(rows, context.generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        if self.weigher is None:
            logits_BK = self.modules["net"](inputs_B).float()
            return {"loss": weighted_soft_cross_entropy(logits_BK, soft_BK, weight_B)}
        self.weigher.update(
            self.net, inputs_B, soft_BK, rate=self.optimizers["net"].param_groups[0]["lr"],
            source=self.data.source, fabric=self.fabric, context=context,
        )  # fmt: skip
        logits_BK = self.modules["net"](inputs_B).float()
        return {"loss": self.weigher.loss(logits_BK, soft_BK)}

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

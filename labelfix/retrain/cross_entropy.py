"""Plain retraining: soft-label, weighted cross-entropy (DMLP-Naive, Tu et al. 2023, Sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.retrain.clid_weights import ClidWeights
from labelfix.retrain.problem import Clock, Problem


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
        self.net, self.clock = self.modules["net"], Clock(task.epochs)
        self.modules["clock"] = self.clock
        self.weigher = ClidWeights(task) if config.clid else None
        if self.weigher is not None:
            self.modules["weigher"] = self.weigher

    def epoch_rows(self, epoch: int, generator: torch.Generator) -> Tensor:
        self.clock.start_epoch(epoch)
        return self.task.labelled

    def step(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.clock.tick()
        inputs_B = self.data.source.train_batch(rows, generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        if self.weigher is None:
            logits_BK = self.modules["net"](inputs_B).float()
            return {"loss": weighted_soft_cross_entropy(logits_BK, soft_BK, weight_B)}
        self.weigher.update(
            self.net, inputs_B, soft_BK, rate=self.optimizers["net"].param_groups[0]["lr"],
            source=self.data.source, clock=self.clock, fabric=self.fabric, generator=generator,
        )  # fmt: skip
        logits_BK = self.modules["net"](inputs_B).float()
        return {"loss": self.weigher.loss(logits_BK, soft_BK)}

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

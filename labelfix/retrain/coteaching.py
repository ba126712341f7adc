"""Co-teaching and Co-teaching+: each of two nets picks the rows that the other learns from.

Han et al., NeurIPS 2018; Yu et al., ICML 2019. The noise rate, which the papers take as known, is
what the soft labels themselves call wrong; with given labels, what a mixture of the nets' losses
says while the share of kept rows falls.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations import coteaching
from labelfix.equations.cross_entropy import label_loss, weighted_soft_cross_entropy
from labelfix.ranges import BelowOne, check_settings
from labelfix.retrain.noise_split import NoiseRate
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class CoteachingConfig:
    """Settings.

    Attributes:
        disagreement: whether the nets choose among the rows that they dispute (Co-teaching+).
        ramp: share of the epochs within which the share of kept rows falls to 1 - tau; the paper
            has 10 of 200.
        warm_up: share of the epochs on all rows, before disagreement counts.
    """

    disagreement: bool = False
    ramp: BelowOne = 0.2
    warm_up: BelowOne = 0.2

    def __post_init__(self) -> None:
        check_settings(self)


COTEACHING = CoteachingConfig()
COTEACHING_PLUS = CoteachingConfig(disagreement=True)


class Coteaching:
    """The method for the training loop; modules "first" and "second" are classifiers."""

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: CoteachingConfig) -> None:
        self.problem, self.config, self.data = problem, config, problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets("first", "second")
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.plain = list(self.modules.values())
        self.noise = NoiseRate(fabric, problem)
        self.modules["noise"] = self.noise

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if 1 <= context.epoch <= max(1, self.config.ramp * context.epochs):
            self.noise.estimate(self.plain)
        return self.problem.labelled

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        inputs_B = self.data.source.train_batch(rows, context.generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        logits = [self.modules[name](inputs_B).float() for name in ("first", "second")]
        losses = [label_loss(z_BK.detach(), soft_BK) for z_BK in logits]
        chosen = [self._choose(loss_B, logits, context) for loss_B in losses]
        first, second = (
            weighted_soft_cross_entropy(z_BK[taught], soft_BK[taught], weight_B[taught])
            for z_BK, taught in zip(logits, reversed(chosen), strict=True)
        )
        share = torch.tensor(len(chosen[0]) / len(rows))
        return {"loss": first + second, "kept": share}

    def _choose(self, loss_B: Tensor, logits: list[Tensor], context: StepContext) -> Tensor:
        """The rows that this net's peer is taught."""
        share = coteaching.kept_share(context.ramp(0, self.config.ramp), self.noise.rate)
        if not self.config.disagreement or context.ramp(self.config.warm_up, 0) == 0:
            return coteaching.smallest_losses(loss_B, share)
        return coteaching.smallest_losses_of_disputed(loss_B, coteaching.disputed(*logits), share)

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {"noise_rate": self.noise.rate}

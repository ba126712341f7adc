"""CDR: only the parameters that the loss calls critical learn; the best epoch is kept.

Xia et al., ICLR 2021. The noise rate is estimated as for Co-teaching. Early stopping, which the
method rests on, looks at a tenth of the labelled rows that is never trained on, by its own, noisy
labels: no right label is needed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cdr import critical_gradients
from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.nets.classifiers import predict_logits
from labelfix.ranges import BelowOne, Within, check_settings
from labelfix.retrain.noise_split import NoiseRate
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class CDRConfig:
    """Settings.

    Attributes:
        warm_up: share of the epochs before the noise rate of one-hot labels is estimated, and all
            parameters learn.
        held_out: share of the labelled rows that choose the epoch, in (0, 1).
    """

    warm_up: BelowOne = 0.2
    held_out: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.1

    def __post_init__(self) -> None:
        check_settings(self)


class Best(nn.Module):
    """The net of the best epoch so far, and its score."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = deepcopy(net).requires_grad_(False)
        self.score: Tensor
        self.register_buffer("score", torch.tensor(-1.0))

    def offer(self, net: nn.Module, score: float) -> None:
        if score >= float(self.score):
            self.net.load_state_dict(net.state_dict())
            self.score.fill_(score)


class CDR:
    """The method for the training loop; module "best" holds what it found.

    Differs: SGD on features too, since Adam would undo the scale of the gradients; weight decay is
    the optimizer's, quadratic, as in the released code.
    """

    manual_update = True

    def __init__(self, fabric: Fabric, problem: Problem, config: CDRConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets("net")
        self.net = self.modules["net"]
        self.optimizers: dict[str, Optimizer] = {"net": problem.optimizer(self.net, plain=True)}
        self.best = Best(self.net)
        self.noise = NoiseRate(fabric, problem)
        self.modules |= {"best": self.best, "noise": self.noise}
        generator = torch.Generator().manual_seed(problem.seed)
        order = torch.randperm(len(problem.labelled), generator=generator)
        held = min(len(order) - 1, max(1, round(config.held_out * len(order))))
        self.held_out, self.rows = problem.labelled[order[:held]], problem.labelled[order[held:]]

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if context.epoch == max(1, round(self.config.warm_up * context.epochs)):
            self.noise.estimate([self.net])
        return self.rows

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        inputs_B = self.data.source.train_batch(rows, context.generator)
        logits_BK = self.modules["net"](inputs_B).float()
        loss = weighted_soft_cross_entropy(logits_BK, *self.data.labels_of(rows))
        optimizer = self.optimizers["net"]
        optimizer.zero_grad()
        self.fabric.backward(loss)
        learning = [value for value in self.net.parameters() if value.grad is not None]
        slopes = [value.grad for value in learning if value.grad is not None]
        for value, critical in zip(
            learning, critical_gradients(learning, slopes, self.noise.rate), strict=True
        ):
            value.grad = critical
        optimizer.step()
        return {"loss": loss}

    def evaluate(self, epoch: int) -> dict[str, float]:
        logits_NK = predict_logits(self.net, self.problem.source, self.held_out)
        labels_N = torch.from_numpy(self.problem.targets.soft_labels)[self.held_out].argmax(1)
        score = float((logits_NK.argmax(1) == labels_N).float().mean())
        self.best.offer(self.net, score)
        return {"held_out_agreement": score, "noise_rate": self.noise.rate}

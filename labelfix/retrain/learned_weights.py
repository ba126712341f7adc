"""A weight net beside any classifier: weights of rows that follow an upper loss.

Hu et al., CLID-MU (KDD 2025), Algorithm 1: a small net sees each row's loss and gives its weight;
through a virtual step of the classifier it follows CLID's gradient, or that of another upper loss.
Plain cross-entropy, DivideMix and the semi-supervised methods can each weigh their labelled rows
with it.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import soft_cross_entropy
from labelfix.equations.mlc import lower_loss
from labelfix.equations.reweighting import weighted_targets
from labelfix.nets.weight_net import WeightNet
from labelfix.predictors.bilevel.meta_step import through_one_step
from labelfix.predictors.bilevel.student import Student, average
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig
from labelfix.ranges import OneOf
from labelfix.retrain.objective import RetrainObjective
from labelfix.retrain.problem import Problem
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class WeightConfig:
    """Settings of the weight net.

    Attributes:
        every: steps from one update to the next. Differs: the paper has 1, and names more as a way
            to save.
        warm_up: share of the epochs before the first update; until then weights are nearly even.
        rate: of the weight net (Adam).
        rows, batch: rows that the upper loss is measured on, in all and a step.
        temperature: tau of CLID's embedding graph.
    """

    every: int = 5
    warm_up: float = 0.15
    rate: float = 1e-3
    rows: int = 1000
    batch: int = 100
    temperature: float = 0.5


DEFAULTS = WeightConfig()
NONE = "none"  # the name of no upper loss: the weights stay as they are
SteeredBy = Annotated[str, OneOf(NONE, *UPPER_LOSSES)]


class LearnedWeights(nn.Module):
    """The weight net of one classifier.

    It steps itself, so its parameters ask for no gradient and its optimizer's state travels with
    the module's own.

    Args:
        fabric: of the worker process.
        problem: whose usable rows the upper loss may look at.
        net, optimizer: the plain classifier and its plain optimizer.
        upper_loss: by name.
        config: settings.
    """

    def __init__(
        self,
        fabric: Fabric,
        problem: Problem,
        net: nn.Module,
        optimizer: Optimizer,
        upper_loss: str,
        config: WeightConfig = DEFAULTS,
    ) -> None:
        super().__init__()
        self.fabric, self.config = fabric, config
        self.student = Student(fabric, net, optimizer)
        chosen = ObjectiveConfig(
            rows=config.rows, temperature=config.temperature, seed=problem.seed
        )
        self.objective = RetrainObjective(fabric, problem, upper_loss, config.batch, chosen)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(problem.seed)
            self.net = WeightNet().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.rate)

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def begin_epoch(self) -> None:
        """To be called from ``epoch_rows``."""
        self.objective.begin_epoch(self.student.net)

    def loss(self, logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """``sum_i weight_i CE_i``, a scalar; the weights are a constant and sum to 1."""
        with torch.no_grad():
            raw_B = self.net(soft_cross_entropy(logits_BK, targets_BK))
        return lower_loss(weighted_targets(raw_B, targets_BK), logits_BK.log_softmax(-1))

    def update(self, inputs_B: Tensor, targets_BK: Tensor, context: StepContext) -> None:
        """Where one is due, a meta step (Eq. 4 and 10): follow the upper loss's gradient.

        Args:
            inputs_B, targets_BK: the labelled batch that the classifier is about to learn from, in
                training mode.
            context: of the step.
        """
        due = (context.number + 1) % self.config.every == 0
        if not due or context.ramp(self.config.warm_up, 0) == 0:
            return
        logs_BK = self.student.look(inputs_B)
        losses_B = -(targets_BK * logs_BK.detach()).sum(-1)
        leaves = {n: p.detach().clone().requires_grad_() for n, p in self.net.named_parameters()}
        shaped_BK = weighted_targets(functional_call(self.net, leaves, (losses_B,)), targets_BK)
        made = through_one_step(
            self.student, inputs_B, logs_BK, shaped_BK, list(leaves.values()),
            lambda ahead: self.objective.gradient(self.student, ahead, context.generator),
        )  # fmt: skip
        slopes = average(self.fabric, made.teacher_gradient)
        for part, slope in zip(self.net.parameters(), slopes, strict=True):
            part.grad = slope
        self.optimizer.step()
        self.optimizer.zero_grad()

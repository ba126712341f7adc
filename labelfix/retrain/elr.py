"""ELR+: two nets, each held to the running average of what the other one's average predicts.

Liu et al., NeurIPS 2020, Sec. 4 and Appendix: early-learning regularisation with mixup and weight
averaging. The averages are the result.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.equations.elr import average_momentum, early_learning_penalty, remembered
from labelfix.equations.mixup import mix, sample_beta
from labelfix.nets.classifiers import evaluating, statistics_from
from labelfix.ranges import BelowOne, NotNegative, check_settings
from labelfix.retrain.problem import Problem, all_gather_rows
from labelfix.training.config import EpochContext, StepContext

NETS = ("first", "second")
AVERAGES = ("first_average", "second_average")


@dataclass(frozen=True, kw_only=True)
class ELRConfig:
    """Settings; the paper's for CIFAR-10.

    Attributes:
        strength: lambda of the regulariser; 7 in the paper for a hundred classes.
        memory: beta of the running average of predictions, in [0, 1).
        average: gamma of the average of weights, in [0, 1).
        mixup: shape of mixup's symmetric Beta law; 0 = no mixup.
    """

    strength: NotNegative = 3.0
    memory: BelowOne = 0.7
    average: BelowOne = 0.997
    mixup: NotNegative = 1.0

    def __post_init__(self) -> None:
        check_settings(self)


class Memory(nn.Module):
    """Each net's running average of predictions, ``(2, N, K)``."""

    def __init__(self, rows: int, classes: int) -> None:
        super().__init__()
        self.t_2NK: Tensor
        self.register_buffer("t_2NK", torch.zeros(2, rows, classes))


class ELR:
    """The method for the training loop; modules "first_average" and "second_average" result.

    Differs: a row's memory starts at zero, as in the paper, but takes the file's soft label where
    labels are purified, since that is what an early net is hoped to say.
    """

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: ELRConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets(*NETS)
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.plain = [self.modules[name] for name in NETS]
        self.averages = [deepcopy(net).requires_grad_(False).eval() for net in self.plain]
        self.memory = Memory(*problem.targets.soft_labels.shape)
        if not problem.targets.one_hot:
            self.memory.t_2NK.copy_(torch.from_numpy(problem.targets.soft_labels))
        self.modules |= dict(zip(AVERAGES, self.averages, strict=True))
        self.modules["memory"] = self.memory

    def epoch_rows(self, context: EpochContext) -> Tensor:
        return self.problem.labelled

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        self._average(context.number)
        inputs_B = self.data.source.train_batch(rows, context.generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        memories = self._remember(rows, inputs_B)
        partner_B, share_1 = self._mixing(len(rows), context.generator)
        mixed_B, mixed_BK = mix(inputs_B, partner_B, share_1), mix(soft_BK, partner_B, share_1)
        loss = torch.zeros((), device=self.data.device)
        with statistics_from(inputs_B, *self.plain):
            for name, memory_BK in zip(NETS, memories, strict=True):
                logits_BK = self.modules[name](mixed_B).float()
                kept_BK = mix(memory_BK, partner_B, share_1)
                loss = loss + weighted_soft_cross_entropy(
                    logits_BK, mixed_BK, mix(weight_B, partner_B, share_1)
                )
                loss = loss + self.config.strength * early_learning_penalty(logits_BK, kept_BK)
        return {"loss": loss}

    def _mixing(self, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Partners and one lambda for the batch."""
        device = self.data.device
        partner_B = torch.randperm(rows, generator=generator, device=device)
        if self.config.mixup == 0:
            return partner_B, torch.ones(1, device=device)
        shape_1 = torch.full((1,), self.config.mixup, device=device)
        return partner_B, sample_beta(shape_1, shape_1, generator)

    def _remember(self, rows: Tensor, inputs_B: Tensor) -> list[Tensor]:
        """Both nets' memories of the rows, after the other net's average has spoken."""
        here, found = rows.to(self.data.device), []
        for net, average in enumerate(reversed(self.averages)):
            with evaluating(average):
                said_BK = average(inputs_B).float().softmax(-1)
            new_BK = remembered(self.memory.t_2NK[net, here], said_BK, self.config.memory)
            everywhere, values = all_gather_rows(self.fabric, here, new_BK)
            self.memory.t_2NK[net, everywhere] = values
            found.append(new_BK)
        return found

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Moves the averages towards the nets; counters and running statistics are copied."""
        momentum = average_momentum(self.config.average, step)
        for net, average in zip(self.plain, self.averages, strict=True):
            for mean, value in zip(average.parameters(), net.parameters(), strict=True):
                mean.lerp_(value, 1 - momentum)
            for kept, newest in zip(average.buffers(), net.buffers(), strict=True):
                kept.copy_(newest)

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

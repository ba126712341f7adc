"""CLID-MU's weight net beside any classifier: rows' weights that follow CLID, not labels.

Hu et al., CLID-MU (KDD 2025), Algorithm 1: a small net sees each row's loss and gives its weight;
through a virtual step of the classifier it follows CLID's gradient. Plain cross-entropy, DivideMix
and the semi-supervised methods can each weigh their labelled rows with it.

Shape suffixes: B rows of the batch, M rows of CLID, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call

from labelfix.equations.clid import clid_loss
from labelfix.equations.cross_entropy import soft_cross_entropy
from labelfix.equations.tangents import log_prob_tangent
from labelfix.nets.classifiers import evaluating
from labelfix.nets.datasets import BatchSource
from labelfix.predictors.bilevel.teachers import WeightNet
from labelfix.retrain.problem import Problem
from labelfix.training.config import StepContext

Named = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class WeighConfig:
    """Settings of the weight net.

    Attributes:
        every: steps from one update to the next. Differs: the paper has 1, and names more as a way
            to save.
        warm_up: share of the epochs before the first update; until then weights are nearly even.
        rate: of the weight net (Adam).
        rows, batch: rows without labels that CLID is measured on, in all and a step.
        temperature: tau of the embedding graph.
    """

    every: int = 5
    warm_up: float = 0.15
    rate: float = 1e-3
    rows: int = 1000
    batch: int = 100
    temperature: float = 0.5


DEFAULTS = WeighConfig()


class ClidWeights(nn.Module):
    """The weight net of one classifier.

    It steps itself, so its parameters ask for no gradient and its optimizer's state travels with
    the module's own.

    Args:
        task: whose usable rows CLID may look at; no label is read.
        config: settings.
    """

    def __init__(self, task: Problem, config: WeighConfig = DEFAULTS) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(task.seed)
        order = torch.randperm(len(task.usable), generator=generator)
        self.config, self.rows = config, task.usable[order[: config.rows]]
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(task.seed)
            self.net = WeightNet().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=config.rate)

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)

    def loss(self, logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        """``sum_i weight_i CE_i``, a scalar; the weights are a constant and sum to 1.

        Differs: Eq. 1 divides by the number of rows, not by the weights' sum.
        """
        losses_B = soft_cross_entropy(logits_BK, targets_BK)
        with torch.no_grad():
            weights_B = _normalised(self.net(losses_B))
        return (weights_B * losses_B).sum()

    def update(
        self,
        net: nn.Module,
        inputs_B: Tensor,
        targets_BK: Tensor,
        *,
        rate: float,
        source: BatchSource,
        fabric: Fabric,
        context: StepContext,
    ) -> None:
        """Where one is due, a meta step (Eq. 4 and 10): follow CLID's gradient.

        Args:
            net: the plain classifier, in training mode.
            inputs_B, targets_BK: the labelled batch.
            rate: of the virtual step.
            source: where CLID's rows come from.
            fabric: averages the gradient over processes.
            context: of the step.

        Differs: the virtual step is a plain gradient step; the real one has momentum.
        """
        due = (context.number + 1) % self.config.every == 0
        if not due or context.ramp(self.config.warm_up, 0) == 0:
            return
        buffers = dict(net.named_buffers())
        with torch.random.fork_rng():  # the tangent must see the dropout of the virtual step
            losses_B, ahead = self._virtual_step(net, buffers, inputs_B, targets_BK, rate)
        direction = self._direction(net, ahead, buffers, source, context.generator)
        with torch.random.fork_rng():
            _, tangent_BK = log_prob_tangent(net, {}, buffers, inputs_B, direction)
        alignment_B = -(targets_BK * tangent_BK).sum(-1)
        leaves = {n: p.detach().clone().requires_grad_() for n, p in self.net.named_parameters()}
        weights_B = _normalised(functional_call(self.net, leaves, (losses_B.float(),)))
        found = torch.autograd.grad(
            weights_B, list(leaves.values()), grad_outputs=-rate * alignment_B.float()
        )
        for part, gradient in zip(self.net.parameters(), found, strict=True):
            reduced = fabric.all_reduce(gradient)
            assert isinstance(reduced, Tensor)
            part.grad = reduced
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _virtual_step(
        self, net: nn.Module, buffers: Named, inputs_B: Tensor, targets_BK: Tensor, rate: float
    ) -> tuple[Tensor, Named]:
        """Losses ``(B,)`` and the parameters after a step on them; running statistics stay."""
        leaves = {n: p.detach().clone().requires_grad_() for n, p in net.named_parameters()}
        logits_BK = functional_call(net, {**leaves, **_copies(buffers)}, (inputs_B,))
        slopes = torch.autograd.grad(self.loss(logits_BK, targets_BK), list(leaves.values()))
        ahead = {
            name: (leaf.detach() - rate * slope).requires_grad_()
            for (name, leaf), slope in zip(leaves.items(), slopes, strict=True)
        }
        return soft_cross_entropy(logits_BK.detach(), targets_BK), ahead

    def _direction(
        self,
        net: nn.Module,
        ahead: Named,
        buffers: Named,
        source: BatchSource,
        generator: torch.Generator,
    ) -> Named:
        """CLID's gradient (Eq. 9) at the virtual weights, BatchNorm frozen."""
        size = (min(self.config.batch, len(self.rows)),)
        picks = torch.randint(len(self.rows), size, generator=generator, device=generator.device)
        meta_M = source.test_batch(self.rows[picks.cpu()])
        return clid_gradient(net, ahead, buffers, meta_M, self.config.temperature)


def clid_gradient(
    net: nn.Module, at: Named, buffers: Named, inputs_M: Tensor, temperature: float
) -> Named:
    """CLID's gradient (Eq. 9) at parameters ``at`` that ask for gradients; BatchNorm frozen."""
    with evaluating(net):
        structure_MD = net.structure(inputs_M)  # type: ignore[operator]
        with torch.enable_grad():
            logits_MK = functional_call(net, {**at, **_copies(buffers)}, (inputs_M,))
            clid = clid_loss(structure_MD, logits_MK.softmax(-1), temperature=temperature)
            slopes = torch.autograd.grad(clid, list(at.values()))
    return dict(zip(at, slopes, strict=True))


def _normalised(raw_B: Tensor) -> Tensor:
    """Weights that sum to 1."""
    return raw_B / raw_B.sum().clamp_min(1e-12)


def _copies(buffers: Named) -> Named:
    return {name: value.detach().clone() for name, value in buffers.items()}

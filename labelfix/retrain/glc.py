"""GLC, gold loss correction: a transition from the checked rows, then training under it.

Hendrycks et al., NeurIPS 2018. A first net learns the labels as they are; what it says of the
checked rows, which it has not seen, is how labels go wrong; a second net learns the other rows
through that transition, and the checked rows as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.glc import corrected_cross_entropy, transition_from_clean
from labelfix.nets.classifiers import predict_logits
from labelfix.ranges import BelowOne, check_settings
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, StepContext
from labelfix.training.worker import lr_factor


@dataclass(frozen=True, kw_only=True)
class GLCConfig:
    """Settings.

    Attributes:
        first: share of the epochs for the net that learns the labels as they are. Differs: the
            paper trains both nets for as long as a single one.
    """

    first: BelowOne = 0.4

    def __post_init__(self) -> None:
        check_settings(self)


class Transition(nn.Module):
    """C in a buffer, so that a resumed training has it: ``(K, K)``, at first nothing goes wrong."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.matrix_KK: Tensor
        self.register_buffer("matrix_KK", torch.eye(classes))


class GLC:
    """The method for the training loop; modules "first" and "net" are classifiers.

    Each net has a learning rate schedule of its own. With purified labels, "noisy" means what
    purify left wrong; its soft labels are learned through the transition as they are.
    """

    manual_update = True  # one net a step

    def __init__(self, fabric: Fabric, problem: Problem, config: GLCConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets("first", "net")
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.plain = self.modules["first"]
        self.transition = Transition(problem.targets.soft_labels.shape[1])
        self.modules["transition"] = self.transition
        self.clean_N = torch.from_numpy(problem.targets.clean).long().to(fabric.device)
        noisy = ~torch.isin(problem.labelled, problem.clean_rows)
        self.noisy = problem.labelled[noisy]

    def first_epochs(self, epochs: int) -> int:
        """How many of the epochs the first net has; one at least, where there are two."""
        return min(max(1, round(self.config.first * epochs)), epochs - 1)

    def epoch_rows(self, context: EpochContext) -> Tensor:
        first = self.first_epochs(context.epochs)
        if context.epoch < first and len(self.noisy):
            return self.noisy
        if context.epoch == first > 0:
            self._estimate()
        return self.problem.labelled

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        first = self.first_epochs(context.epochs)
        name = "first" if context.epoch < first else "net"
        self._schedule(name, context, first)
        inputs_B = self.data.source.train_batch(rows, context.generator)
        soft_BK, weight_B = self.data.labels_of(rows)
        logs_BK = self.modules[name](inputs_B).float().log_softmax(-1)
        loss_B = -(soft_BK * logs_BK).sum(-1)
        if name == "net":
            clean_B = self.clean_N[rows.to(self.data.device)]
            own_B = -logs_BK.gather(1, clean_B.clamp_min(0)[:, None])[:, 0]
            through_B = corrected_cross_entropy(logs_BK, soft_BK, self.transition.matrix_KK)
            loss_B = torch.where(clean_B >= 0, own_B, through_B)
        loss = (weight_B * loss_B).sum() / weight_B.sum()
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        self.fabric.backward(loss)
        optimizer.step()
        return {"loss": loss}

    def evaluate(self, epoch: int) -> dict[str, float]:
        """How many labels of a class stay right, as the transition has it; the classes' mean."""
        return {"transition_diagonal": float(self.transition.matrix_KK.diagonal().mean())}

    def _schedule(self, name: str, context: StepContext, first: int) -> None:
        """A whole schedule for each net; the loop's own would end with the second one alone."""
        start, length = (0, first) if name == "first" else (first, context.epochs - first)
        done = (context.epoch - start + (context.step + 0.5) / context.steps) / length
        for group in self.optimizers[name].param_groups:
            group["lr"] = group["initial_lr"] * lr_factor(done)

    def _estimate(self) -> None:
        """C from what the first net says of the checked rows, the same in all processes."""
        clean = self.problem.clean_rows
        p_MK = predict_logits(self.plain, self.problem.source, clean).softmax(1)
        found_KK = transition_from_clean(p_MK, self.clean_N[clean.to(self.clean_N.device)].cpu())
        self.transition.matrix_KK.copy_(self.fabric.broadcast(found_KK))

"""UDA, FixMatch and FlexMatch: labelled rows teach, all rows must agree with their strong view.

One loss with three rules (:mod:`labelfix.equations.semi_supervised`). Rows whose weight is 0 (no
label, or one that says nothing) take part as unlabelled rows only; labelled rows do both. With
``upper_loss=clid``, CLID-MU's weight net weighs the labelled ones (Hu et al., Table 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations import semi_supervised as ssl
from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.ranges import NotNegative, Share, check_settings
from labelfix.retrain.learned_weights import NONE, LearnedWeights, SteeredBy
from labelfix.retrain.problem import Problem, all_gather_rows
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class SemiSupervisedConfig:
    """Settings.

    Attributes:
        threshold: tau, the probability from which a weak view's prediction counts, in [0, 1].
        temperature: of the target's sharpening, > 0; 0 = hard targets.
        flexible: whether each class has its own threshold (FlexMatch).
        unlabelled_weight: of the consistency loss, >= 0.
        upper_loss: what a weight net follows that weighs the labelled rows; none = the file's
            weights.
    """

    threshold: Share = 0.95
    temperature: NotNegative = 0.0
    flexible: bool = False
    unlabelled_weight: NotNegative = 1.0
    upper_loss: SteeredBy = NONE

    def __post_init__(self) -> None:
        check_settings(self)


UDA = SemiSupervisedConfig(threshold=0.8, temperature=0.4)
FIXMATCH = SemiSupervisedConfig()
FLEXMATCH = SemiSupervisedConfig(flexible=True)


class SurePseudoLabels(nn.Module):
    """The last sure pseudo-label of each row, -1 = none yet; what FlexMatch's thresholds count."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.last_N: Tensor
        self.register_buffer("last_N", torch.full((rows,), -1, dtype=torch.int32))

    def note(self, rows: Tensor, classes: Tensor) -> None:
        """Remembers new pseudo-labels; -1 = not sure, which changes nothing."""
        seen = classes >= 0
        self.last_N[rows[seen]] = classes[seen].to(torch.int32)

    def counts(self, classes: int) -> Tensor:
        return (self.last_N + 1).bincount(minlength=classes + 1)[1:].float()


class SemiSupervised:
    """The method for the training loop; module "net" is a classifier."""

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: SemiSupervisedConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets("net")
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.sure = SurePseudoLabels(len(problem.source))
        self.modules["sure"] = self.sure
        self.weights: LearnedWeights | None = None
        if config.upper_loss != NONE:
            trained = self.modules["net"], self.optimizers["net"]
            self.weights = LearnedWeights(fabric, problem, *trained, config.upper_loss)
            self.modules["weight_net"] = self.weights

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if self.weights is not None:
            self.weights.begin_epoch()
        return self.problem.usable

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        """``rows`` are the unlabelled batch; as many labelled ones are drawn beside them."""
        source, generator = self.data.source, context.generator
        taught = self._draw_labelled(len(rows), generator)
        inputs = (
            source.train_batch(taught, generator),
            source.train_batch(rows, generator),
            source.strong_batch(rows, generator),
        )
        soft_BK, weight_B = self.data.labels_of(taught)
        if self.weights is not None:
            self.weights.update(inputs[0], soft_BK, context)
        logits = self.modules["net"](torch.cat(inputs)).float().chunk(3)
        supervised = (
            weighted_soft_cross_entropy(logits[0], soft_BK, weight_B)
            if self.weights is None
            else self.weights.loss(logits[0], soft_BK)
        )
        weak_BK = logits[1].detach().softmax(-1)
        sure_B = ssl.sure(weak_BK, self._thresholds(weak_BK.shape[1]))
        self._note(rows, weak_BK)
        consistent = ssl.consistency_loss(
            logits[2], ssl.pseudo_targets(weak_BK, self.config.temperature), sure_B
        )
        loss = supervised + self.config.unlabelled_weight * consistent
        return {"loss": loss, "sure": sure_B.float().mean()}

    def _draw_labelled(self, count: int, generator: torch.Generator) -> Tensor:
        taught = self.problem.labelled
        picks = torch.randint(len(taught), (count,), generator=generator, device=generator.device)
        return taught[picks.cpu()]

    def _thresholds(self, classes: int) -> Tensor:
        tau = self.config.threshold
        if not self.config.flexible:
            return torch.full((classes,), tau, device=self.data.device)
        counts_K = self.sure.counts(classes)
        return ssl.flexible_thresholds(counts_K, len(self.problem.usable), tau)

    def _note(self, rows: Tensor, weak_BK: Tensor) -> None:
        """FlexMatch counts by the fixed threshold, whatever the flexible ones let pass."""
        best_B, class_B = weak_BK.max(-1)
        found_B = torch.where(best_B >= self.config.threshold, class_B, -1)
        self.sure.note(*all_gather_rows(self.fabric, rows.to(self.data.device), found_B))

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

"""HRP: two nets that teach each other by pseudo-labels and by what helps the clean loss.

Holistic Reliability Propagation, as rebuilt from its text: each net learns from targets refined by
the other's sure predictions, weighed by the other's reliabilities: reweighted cross-entropy,
consistency, reliability-arbitrated mixup (RAM) under a gate (GRG), and contrast (CDCL).

Shape suffixes: B rows of the batch, N rows, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations import hrp_losses as eq
from labelfix.equations.mixup import mix, sample_beta
from labelfix.nets.classifiers import evaluating
from labelfix.predictors.bilevel.student import Student
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig
from labelfix.ranges import AtLeastOne, NotNegative, OneOf, Positive, Share, check_settings
from labelfix.retrain.checked_accuracy import CheckedAccuracy
from labelfix.retrain.objective import RetrainObjective
from labelfix.retrain.problem import Problem
from labelfix.retrain.reliability import ReliabilityMemory, measured
from labelfix.training.config import EpochContext, EpochReport, StepContext

NETS = ("first", "second")


@dataclass(frozen=True, kw_only=True)
class HRPConfig:
    """Settings; the first five are the switches of the paper's Table 4.

    Attributes:
        reliabilities: "disentangled"; "coupled" = alpha and beta share one between them, as a
            mixing coefficient of label and pseudo-label; "none" = all rows count alike.
        mixup: "asymmetric", "symmetric" or "none" (RAM).
        gate: whether mixed pairs are gated (GRG).
        contrast: weight lambda_c of CDCL; 0 = none.
        intensity: gamma of the reweighted cross-entropy, in [0, 1].
        upper_loss: what a label is reliable for; auto = ce-clean where there are clean rows, else
            clid.
        meta_every: steps from one measurement of the reliabilities to the next; in between, the
            rows' memories serve. Differs: the paper measures every step.
        memory: momentum of the rows' memories, in [0, 1).
        low, high: bounds of the total reliability, on a scale where an even batch has 1.
        concentration: c of RAM's Beta law.
        sure: from where the other net's prediction replaces a label, in [0, 1], as probability
            above chance: (p - 1/K) / (1 - 1/K).
        temperature: of CDCL.
        ramp: share of the epochs within which RAM and CDCL rise to their full weight, and after
            which sure predictions replace labels.
    """

    reliabilities: Annotated[str, OneOf("disentangled", "coupled", "none")] = "disentangled"
    mixup: Annotated[str, OneOf("asymmetric", "symmetric", "none")] = "asymmetric"
    gate: bool = True
    contrast: NotNegative = 0.1
    intensity: Share = 0.8
    upper_loss: Annotated[str, OneOf("auto", *UPPER_LOSSES)] = "auto"
    meta_every: AtLeastOne = 2
    memory: Share = 0.7
    low: Positive = 0.1
    high: float = 2.0
    concentration: Positive = 4.0
    sure: Share = 0.45
    temperature: Positive = 0.2
    ramp: Share = 0.3

    def __post_init__(self) -> None:
        check_settings(self)
        if self.high < self.low:
            raise ValueError(f"high must be at least low ({self.low}), not {self.high}")


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What one net says of a batch, for the other to learn by.

    Attributes:
        targets_BK: t, labels refined by sure predictions.
        own_B: pseudo-labels.
        sure_B: whether they are sure.
        total_B: r.
        pseudo_B: beta.
    """

    targets_BK: Tensor
    own_B: Tensor
    sure_B: Tensor
    total_B: Tensor
    pseudo_B: Tensor


class HRP:
    """The method for the training loop; modules "first" and "second" are classifiers.

    Differs: reliabilities are remembered a row (running averages, from the file's own on), so that
    they need not be measured every step, and one noisy batch does not decide; they are scaled so
    that an even batch has 1. Gates that sink to their lower bound are restored
    (:func:`labelfix.equations.hrp_losses.restored_gate`). Without a checked row the upper loss is
    CLID. Predictions replace labels only after the ramp, when the nets have learned something, and
    only labels that do not say themselves how sure they are: a posterior has heard a classifier.
    They never do so again once they have got worse on the checked rows: nets that began to learn
    noise by heart are sure of it, and would hand it on.
    """

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: HRPConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets(*NETS)
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.plain = [self.modules[name] for name in NETS]
        self.memory = ReliabilityMemory(problem, config.memory)
        self.checked = CheckedAccuracy(problem.targets.clean, nets=2).to(fabric.device)
        self.modules |= {"memory": self.memory, "checked": self.checked}
        # in bf16 the rounding would decide many signs, and reliabilities are clamped at zero
        self.students = [
            Student(fabric, self.modules[name], self.optimizers[name], precise=True)
            for name in NETS
        ]
        upper_loss = config.upper_loss
        if upper_loss == "auto":
            upper_loss = "ce-clean" if len(problem.clean_rows) else "clid"
        self.objective = RetrainObjective(
            fabric, problem, upper_loss, problem.batch_size // 2, ObjectiveConfig(seed=problem.seed)
        )
        self.modules["objective"] = self.objective
        self.refines = problem.targets.one_hot

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if context.epoch:
            over = replace(context, epoch=context.epoch - 1)
            self.checked.close_epoch(self.fabric, watched=self._relabels(over))
        self.objective.begin_epoch(self.plain[0])
        return self.problem.usable

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        source, generator = self.data.source, context.generator
        weak_B, strong_B = source.train_batch(rows, generator), source.strong_batch(rows, generator)
        asked = self.config.reliabilities != "none" and context.number % self.config.meta_every == 0
        advice = [self._advise(net, rows, weak_B, asked, context) for net in range(2)]
        partner_B = torch.randperm(len(rows), generator=generator, device=weak_B.device)
        loss = torch.zeros((), device=weak_B.device)
        for name, advised in zip(NETS, reversed(advice), strict=True):
            loss = loss + self._loss(name, advised, weak_B, strong_B, partner_B, context)
        total_B = (advice[0].total_B + advice[1].total_B) / 2
        return {
            "loss": loss,
            "reliability": total_B.mean(),
            "starved": eq.is_starved(total_B, self.config.low).float(),
            "fell": self.checked.fell,
            "sure": (advice[0].sure_B.float().mean() + advice[1].sure_B.float().mean()) / 2,
        }

    # --- what a net says of a batch --------------------------------------------------------

    def _advise(
        self, net: int, rows: Tensor, weak_B: Tensor, asked: bool, context: StepContext
    ) -> Advice:
        here = rows.to(self.data.device)
        labels_BK, weight_B = self.data.labels_of(rows)
        labels_BK = labels_BK * (weight_B > 0)[:, None]
        p_BK = self._probabilities(net, here, weak_B, labels_BK, asked, context.generator)
        best_B, own_B = p_BK.max(-1)
        sure_B = eq.above_chance(best_B, p_BK.shape[1]) >= self.config.sure
        own_BK = F.one_hot(own_B, p_BK.shape[1]).to(p_BK)
        alpha_B, beta_B = self.memory.label_2N[net, here], self.memory.pseudo_2N[net, here]
        known_BK = torch.where((weight_B > 0)[:, None], labels_BK, p_BK)
        self.checked.count(here, own_B)
        replaced_B = sure_B & self._relabels(context) & (self.checked.fell == 0)
        targets_BK = torch.where(replaced_B[:, None], own_BK, known_BK)
        if self.config.reliabilities == "coupled":
            share_B1 = (alpha_B / (alpha_B + beta_B + eq.TINY))[:, None]
            targets_BK = share_B1 * known_BK + (1 - share_B1) * own_BK
        total_B = torch.ones_like(best_B)
        if self.config.reliabilities == "disentangled":
            low, high = self.config.low, self.config.high
            total_B = eq.total_reliability(alpha_B / 2, beta_B / 2, low, high)
        return Advice(
            targets_BK=targets_BK, own_B=own_B, sure_B=sure_B, total_B=total_B,
            pseudo_B=beta_B if self.config.reliabilities == "disentangled" else total_B,
        )  # fmt: skip

    def _relabels(self, context: EpochContext) -> bool:
        """Whether sure predictions may replace labels in an epoch."""
        return self.refines and context.ramp(0, self.config.ramp) >= 1

    def _probabilities(
        self, net: int, here: Tensor, weak_B: Tensor, labels_BK: Tensor, asked: bool,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Predictions of the weak view; where asked, with the reliabilities, to the memory."""
        plain = self.plain[net]
        if not asked:
            with evaluating(plain):
                return plain(weak_B).float().softmax(-1)
        student = self.students[net]
        _, direction = self.objective.gradient(student, student.parameters, generator)
        p_BK, alpha_B, beta_B = measured(student, weak_B, labels_BK, direction)
        self.memory.remember(self.fabric, net, here, alpha_B, beta_B)
        return p_BK

    # --- what a net learns -----------------------------------------------------------------

    def _loss(
        self, name: str, advice: Advice, weak_B: Tensor, strong_B: Tensor, partner_B: Tensor,
        context: StepContext,
    ) -> Tensor:  # fmt: skip
        """Eq. 15 for one net, all views in one pass."""
        config, size = self.config, len(weak_B)
        mixes = config.mixup != "none"
        views, share_B = [weak_B, strong_B], torch.ones_like(advice.total_B)
        if mixes:
            shapes = eq.mixup_shapes(
                advice.total_B, partner_B, config.concentration,
                symmetric=config.mixup == "symmetric",
            )  # fmt: skip
            share_B = sample_beta(*shapes, context.generator)
            views.append(mix(weak_B, partner_B, share_B))
        logits, z = self.modules[name](torch.cat(views), embeddings=True)
        logits = logits.float()
        weak, strong = logits[:size], logits[size : 2 * size]
        loss = eq.reweighted_cross_entropy(
            weak, advice.targets_BK, advice.total_B, config.intensity
        )
        loss = loss + eq.view_consistency_loss(strong, weak)
        ramp = context.ramp(0, config.ramp)
        if mixes:
            gate_B = self._gate(advice.total_B, partner_B, share_B)
            targets_BK = mix(advice.targets_BK, partner_B, share_B)
            loss = loss + ramp * eq.ram_loss(logits[2 * size :], targets_BK, gate_B)
        if config.contrast > 0:
            loss = loss + ramp * config.contrast * eq.cdcl_loss(
                z[: 2 * size].float(), advice.own_B.repeat(2), advice.sure_B.repeat(2),
                eq.unit_range(advice.pseudo_B).repeat(2), config.temperature,
            )  # fmt: skip
        return loss

    def _gate(self, total_B: Tensor, partner_B: Tensor, share_B: Tensor) -> Tensor:
        if not self.config.gate:
            return torch.ones_like(total_B)
        return eq.restored_gate(
            eq.pair_gate(total_B, partner_B, share_B), eq.is_starved(total_B, self.config.low)
        )


def diagnose_gates(history: list[EpochReport]) -> list[str]:
    """What a person should know of the gates, and of labels that were replaced no more."""
    epochs = len(history) - 1
    starved, fell = (
        sum(report.metrics.get(name, 0) > 0.5 for report in history) for name in ("starved", "fell")
    )
    found = []
    if starved:
        found.append(
            f"hrp: in {starved} of {epochs} epochs most reliabilities sank to their lower bound "
            "(noise too strong for the clean loss to see); the gates were scaled to mean 1"
        )
    if fell:
        found.append(
            f"hrp: after epoch {epochs - fell} of {epochs} predictions replaced no more labels: "
            "they had got worse on the checked rows"
        )
    return found

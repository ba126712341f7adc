"""DivideMix: each net splits the rows for the other, and trains on both parts by MixMatch.

Li, Socher and Hoi, ICLR 2020. On purified labels this is DMLP-DivideMix (Tu et al., Table 1); with
``upper_loss=clid``, CLID-MU's weight net weighs the labelled part (Hu et al., Table 2).

Differs: a batch holds labelled and unlabelled rows as they come, not as many of each; both nets
learn in the same step; lambda_u follows from the estimated noise
(:func:`labelfix.equations.dividemix.unlabelled_weight`), and the split is never empty. A label that
says itself how sure it is counts for no less, however large its loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations import dividemix as eq
from labelfix.equations.cross_entropy import soft_cross_entropy, weighted_soft_cross_entropy
from labelfix.equations.mixup import mix, sample_beta
from labelfix.nets.classifiers import evaluating, predict_logits, statistics_from
from labelfix.ranges import BelowOne, Positive, Within, check_settings
from labelfix.retrain.learned_weights import NONE, LearnedWeights, SteeredBy
from labelfix.retrain.noise_split import clean_probability, labelled_part, losses_on
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochContext, EpochReport, StepContext

NETS = ("first", "second")


@dataclass(frozen=True, kw_only=True)
class DivideMixConfig:
    """Settings.

    Attributes:
        warm_up: share of the epochs on plain cross-entropy, at least one epoch; the paper has 10
            or 30 of 300.
        warm_up_steps: the same in steps, where that is more: a net must have learned something
            before its losses tell anything. At most half of the epochs.
        threshold: of the probability that a label is right.
        least: share of a class's rows that are labelled at the least.
        temperature: of sharpening.
        mixup: shape of mixup's symmetric Beta law.
        ramp: share of the epochs within which lambda_u rises; the paper has 16 of 300.
        unlabelled_weight: lambda_u; below 0 = from the estimated noise.
        upper_loss: what a weight net follows that weighs the labelled rows; none = all count alike.
    """

    warm_up: BelowOne = 0.15
    warm_up_steps: int = 150
    threshold: BelowOne = 0.5
    least: BelowOne = 0.05
    temperature: Annotated[float, Within(0, 1, open_low=True)] = 0.5
    mixup: Positive = 4.0
    ramp: BelowOne = 0.1
    unlabelled_weight: float = -1.0
    upper_loss: SteeredBy = NONE

    def __post_init__(self) -> None:
        check_settings(self)


class Split(nn.Module):
    """What the losses of each net say of the rows, for the other one.

    ``trust_2N``: the probability that a row's label is right; ``labelled_2N``: whether it is kept;
    ``noise_2``: noise rate and symmetry; ``forced``: whether ranks had to help.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.trust_2N: Tensor
        self.labelled_2N: Tensor
        self.noise_2: Tensor
        self.forced: Tensor
        self.register_buffer("trust_2N", torch.zeros(2, rows))
        self.register_buffer("labelled_2N", torch.zeros(2, rows, dtype=torch.bool))
        self.register_buffer("noise_2", torch.zeros(2))
        self.register_buffer("forced", torch.zeros((), dtype=torch.bool))


class DivideMix:
    """The method for the training loop; modules "first" and "second" are classifiers."""

    manual_update = False

    def __init__(self, fabric: Fabric, problem: Problem, config: DivideMixConfig) -> None:
        self.fabric, self.problem, self.config = fabric, problem, config
        self.data = problem.on(fabric.device)
        self.modules: dict[str, nn.Module] = problem.nets(*NETS)
        self.optimizers: dict[str, Optimizer] = problem.optimizers(self.modules)
        self.plain = [self.modules[name] for name in NETS]
        self.split = Split(len(problem.source))
        self.modules["split"] = self.split
        self.weights: dict[str, LearnedWeights] = {}
        if config.upper_loss != NONE:
            for name in NETS:
                trained = self.modules[name], self.optimizers[name]
                self.weights[name] = LearnedWeights(fabric, problem, *trained, config.upper_loss)
        self.modules |= {f"{name}_weight_net": weights for name, weights in self.weights.items()}

    def epoch_rows(self, context: EpochContext) -> Tensor:
        if context.epoch < self.warm_epochs(context.epochs):
            return self.problem.labelled
        self._divide()
        for weights in self.weights.values():
            weights.begin_epoch()
        return self.problem.usable

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        if context.epoch < self.warm_epochs(context.epochs):
            return {"loss": self._warm_up_loss(rows, context.generator)}
        return {"loss": self._mixmatch_loss(rows, context)}

    def warm_epochs(self, epochs: int) -> int:
        """How many of the epochs are the warm-up."""
        config, steps = self.config, max(1, len(self.problem.labelled) // self.problem.batch_size)
        enough = max(round(config.warm_up * epochs), -(-config.warm_up_steps // steps))
        return max(1, min(enough, epochs // 2))

    def evaluate(self, epoch: int) -> dict[str, float]:
        rate, symmetry = self.split.noise_2.tolist()
        forced = float(self.split.forced)
        return {"noise_rate": rate, "noise_symmetry": symmetry, "split_by_rank": forced}

    # --- the split -------------------------------------------------------------------------

    def _divide(self) -> None:
        """The split of every row for both nets; computed once, the same in all processes."""
        rows, soft_NK = self.problem.labelled, torch.from_numpy(self.problem.targets.soft_labels)
        classes = soft_NK[rows].argmax(1).numpy()
        verified = self.problem.targets.clean[rows.numpy()]
        one_hot = self.problem.targets.one_hot
        stated_n = np.zeros(len(rows), np.float32) if one_hot else soft_NK[rows].amax(1).numpy()
        belief_nK = torch.zeros(len(rows), soft_NK.shape[1])
        forced = False
        for net, teacher in enumerate(reversed(self.plain)):
            losses = losses_on(teacher, self.problem)
            probability = clean_probability(losses, seed=self.problem.seed).clip(stated_n)
            probability[verified == classes] = 1
            taken, ranks_helped = labelled_part(
                probability, losses, classes,
                threshold=self.config.threshold, least=self.config.least,
            )  # fmt: skip
            trust, taken = self.fabric.broadcast((probability, taken))
            self._note(net, rows, trust, taken)
            p_nK = predict_logits(teacher, self.problem.source, rows).softmax(1)
            belief_nK += eq.co_refine(soft_NK[rows], torch.from_numpy(trust), p_nK) / 2
            forced |= ranks_helped
        labels_nK = nn.functional.one_hot(torch.from_numpy(classes), soft_NK.shape[1]).float()
        matrix_KK = eq.noise_matrix(labels_nK, belief_nK)
        noise = torch.stack([eq.wrong_share(matrix_KK), eq.noise_symmetry(matrix_KK)])
        self.split.noise_2.copy_(self.fabric.broadcast(noise))
        self.split.forced.fill_(forced)

    def _note(self, net: int, rows: Tensor, trust: np.ndarray, taken: np.ndarray) -> None:
        here = rows.to(self.data.device)
        self.split.trust_2N[net] = 0
        self.split.trust_2N[net, here] = torch.from_numpy(trust).to(self.data.device)
        self.split.labelled_2N[net] = False
        self.split.labelled_2N[net, here] = torch.from_numpy(taken).to(self.data.device)

    def unlabelled_weight(self, context: EpochContext) -> Tensor:
        """lambda_u at this epoch."""
        start = self.warm_epochs(context.epochs) / max(context.epochs - 1, 1)
        ramp = context.ramp(start, self.config.ramp)
        if self.config.unlabelled_weight >= 0:
            return torch.tensor(ramp * self.config.unlabelled_weight, device=self.data.device)
        rate, symmetry = self.split.noise_2.unbind()
        return ramp * eq.unlabelled_weight(rate, symmetry, self.data.soft_NK.shape[1])

    # --- the losses ------------------------------------------------------------------------

    def _warm_up_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        soft_BK, weight_B = self.data.labels_of(rows)
        loss = torch.zeros((), device=self.data.device)
        for name in NETS:
            inputs_B = self.data.source.train_batch(rows, generator)
            logits_BK = self.modules[name](inputs_B).float()
            loss = loss + weighted_soft_cross_entropy(logits_BK, soft_BK, weight_B)
        return loss

    def _mixmatch_loss(self, rows: Tensor, context: StepContext) -> Tensor:
        views = [self.data.source.train_batch(rows, context.generator) for _ in range(2)]
        with evaluating(*self.plain):  # BatchNorm's statistics stay while labels are guessed
            means = [sum(net(x).float().softmax(-1) for x in views) / 2 for net in self.plain]
        here = rows.to(self.data.device)
        with statistics_from(views[0], *self.plain):
            return sum(
                (self._loss_of(net, here, views, means, context) for net in range(len(NETS))),
                start=torch.zeros((), device=self.data.device),
            )

    def _targets(self, net: int, here: Tensor, labelled_B: Tensor, means: list[Tensor]) -> Tensor:
        """Refined labels of the labelled rows, guessed ones of the others, both sharpened."""
        trust_B = self.split.trust_2N[net, here]
        refined_BK = eq.co_refine(self.data.soft_NK[here], trust_B, means[net])
        guessed_BK = eq.co_guess(means[net], means[1 - net])
        targets_BK = torch.where(labelled_B[:, None], refined_BK, guessed_BK)
        return eq.sharpen(targets_BK, self.config.temperature)

    def _all_have(self, labelled_V: Tensor) -> bool:
        """Whether each process has a labelled row, as the weight net's step is one for all."""
        least = self.fabric.all_reduce(labelled_V.any().float(), reduce_op="min")
        assert isinstance(least, Tensor)
        return bool(least)

    def _loss_of(
        self, net: int, here: Tensor, views: list[Tensor], means: list[Tensor],
        context: StepContext,
    ) -> Tensor:  # fmt: skip
        """One net's MixMatch loss (Eq. 8 to 12)."""
        name, labelled_B = NETS[net], self.split.labelled_2N[net, here]
        inputs_V, labelled_V = torch.cat(views), labelled_B.repeat(2)
        targets_VK = self._targets(net, here, labelled_B, means).repeat(2, 1)
        partner_V = torch.randperm(
            len(inputs_V), generator=context.generator, device=inputs_V.device
        )
        shape_1 = torch.full((1,), self.config.mixup, device=inputs_V.device)
        share_1 = sample_beta(shape_1, shape_1, context.generator)
        share_1 = torch.maximum(share_1, 1 - share_1)
        inputs_V, targets_VK = (mix(of_V, partner_V, share_1) for of_V in (inputs_V, targets_VK))
        if self.weights and self._all_have(labelled_V):
            self.weights[name].update(inputs_V[labelled_V], targets_VK[labelled_V], context)
        logits_VK = self.modules[name](inputs_V).float()
        loss = eq.balance_penalty(logits_VK)
        if bool(labelled_V.any()):
            taught = logits_VK[labelled_V], targets_VK[labelled_V]
            loss = loss + (
                self.weights[name].loss(*taught)
                if self.weights
                else soft_cross_entropy(*taught).mean()
            )
        if not bool(labelled_V.all()):
            guessed = logits_VK[~labelled_V], targets_VK[~labelled_V]
            loss = loss + self.unlabelled_weight(context) * eq.unlabelled_loss(*guessed)
        return loss


def diagnose_splits(history: list[EpochReport]) -> list[str]:
    """What a person should know of the splits."""
    forced = sum(report.metrics.get("split_by_rank", 0) > 0 for report in history)
    if not forced:
        return []
    return [
        f"dividemix: in {forced} of {len(history) - 1} epochs a class kept too few labels by their "
        "losses; its rows of smallest loss were taken"
    ]

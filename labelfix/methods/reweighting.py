"""The learner of CLID-MU: heads, weight nets and snapshots of all folds, a step at a time.

Hu et al., CLID-MU (KDD 2025), Algorithm 1. The direction in which CLID falls comes from one virtual
step; how each row's weight acts on it, from one tangent of the log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.equations.tangents import log_prob_tangent
from labelfix.errors import DegenerateLearningError
from labelfix.methods import weight_net as wn
from labelfix.methods.correctors import OutOfFold
from labelfix.methods.design import Design
from labelfix.methods.fold_heads import (
    FoldHeads,
    clid_of_folds,
    logits_of_fold,
    stepped,
)


@dataclass(frozen=True, kw_only=True)
class CLIDConfig:
    """Settings of CLID-MU on frozen features.

    Attributes:
        passes: over the rows.
        least_steps: small sets are passed more often, up to this many steps.
        batch: rows a step.
        hidden: units of the head's hidden layer.
        learning_rate: of the head at its highest (AdamW, cosine), and of the virtual step.
        noise: standard deviation of the noise on the input, in units of a feature's own.
        meta_every: steps from one update of the weight net to the next; 0 = no weight net.
            Differs: the paper has 1, and names more as a way to save.
        warm_up: share of the steps before the weight net first moves: until the head has learned
            something, a high loss says nothing of the label, and the net starves whole classes.
            Differs: the paper has none, but 100 epochs and a rate of 1e-5.
        meta_rate: of the weight net (Adam).
        meta_rows, meta_batch: rows without labels that CLID is measured on, in all and a step.
        temperature: tau of the embedding graph.
        candidates: moments of training that are judged by CLID.
        snapshots: how many of these, of the lowest CLID, are averaged.
    """

    passes: int = 6
    least_steps: int = 600
    batch: int = 256
    hidden: int = 256
    learning_rate: float = 2e-3
    noise: float = 0.7
    meta_every: int = 5
    warm_up: float = 0.25
    meta_rate: float = 1e-3
    meta_rows: int = 1000
    meta_batch: int = 100
    temperature: float = 0.5
    candidates: int = 8
    snapshots: int = 5

    def __post_init__(self) -> None:
        least = dict.fromkeys(("passes", "batch", "hidden", "candidates", "snapshots"), 1)
        least |= {"meta_rows": 2, "meta_batch": 2, "least_steps": 0, "noise": 0, "meta_every": 0}
        for name, value in least.items():
            if not getattr(self, name) >= value:
                raise ValueError(f"{name} must be at least {value}, not {getattr(self, name)}")
        for name in ("learning_rate", "meta_rate", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up must lie in [0, 1), not {self.warm_up}")


class CLID:
    """State of CLID-MU over all folds: heads, weight nets, their optimisers, snapshots.

    Shape suffixes: F folds, N rows, B a batch, M rows of CLID, K classes, D columns.
    """

    def __init__(
        self,
        design: Design,
        given: NDArray[np.int32],
        folds: NDArray[np.int8],
        classes: int,
        config: CLIDConfig,
        seed: int,
    ) -> None:
        device = design.device
        self.design, self.config, self.classes = design, config, classes
        self.generator = torch.Generator().manual_seed(seed)
        self.folds, self.fold_of = int(folds.max()) + 1, folds
        self.fold_N = torch.from_numpy(folds.astype(np.int64)).to(device)
        self.given_N = torch.from_numpy(given.astype(np.int64)).to(device)
        self.scale_D = design.net_scale
        columns = design.shape[1]
        self.heads = FoldHeads(
            self.folds, columns, config.hidden, classes, generator=self.generator
        ).to(device)
        self.net = wn.weight_net(self.folds, generator=self.generator, device=device)
        self.first_net = [part.detach().clone() for part in self.net]
        self.head_optimiser = torch.optim.AdamW(self.heads.parameters(), weight_decay=1e-4)
        self.net_optimiser = torch.optim.Adam(self.net, lr=config.meta_rate)
        rows = torch.randperm(design.shape[0], generator=self.generator)[: config.meta_rows]
        self.meta_MD = self._rows(rows.sort().values.numpy())
        self.steps, self.meta_steps = 0, 0
        self.per_pass = math.ceil(design.shape[0] / config.batch)
        self.total = max(config.passes * self.per_pass, config.least_steps, config.candidates)
        self.snapshots: list[dict[str, Tensor]] = []
        self.clid_SF: list[Tensor] = []
        self.history: list[dict[str, float]] = []

    def batches(self) -> Iterator[NDArray[np.int64]]:
        """Row numbers of one batch after the other, reshuffled every pass, for ever."""
        while True:
            order = torch.randperm(self.design.shape[0], generator=self.generator)
            for part in order.tensor_split(self.per_pass):
                yield part.sort().values.numpy()

    def _rows(self, rows: NDArray[np.int64]) -> Tensor:
        return self.design.take(rows) * self.scale_D

    def _rate(self) -> float:
        """A short warm-up, then a half cosine to 0."""
        rising = min(1.0, (self.steps + 1) / 100)
        falling = 0.5 * (1 + math.cos(math.pi * self.steps / self.total))
        return self.config.learning_rate * rising * falling

    def step(self, rows: NDArray[np.int64]) -> None:
        """One batch: where due, the virtual and the meta step (Eq. 4, 10); then Eq. 6."""
        index = torch.from_numpy(rows).to(self.given_N.device)
        given_B = self.given_N[index]
        outside_FB = self.fold_N[index] != torch.arange(self.folds, device=index.device)[:, None]
        learns_FB = (outside_FB & (given_B >= 0)).float()
        rows_BD = self._rows(rows)
        noise_BD = torch.randn(rows_BD.shape, generator=self.generator).to(rows_BD.device)
        rows_BD = rows_BD + self.config.noise * noise_BD * (self.scale_D > 0)
        losses_FB = self._losses(rows_BD, given_B)
        every = self.config.meta_every
        if every and self.steps >= self.config.warm_up * self.total and self.steps % every == 0:
            self._meta_step(rows_BD, given_B, losses_FB, learns_FB)
        weights_FB = wn.sample_weights(self.net, losses_FB, learns_FB).detach()
        for group in self.head_optimiser.param_groups:
            group["lr"] = self._rate()
        self.head_optimiser.zero_grad()
        (weights_FB * losses_FB).sum().backward()
        self.head_optimiser.step()
        self.steps += 1

    def _losses(self, rows_BD: Tensor, given_B: Tensor) -> Tensor:
        logs_FBK = self.heads(rows_BD).log_softmax(-1)
        return -logs_FBK[:, torch.arange(len(given_B)), given_B.clamp_min(0)]

    def _meta_step(
        self, rows_BD: Tensor, given_B: Tensor, losses_FB: Tensor, learns_FB: Tensor
    ) -> None:
        """The weight net follows CLID's gradient through the virtual step.

        Differs: the virtual step is a plain gradient step, the real one Adam's.
        """
        weights_FB = wn.sample_weights(self.net, losses_FB, learns_FB)
        named = dict(self.heads.named_parameters())
        slopes = torch.autograd.grad(
            (weights_FB.detach() * losses_FB).sum(), list(named.values()), retain_graph=True
        )
        rate = self.config.learning_rate
        ahead = stepped(named, slopes, rate)
        pick = torch.randperm(len(self.meta_MD), generator=self.generator)
        meta_BD = self.meta_MD[pick[: self.config.meta_batch].to(rows_BD.device)]
        clid_F = clid_of_folds(self.heads, ahead, meta_BD, self.config.temperature)
        upper = torch.autograd.grad(clid_F.sum(), list(ahead.values()))
        direction = dict(zip(named, upper, strict=True))
        _, tangent_FBK = log_prob_tangent(self.heads, named, {}, rows_BD, direction)
        rows_B = torch.arange(len(given_B))
        alignment_FB = -tangent_FBK[:, rows_B, given_B.clamp_min(0)] * learns_FB
        for part, gradient in zip(
            self.net, wn.meta_gradient(self.net, weights_FB, alignment_FB, rate), strict=True
        ):
            part.grad = gradient
        self.net_optimiser.step()
        self.meta_steps += 1

    @torch.no_grad()
    def snapshot(self) -> None:
        """Keep the heads as they are now, with their CLID over all rows set aside for it."""
        state = {name: value.detach().clone() for name, value in self.heads.state_dict().items()}
        clid_F = clid_of_folds(self.heads, state, self.meta_MD, self.config.temperature)
        if not torch.isfinite(clid_F).all():
            raise DegenerateLearningError("clid: the head is no longer finite; check the features")
        easy_F, hard_F = wn.raw_weights(
            self.net, torch.tensor([0.1, 3.0], device=clid_F.device).expand(self.folds, -1)
        ).unbind(1)
        self.snapshots.append(state)
        self.clid_SF.append(clid_F)
        self.history.append(
            {
                "clid": float(clid_F.mean()),
                "weight_at_loss_0.1": float(easy_F.mean()),
                "weight_at_loss_3": float(hard_F.mean()),
            }
        )

    @torch.no_grad()
    def result(self) -> OutOfFold:
        """Each fold's mean prediction over its snapshots of the lowest CLID."""
        self._refuse_idle_net()
        best_SF = torch.stack(self.clid_SF).argsort(dim=0)[: self.config.snapshots].tolist()
        logs_NK = np.empty((self.design.shape[0], self.classes), dtype=np.float32)
        for rows, _ in self.design.blocks():
            numbers = np.arange(rows.start, rows.stop)
            for fold in range(self.folds):
                own = numbers[self.fold_of[rows] == fold]
                own_BD = self._rows(own)
                mean_BK = torch.stack(
                    [
                        logits_of_fold(self.snapshots[s[fold]], fold, own_BD).softmax(1)
                        for s in best_SF
                    ]
                ).mean(0)
                logs_NK[own] = mean_BK.clamp_min(1e-12).log().cpu().numpy()
        return OutOfFold(log_probabilities=logs_NK, history=self.history, chosen=best_SF[0])

    def _refuse_idle_net(self) -> None:
        moved = max(
            float((now - first).abs().max())
            for now, first in zip(self.net, self.first_net, strict=True)
        )
        if self.meta_steps and not moved > 1e-6:
            raise DegenerateLearningError(
                "clid: the weight net never moved; the predictions do not depend on the weights"
            )

"""Teachers: from a row and its given label to the target that its student learns.

A new one needs no other file; a method in ``registry.py`` names it.
"""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labelfix.equations.emlc import gated_targets
from labelfix.equations.reweighting import (
    gaussian_divergence,
    rectified_targets,
    weighted_targets,
)
from labelfix.equations.tangents import wide
from labelfix.nets.weight_net import WeightNet
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.rows_in_view import Batch

EMBEDDING = 128  # of a label, in MLC's and EMLC's teachers


class Teacher(nn.Module):
    """What shapes the student's loss ``- sum_i targets_i . log p(x_i)``."""

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        """An untrained one of the size that a task asks for."""
        raise NotImplementedError

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """``(B, K)``, with their graph to the teacher's parameters.

        Args:
            batch: rows and given labels.
            log_probs_BK: the student's, constants.
            generator: for teachers that draw; None = their mean.
        """
        raise NotImplementedError

    def corrected(self, batch: Batch, log_probs_BK: Tensor) -> Tensor | None:
        """The teacher's own corrected labels, ``(B, K)`` probabilities; None = it has none."""
        return None

    def penalty(self, batch: Batch) -> Tensor | None:
        """A loss of its own beside the upper loss, a scalar; None = it has none."""
        return None


class NoTeacher(Teacher):
    """For methods that read their targets off one tangent and remember nothing."""

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        return cls()


class LabelCorrector(Teacher):
    """MLC's teacher: features and the label's embedding, through an MLP, to a corrected label.

    Zheng et al., AAAI 2021: tanh layers of 128, softmax. To the MLP's logits it adds the given
    label's and the student's own: ``trust onehot(label) + belief log p``, both learned.

    Args:
        columns, classes: of the frozen features; K.
        hidden: units of a layer.
        trust, belief: where they start.

    Differs: MLC reads the features of the student's last layer, and its released code needed a skip
    link from the label on Clothing1M; EBOMLC freezes the features. Here features are frozen, what
    the student has learned comes in as its log-probabilities, and both skip links are learned: at
    the start the corrected label is a posterior of the two. Without ``belief`` a student on
    handwritten digits (40 % symmetric, 100 checked rows) lost two points to plain training.
    """

    def __init__(
        self,
        columns: int,
        classes: int,
        *,
        hidden: int = 128,
        trust: float = 3.0,
        belief: float = 1.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.layers = nn.Sequential(
            nn.Linear(columns + EMBEDDING, hidden), nn.Tanh(),
            nn.Linear(hidden, hidden), nn.Tanh(),
            nn.Linear(hidden, classes),
        )  # fmt: skip
        self.trust = nn.Parameter(torch.tensor(float(trust)))
        self.belief = nn.Parameter(torch.tensor(float(belief)))

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        return cls(task.frozen.columns, task.classes)

    def corrected(self, batch: Batch, log_probs_BK: Tensor) -> Tensor:
        seen = torch.cat([batch.features, self.embedding(batch.given)], dim=1)
        own_BK = wide(self.layers(seen))
        given_BK = F.one_hot(batch.given, own_BK.shape[1])
        return (own_BK + self.trust * given_BK + self.belief * log_probs_BK).softmax(1)

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        return self.corrected(batch, log_probs_BK) / len(batch.labels)


class GatedTeacher(Teacher):
    """EMLC's teacher: its own net's prediction and the given label, mixed by a gate (Fig. 3).

    Args:
        net: a classifier with a ``backbone`` and a linear ``head``, started as the student is.
        classes: K.
    """

    def __init__(self, net: nn.Module, classes: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.net = net
        head = net.head
        assert isinstance(head, nn.Linear)
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.gate = nn.Sequential(
            nn.Linear(head.in_features + EMBEDDING, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        return cls(task.make_student(), task.classes)

    def forward(self, x: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's logits ``(B, K)`` and the gate's ``(B,)``."""
        features_BD, logits_BK = self.look(x)
        return logits_BK, self.gate_logits(features_BD, labels_B)

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The classifier's features and logits."""
        features_BD = self.net.backbone(x)  # type: ignore[operator]
        return features_BD, wide(self.net.head(features_BD))  # type: ignore[operator]

    def gate_logits(self, features_BD: Tensor, labels_B: Tensor) -> Tensor:
        """``(B,)``: log odds that the label is right."""
        seen = torch.cat([features_BD, self.embedding(labels_B).to(features_BD)], dim=1)
        return wide(self.gate(seen))[:, 0]

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        return self.corrected(batch, log_probs_BK) / len(batch.labels)

    def corrected(self, batch: Batch, log_probs_BK: Tensor) -> Tensor:
        logits_BK, gate_B = self(batch.x, batch.given)
        return gated_targets(gate_B.sigmoid(), batch.given, logits_BK.softmax(1))


class WeightTeacher(Teacher):
    """Meta-Weight-Net's and WNet-CLID's teacher: a weight net in front of the rows' labels."""

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        self.net = WeightNet(hidden)

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        return cls()

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        onehot_BK = F.one_hot(batch.labels, log_probs_BK.shape[1])
        losses_B = -log_probs_BK.gather(1, batch.labels[:, None])[:, 0]
        return weighted_targets(self.net(losses_B), onehot_BK)


class Rectifier(Teacher):
    """VRI's teacher: a random vector in [0, 1]^K for each row, that rectifies its loss.

    Sun et al., IJCV 2024: the vector's posterior sees features and label, its prior the features
    alone; a divergence holds the posterior near the prior (:meth:`penalty`).
    """

    DIVERGENCE = 0.01  # its weight beside the upper loss

    def __init__(self, columns: int, classes: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.posterior = self._net(columns + EMBEDDING, classes, hidden)
        self.prior = self._net(columns, classes, hidden)

    @classmethod
    def for_task(cls, task: FoldTask) -> Self:
        return cls(task.frozen.columns, task.classes)

    @staticmethod
    def _net(columns: int, classes: int, hidden: int) -> nn.Sequential:
        last = nn.Linear(hidden, 2 * classes)
        nn.init.normal_(last.weight, std=0.1 / hidden**0.5)
        with torch.no_grad():  # the vectors start near 0.95, their spread small
            last.bias.copy_(torch.cat([torch.full((classes,), 3.0), torch.full((classes,), -2.0)]))
        return nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), last)

    def forward(self, features_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of the vectors' logits, ``(B, K)`` each."""
        seen = torch.cat([features_BD, self.embedding(labels_B)], dim=1)
        mean_BK, log_std_BK = wide(self.posterior(seen)).chunk(2, dim=1)
        return mean_BK, log_std_BK

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        mean_BK, log_std_BK = self(batch.features, batch.labels)
        if generator is not None:
            noise_BK = torch.randn(mean_BK.shape, generator=generator, device=mean_BK.device)
            mean_BK = mean_BK + log_std_BK.exp() * noise_BK.to(mean_BK)
        return rectified_targets(log_probs_BK, mean_BK.sigmoid(), batch.labels)

    def penalty(self, batch: Batch) -> Tensor:
        """The weighed mean divergence of the posterior from the prior, in nats a class."""
        prior = wide(self.prior(batch.features)).chunk(2, dim=1)
        divergence_BK = gaussian_divergence(*self(batch.features, batch.labels), *prior)
        return self.DIVERGENCE * divergence_BK.mean()

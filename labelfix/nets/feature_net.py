"""The one net on features: a classifier of hidden layers; single, or one a fold side by side.

Shape suffixes: B rows, D columns, H hidden units, K classes, G folds.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from labelfix.features.standardise import Scaling

L = TypeVar("L", bound="nn.Linear | FoldLinear")


class FeatureNet(nn.Module):
    """Layers with ReLU between them, on rows of features.

    Args:
        layers: the hidden ones and the last. Those of several nets side by side are a
            :class:`FirstFoldLinear` and :class:`FoldLinear` after it.
        scale: what rows pass first; None = they come scaled.
        dropout: share of the last hidden layer's units that training leaves out, in [0, 1).

    Attributes:
        backbone, head: the hidden layers and the last one, as image classifiers have them.
    """

    def __init__(
        self, *layers: nn.Module, scale: nn.Module | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        *hidden, head = layers
        self.scale = scale or nn.Identity()
        self.backbone = nn.Sequential(*(part for layer in hidden for part in (layer, nn.ReLU())))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = head  # after the others: sums over all weights go in the layers' order

    def forward(self, rows_BD: Tensor, embeddings: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits ``(B, K)``, or ``(G, B, K)``; and the last hidden layer if asked."""
        z_BH = self.backbone(self.scale(rows_BD))
        logits_BK = self.head(self.dropout(z_BH))
        return (logits_BK, z_BH) if embeddings else logits_BK

    def structure(self, rows_BD: Tensor) -> Tensor:
        """What CLID's graph of the inputs is made of: the features, which no label touched."""
        return self.scale(rows_BD)


class Standardise(nn.Module):
    """Columns about their mean, in units of their spread; constant ones are 0."""

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    def forward(self, features_BD: Tensor) -> Tensor:
        return (features_BD - self.mean) * self.scale

    def take(self, scaling: Scaling) -> None:
        """Scale by these figures from now on."""
        self.mean.copy_(scaling.mean_D)
        self.scale.copy_(scaling.inverse())


class FirstFoldLinear(nn.Linear):
    """The first layers of G nets as one product, since all read the same rows.

    ``(B, D)`` -> ``(G, B, H)``.
    """

    def __init__(self, folds: int, inputs: int, outputs: int) -> None:
        super().__init__(inputs, folds * outputs)
        self.folds = folds

    def forward(self, rows_BD: Tensor) -> Tensor:
        return super().forward(rows_BD).unflatten(1, (self.folds, -1)).transpose(0, 1)


class FoldLinear(nn.Module):
    """A later layer of G nets, ``(G, B, I)`` -> ``(G, B, O)``, of weights ``(G, I, O)``."""

    def __init__(self, folds: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(folds, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(folds, 1, outputs))

    def forward(self, x_GBI: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x_GBI, self.weight)


def feature_classifier(
    columns: int, classes: int, *, scaling: Scaling | None = None, hidden: int = 512
) -> FeatureNet:
    """What retraining trains on features as they are measured; it carries their scaling.

    Args:
        columns: D.
        classes: K.
        scaling: None = to be loaded with the weights.
        hidden: H.
    """
    scale = Standardise(columns)
    if scaling is not None:
        scale.take(scaling)
    layers = nn.Linear(columns, hidden), nn.Linear(hidden, classes)
    return FeatureNet(*layers, scale=scale, dropout=0.3)


def student_net(columns: int, classes: int, hidden: int = 256) -> FeatureNet:
    """A student on scaled rows: He's start, predictions nearly even at first."""
    first = _start(nn.Linear(columns, hidden), _he(columns))
    return FeatureNet(first, _start(nn.Linear(hidden, classes), _small(hidden)))


def fold_nets(folds: int, columns: int, classes: int, hidden: int = 256) -> FeatureNet:
    """G nets of two hidden layers on scaled rows, started as :func:`student_net`."""
    first = FirstFoldLinear(folds, columns, hidden)
    second = _start(FoldLinear(folds, hidden, hidden), _he(hidden))
    last = _start(FoldLinear(folds, hidden, classes), _small(hidden))
    return FeatureNet(_start(first, _he(columns)), second, last)


def _start(layer: L, std: float) -> L:
    """Normal weights, no biases."""
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


def _he(inputs: int) -> float:
    return (2 / inputs) ** 0.5


def _small(inputs: int) -> float:
    return 0.1 / inputs**0.5

"""What SimCLR and MoCo share: the projection head, the optimizer, and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol

import torch
from torch import Tensor, nn

from labelfix.nets.backbones import Backbone
from labelfix.ranges import AtLeastOne, BelowOne, NotNegative, Positive, Within, check_settings


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig:
    """Settings of both methods; the defaults suit few epochs on small data.

    Attributes:
        temperature: of the loss, > 0.
        projection: features of the projection, >= 2.
        hidden: width of the projection head's hidden layer, >= 1.
        lr: peak learning rate at a batch of 256, > 0; scaled with sqrt(batch / 256).
        momentum: of SGD with Nesterov's step, in [0, 1).
        weight_decay: >= 0, on weights with two or more dimensions.
    """

    temperature: Positive = 0.2
    projection: Annotated[int, Within(2)] = 128
    hidden: AtLeastOne = 256
    lr: Positive = 0.3
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 1e-4

    def __post_init__(self) -> None:
        check_settings(self)


class Evaluate(Protocol):
    """Measures a backbone after a number of epochs (0: before the first)."""

    def __call__(self, backbone: Backbone, epoch: int) -> dict[str, float]: ...


class ProjectedNet(nn.Module):
    """A backbone with the two-layer head that only pretraining uses.

    The head is Linear, BatchNorm, ReLU, Linear (Chen et al. 2020, Sec. 4.2).
    """

    def __init__(self, backbone: Backbone, config: ContrastiveConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.Linear(backbone.num_features, config.hidden, bias=False),
            nn.BatchNorm1d(config.hidden),
            nn.ReLU(inplace=True),
            nn.Linear(config.hidden, config.projection),
        )

    def forward(self, views: Tensor) -> Tensor:
        """Projections (B, projection) of views (B, 3, S, S) in [0, 1]."""
        return self.head(self.backbone(views))


def make_optimizer(net: nn.Module, config: ContrastiveConfig, batch_size: int) -> torch.optim.SGD:
    """SGD with Nesterov momentum; biases and norms are not decayed."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    lr = config.lr * (batch_size / 256) ** 0.5
    return torch.optim.SGD(groups, lr=lr, momentum=config.momentum, nesterov=config.momentum > 0)

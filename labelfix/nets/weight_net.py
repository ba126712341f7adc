"""The net that weighs rows by their losses, under whatever steers it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LOSSES = 5.0  # the range in which cross-entropies lie, from 0


class WeightNet(nn.Module):
    """Meta-Weight-Net's net (Shu et al., NeurIPS 2019): 1-100-1 with a sigmoid, loss to weight.

    Differs: the paper draws the first layer's kinks around a loss of 0, where half of the units
    see no loss at all; here they spread over ``[0, LOSSES]``. The last layer starts small, so that
    the weights start nearly even.
    """

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        slope_H = torch.randn(hidden)
        self.slope = nn.Parameter(slope_H)
        self.offset = nn.Parameter(-slope_H * LOSSES * torch.rand(hidden))
        self.last = nn.Parameter(0.1 * torch.randn(hidden) / hidden**0.5)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, losses_B: Tensor) -> Tensor:
        """Raw weights in (0, 1), ``(B,)``."""
        hidden_BH = torch.relu(losses_B[:, None] * self.slope + self.offset)
        return torch.sigmoid(hidden_BH @ self.last + self.bias)

"""Snapshot ensembling: the states of a net with the lowest upper loss, averaged at prediction.

Hu et al., CLID-MU, Sec. 4.4: no checked label is needed to choose.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Snapshots(nn.Module):
    """Up to ``count`` states of a net; all of it is in the state dict.

    Args:
        net: whose states are kept.
        count: at least 1.
    """

    scores: Tensor

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"count must be at least 1, not {count}")
        copies = [copy.deepcopy(net).requires_grad_(False).eval() for _ in range(count)]
        self.nets = nn.ModuleList(copies)
        self.register_buffer("scores", torch.full((count,), torch.inf))

    def offer(self, net: nn.Module, score: float) -> bool:
        """Keep ``net`` as it is now, where its score is lower than the highest that is kept."""
        place = int(self.scores.argmax())
        if not score < float(self.scores[place]):
            return False
        self.nets[place].load_state_dict(net.state_dict())
        self.scores[place] = score
        return True

    def forward(self, x: Tensor) -> Tensor:
        """Mean probabilities ``(B, K)`` of the states that are kept."""
        kept = [net for net, score in zip(self.nets, self.scores, strict=True) if score < torch.inf]
        if not kept:
            raise ValueError("no snapshot has been offered")
        return torch.stack([net(x).float().softmax(1) for net in kept]).mean(0)

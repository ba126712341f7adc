"""Frozen features under a method that trains nets: the rows as a source, and the net for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labelfix.methods.design import Design, Matrix


class FeatureRows:
    """Frozen features as nets take them (:meth:`Design.net_rows`); training sees noisy ones.

    Args:
        features: ``(N, D)``.
        noise: standard deviation of the noise, in units of a column's root mean square.
    """

    remarks: tuple[str, ...] = ()

    def __init__(self, features: Matrix, *, noise: float = 0.0) -> None:
        self.features, self.noise = features, noise
        self._design: Design | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def columns(self) -> int:
        return self.features.shape[1] + 1

    def to(self, device: torch.device) -> FeatureRows:
        if self._design is None or self._design.device != device:
            self._design = Design.of(self.features, device)
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        x_BD = self.test_batch(rows)
        if not self.noise:
            return x_BD
        assert self._design is not None
        noise_BD = torch.randn(x_BD.shape, generator=generator, device=x_BD.device)
        return x_BD + self.noise * noise_BD * (self._design.net_scale > 0)

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self.train_batch(rows, generator)

    def test_batch(self, rows: Tensor) -> Tensor:
        assert self._design is not None, "ask for rows after to(device)"
        return self._design.net_rows(rows.numpy())

    def __getstate__(self) -> dict[str, object]:
        """For worker processes: each measures the features itself."""
        return {"features": self.features, "noise": self.noise, "_design": None}


class FeatureNet(nn.Module):
    """A classifier of one hidden layer; ``backbone`` and ``head`` as an image classifier has them.

    He's initialisation; the last layer starts small, so that predictions start nearly even.
    """

    def __init__(self, columns: int, classes: int, hidden: int = 256) -> None:
        super().__init__()
        wide = nn.Linear(columns, hidden)
        nn.init.normal_(wide.weight, std=(2 / columns) ** 0.5)
        nn.init.zeros_(wide.bias)
        self.backbone = nn.Sequential(wide, nn.ReLU())
        self.head = nn.Linear(hidden, classes)
        nn.init.normal_(self.head.weight, std=0.1 / hidden**0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, rows_BD: Tensor) -> Tensor:
        """Logits ``(B, K)`` of rows from :class:`FeatureRows`."""
        return self.head(self.backbone(rows_BD))

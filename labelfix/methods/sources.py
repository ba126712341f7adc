"""What a retraining method sees of a row: an image or a feature vector, behind one face."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from labelfix.methods import backbones
from labelfix.methods.augment import supervised_view, to_unit
from labelfix.methods.resident import ImageStore


class Source(Protocol):
    """Rows to train on or to predict; picklable, so that worker processes can have it."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> Source:
        """Serve batches on ``device``."""
        ...

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Inputs of the net for training: augmented, where that means anything."""
        ...

    def test_batch(self, rows: Tensor) -> Tensor:
        """Inputs of the net as they are."""
        ...


class ImageSource:
    """Images, ``(N, H, W, 3)`` uint8, array or memory map; training sees shifted, mirrored ones."""

    def __init__(self, images: np.ndarray) -> None:
        self.store = ImageStore(images)

    def __len__(self) -> int:
        return len(self.store)

    def to(self, device: torch.device) -> ImageSource:
        self.store.to(device)
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return supervised_view(self.store[rows], generator)

    def test_batch(self, rows: Tensor) -> Tensor:
        return to_unit(self.store[rows])


class FeatureSource:
    """Feature vectors, ``(N, D)``, array or memory map."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.device = features, torch.device("cpu")

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device) -> FeatureSource:
        self.device = device
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self.test_batch(rows)

    def test_batch(self, rows: Tensor) -> Tensor:
        taken = np.asarray(self.features[rows.numpy()], dtype=np.float32)
        return torch.from_numpy(taken).to(self.device)


class ImageClassifier(nn.Module):
    """A backbone and a linear layer."""

    def __init__(self, backbone: backbones.Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, classes)

    def forward(self, views: Tensor) -> Tensor:
        """Logits ``(B, K)`` of views ``(B, 3, H, W)`` in [0, 1]."""
        return self.head(self.backbone(views))


class FeatureClassifier(nn.Module):
    """Two layers on standardised features."""

    def __init__(self, features: np.ndarray, classes: int, hidden: int = 512) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        some = torch.from_numpy(np.array(features[: 2**16], dtype=np.float32))
        self.register_buffer("mean", some.mean(0))
        self.register_buffer("std", some.std(0, correction=0).clamp_min(1e-6))
        self.layers = nn.Sequential(
            nn.Linear(features.shape[1], hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(0.3),
            nn.Linear(hidden, classes),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(B, K)`` of features ``(B, D)``."""
        return self.layers((features - self.mean) / self.std)


@torch.no_grad()
def predict_probabilities(
    net: nn.Module, source: Source, device: torch.device, batch_size: int = 512
) -> np.ndarray:
    """Class probabilities of every row, ``(N, K)`` float32."""
    net.to(device).eval()
    source.to(device)
    batches = torch.arange(len(source)).split(batch_size)
    found = [net(source.test_batch(rows)).float().softmax(1).cpu() for rows in batches]
    return torch.cat(found).numpy()

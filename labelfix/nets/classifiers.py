"""Classifiers on images, what any classifier predicts, and several of them as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from labelfix.nets import backbones
from labelfix.nets.datasets import BatchSource


class ImageClassifier(nn.Module):
    """A backbone and a linear layer."""

    def __init__(self, backbone: backbones.Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.num_features, classes)

    def forward(self, views: Tensor, embeddings: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits ``(B, K)`` of views ``(B, 3, H, W)`` in [0, 1]; and z ``(B, D)`` if asked."""
        z_BD = self.backbone(views)
        logits_BK = self.head(z_BD)
        return (logits_BK, z_BD) if embeddings else logits_BK

    def structure(self, views: Tensor) -> Tensor:
        """What CLID's graph of the inputs is made of: the last hidden layer."""
        return self.backbone(views)


def image_classifier(
    backbone: str, pixels: int, classes: int, *, weights: str | Path = "random", seed: int = 0
) -> ImageClassifier:
    """A classifier of images of ``pixels`` a side; see :func:`labelfix.nets.backbones.build`."""
    return ImageClassifier(backbones.build(backbone, pixels, weights=weights, seed=seed), classes)


class Ensemble(nn.Module):
    """Several nets as one that predicts their mean probability."""

    def __init__(self, nets: Sequence[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, inputs: Tensor) -> Tensor:
        """``log mean p + mean logsumexp``, ``(B, K)``: the mean probability and mean energy."""
        logits_MBK = torch.stack([net(inputs) for net in self.nets]).float()
        log_mean_BK = logits_MBK.log_softmax(-1).logsumexp(0) - np.log(len(self.nets))
        return log_mean_BK + logits_MBK.logsumexp(-1).mean(0)[:, None]


@contextmanager
def statistics_from(inputs: Tensor, *nets: nn.Module) -> Iterator[None]:
    """Train on mixtures while BatchNorm's running statistics follow the inputs as they are.

    Mixtures vary less than inputs do: a net with their statistics alone misjudges every row that
    it predicts. Within the block nets in training mode normalise by the batch, as ever, and the
    running statistics stay where these inputs moved them.
    """
    norms = [module for net in nets for module in net.modules() if isinstance(module, _BatchNorm)]
    if norms:
        with torch.no_grad():
            for net in nets:
                net(inputs)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextmanager
def evaluating(*nets: nn.Module) -> Iterator[None]:
    """Nets in evaluation mode, without gradients; then in the mode they were in."""
    modes = [net.training for net in nets]
    try:
        for net in nets:
            net.eval()
        with torch.no_grad():
            yield
    finally:
        for net, mode in zip(nets, modes, strict=True):
            net.train(mode)


def predict_logits(
    net: nn.Module, source: BatchSource, rows: Tensor | None = None, batch_size: int = 512
) -> Tensor:
    """Logits of rows (all by default) as they are, ``(n, K)`` float32 on the CPU.

    Args:
        net: on the device of ``source``; its mode is left as it was.
        source: the rows.
        rows: ``(n,)`` int64 on the CPU.
        batch_size: rows a pass.
    """
    rows = torch.arange(len(source)) if rows is None else rows
    with evaluating(net):
        found = [net(source.test_batch(part)).float().cpu() for part in rows.split(batch_size)]
    return torch.cat(found)

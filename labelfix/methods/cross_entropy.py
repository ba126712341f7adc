"""Plain retraining: soft-label, weighted cross-entropy (DMLP-Naive, Tu et al. 2023, Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.cross_entropy import weighted_soft_cross_entropy
from labelfix.methods.loop import OnEpoch, train
from labelfix.methods.sources import Source
from labelfix.methods.training import LoopConfig

_CPU_IMAGES = 250_000  # of 32 x 32 pixels: what a CPU run may look at when nobody sets the epochs
_FEATURE_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What to train on.

    Attributes:
        soft_labels: ``(N, K)`` float32.
        weights: ``(N,)`` float32 >= 0; rows of weight 0 are left out.
    """

    soft_labels: np.ndarray
    weights: np.ndarray


class CrossEntropy:
    """The method for the training loop; module "net" is a classifier."""

    manual_update = False

    def __init__(
        self, fabric: Fabric, net: nn.Module, optimizer: Optimizer, source: Source, targets: Targets
    ) -> None:
        self.source = source.to(fabric.device)
        self.rows = torch.from_numpy(np.flatnonzero(targets.weights > 0))
        self.soft_NK = torch.from_numpy(targets.soft_labels).to(fabric.device)
        self.weight_N = torch.from_numpy(targets.weights).to(fabric.device)
        self.modules: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, Optimizer] = {"net": optimizer}

    def epoch_rows(self, epoch: int, generator: torch.Generator) -> Tensor:
        return self.rows

    def step(self, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        logits_BK = self.modules["net"](self.source.train_batch(rows, generator)).float()
        here = rows.to(logits_BK.device)
        loss = weighted_soft_cross_entropy(logits_BK, self.soft_NK[here], self.weight_N[here])
        return {"loss": loss}

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}


MakeNet = Callable[[], nn.Module]


def retrain(
    make_net: MakeNet,
    source: Source,
    targets: Targets,
    *,
    images: bool,
    loop: LoopConfig,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> nn.Module:
    """Train a classifier.

    Args:
        make_net: makes the untrained net; picklable.
        source: the N rows.
        targets: their labels and weights.
        images: whether rows are images: SGD for convolutions, AdamW for features.
        loop: how; its epochs are taken as they are.
        checkpoint, on_epoch: see :func:`labelfix.methods.loop.train`.

    Returns:
        The trained net on the CPU, in evaluation mode.
    """
    batch = min(loop.batch_size, max(16, int((targets.weights > 0).sum()) // 8))
    make = partial(
        _build, make_net=make_net, source=source, targets=targets, images=images, batch=batch
    )
    trained = train(make, replace(loop, batch_size=batch), checkpoint=checkpoint, on_epoch=on_epoch)
    net = make_net()
    net.load_state_dict(trained.modules["net"])
    return net.eval()


def default_epochs(rows: int, pixels: int | None, device: torch.device) -> int:
    """Epochs where nobody sets them, for ``rows`` rows of images ``pixels`` a side, or features.

    Features: a million rows in all, between 5 and 50 epochs. Images on a GPU: 100; on a CPU
    250,000 images of 32 x 32 pixels in all (fewer of larger ones), between 4 and 40 epochs.
    """
    if pixels is None:
        return max(5, min(50, round(_FEATURE_ROWS / rows)))
    if device.type != "cpu":
        return 100
    return max(4, min(40, round(_CPU_IMAGES / (rows * (pixels / 32) ** 2))))


def _build(
    fabric: Fabric, *, make_net: MakeNet, source: Source, targets: Targets, images: bool, batch: int
) -> CrossEntropy:
    net = make_net()
    optimizer: Optimizer
    if images:
        optimizer = torch.optim.SGD(
            net.parameters(), lr=0.1 * batch / 256, momentum=0.9, nesterov=True, weight_decay=5e-4
        )
    else:
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-4)
    return CrossEntropy(fabric, net, optimizer, source, targets)

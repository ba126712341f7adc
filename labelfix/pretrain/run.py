"""Self-supervised pretraining of a backbone on unlabelled images, with proof that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from lightning_fabric import Fabric

from labelfix.features.knn_accuracy import knn_accuracy
from labelfix.nets import backbones
from labelfix.nets.backbones import Backbone
from labelfix.nets.datasets import ImageStore
from labelfix.nets.views import ViewConfig
from labelfix.pretrain.embed import embed
from labelfix.pretrain.moco import Moco, MocoConfig
from labelfix.pretrain.projection import ContrastiveConfig, Evaluate
from labelfix.pretrain.simclr import Simclr
from labelfix.ranges import AtLeastOne, OneOf, check_settings
from labelfix.training.config import EpochReport, LoopConfig
from labelfix.training.devices import pick_device
from labelfix.training.loop import OnEpoch, train

_CPU_VIEWS = 400_000  # of 32 x 32 pixels: what a CPU run may look at when nobody sets the epochs
_LOOKS = 5  # kNN measurements in a run after the first


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """What is trained, and how.

    Attributes:
        method: "simclr" or "moco".
        backbone: `smallconv` or a timm name.
        epochs: passes over the images; None = `pretraining_epochs`.
        batch_size: images a step, all processes together.
        seed: of everything random.
        view: the augmentation.
        simclr, moco: settings of the two methods; only the chosen one's matter.
    """

    method: Annotated[str, OneOf("simclr", "moco")] = "simclr"
    backbone: str = "smallconv"
    epochs: AtLeastOne | None = None
    batch_size: int = 256
    seed: int = 0
    view: ViewConfig = field(default_factory=ViewConfig)
    simclr: ContrastiveConfig = field(default_factory=ContrastiveConfig)
    moco: MocoConfig = field(default_factory=MocoConfig)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class CheckedImages:
    """Images with known labels that show whether the features get better.

    Attributes:
        images: uint8 (n, H, W, 3).
        labels: integers >= 0, (n,).
        bank, bank_labels: other labelled images that vote; None = the checked ones vote among
            themselves, each left out for itself.
        k: voting neighbours.
    """

    images: np.ndarray
    labels: np.ndarray
    bank: np.ndarray | None = None
    bank_labels: np.ndarray | None = None
    k: int = 20

    def knn(self, backbone: Backbone, device: str = "auto", precision: str = "auto") -> float:
        """The kNN accuracy of the backbone's features, in [0, 1]."""
        look = partial(embed, backbone, device=device, precision=precision)
        features = look(self.images)
        bank = None if self.bank is None else look(self.bank)
        return knn_accuracy(
            features, self.labels, k=self.k, bank=bank, bank_labels=self.bank_labels
        )


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The trained backbone (CPU, eval mode) and the reports, epoch 0 = untrained, included."""

    backbone: Backbone
    history: list[EpochReport]


def pretraining_epochs(count: int, image_size: int, device: str = "auto") -> int:
    """The number of epochs where nobody sets it.

    On a GPU 200, the custom for small images. On a CPU as many as keep two cores busy for some
    minutes with `smallconv`: 400,000 views of 32 x 32 pixels (fewer of larger ones), between 2
    and 60 epochs.
    """
    if pick_device(device).type != "cpu":
        return 200
    views = 2 * count * (image_size / 32) ** 2
    return max(2, min(60, round(_CPU_VIEWS / views)))


def pretrain(
    images: np.ndarray,
    *,
    config: PretrainConfig,
    loop: LoopConfig | None = None,
    checked: CheckedImages | None = None,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Pretrained:
    """Trains a backbone from random weights on images without labels.

    Args:
        images: uint8 (N, H, W, 3), an array or an `np.memmap`; N >= 2.
        config: what to train; its epochs, batch size and seed go before those of `loop`.
        loop: device, processes, precision, schedule, checkpoint interval.
        checked: adds the metric "knn" to some reports: before the first epoch, after the last, and
            at most four times between.
        checkpoint: the loop's checkpoint file; an interrupted run goes on from it.
        on_epoch: called after every epoch, and before the first (epoch 0).

    Raises:
        InputError: the backbone, the device or the checkpoint does not fit.
        DegenerateLearningError: the loss is no longer finite.
    """
    store = ImageStore(images)
    loop = loop or LoopConfig(epochs=1)
    epochs = config.epochs or pretraining_epochs(len(images), store.size, loop.device)
    loop = replace(loop, epochs=epochs, batch_size=config.batch_size, seed=config.seed)
    evaluate = partial(_measure, checked=checked, loop=loop)
    make = partial(build_method, store=store, config=config, evaluate=evaluate)
    trained = train(make, loop, checkpoint=checkpoint, on_epoch=on_epoch)
    backbone = backbones.build(config.backbone, store.size, seed=config.seed)
    own = {
        name.removeprefix("backbone."): value
        for name, value in trained.modules["net"].items()
        if name.startswith("backbone.")
    }
    backbone.load_state_dict(own)
    return Pretrained(backbone=backbone.eval(), history=trained.history)


def build_method(
    fabric: Fabric, *, store: ImageStore, config: PretrainConfig, evaluate: Evaluate
) -> Simclr | Moco:
    """Makes the method within a worker process."""
    backbone = backbones.build(config.backbone, store.size, seed=config.seed)
    make: Callable[..., Simclr | Moco] = partial(Moco, config=config.moco)
    if config.method == "simclr":
        make = partial(Simclr, config=config.simclr)
    return make(
        fabric, backbone, store,
        view=config.view, batch_size=config.batch_size, evaluate=evaluate,
    )  # fmt: skip


def _measure(
    backbone: Backbone, epoch: int, *, checked: CheckedImages | None, loop: LoopConfig
) -> dict[str, float]:
    """The metric "knn", when it is time for it."""
    every = math.ceil(loop.epochs / _LOOKS)
    if checked is None or (epoch % every and epoch != loop.epochs):
        return {}
    return {"knn": checked.knn(backbone, loop.device, loop.precision)}

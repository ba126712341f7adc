"""Features of all images by a trained backbone, in half precision, memory-mapped if wished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from labelfix.errors import DegenerateLearningError
from labelfix.nets.backbones import Backbone
from labelfix.nets.datasets import ImageStore
from labelfix.training.devices import autocast, pick_device


@torch.no_grad()
def embed(
    backbone: Backbone,
    images: np.ndarray,
    *,
    batch_size: int = 512,
    device: str = "auto",
    precision: str = "auto",
    destination: Path | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The backbone's features of every image, in order, without augmentation.

    Args:
        backbone: left in the mode it was in, on `device`.
        images: uint8 (N, H, W, 3), an array or an `np.memmap`.
        batch_size: images a pass.
        device: auto, cpu, cuda or mps.
        precision: auto (bf16 or fp16 where that is fast), 32-true, bf16-mixed or 16-mixed.
        destination: an .npy file that is written as the work goes on; None = in memory. Write
            aside and rename where a half-written file could be mistaken for a whole one.
        on_batch: called with the number of images done.

    Returns:
        float16 (N, D); read-only and memory-mapped where a destination is given.

    Raises:
        DegenerateLearningError: features are not finite, or too large for float16.
    """
    place = pick_device(device)
    store = ImageStore(images).to(place, keep=False)
    shape = (len(images), backbone.num_features)
    out = _open(destination, shape)
    was_training = backbone.training
    backbone.to(place).eval()
    for start in range(0, len(images), batch_size):
        rows = torch.arange(start, min(start + batch_size, len(images)))
        with autocast(place, precision):
            features = backbone(store[rows])
        half = features.half()
        if not half.isfinite().all():
            raise DegenerateLearningError(
                f"features of images {start + 1} to {start + len(rows)} are not finite"
            )
        out[start : start + len(rows)] = half.cpu().numpy()
        if on_batch is not None:
            on_batch(start + len(rows))
    backbone.train(was_training)
    if destination is None:
        return out
    out.flush()  # type: ignore[attr-defined]
    return np.load(destination, mmap_mode="r")


def _open(destination: Path | None, shape: tuple[int, int]) -> np.ndarray:
    if destination is None:
        return np.empty(shape, np.float16)
    return np.lib.format.open_memmap(destination, mode="w+", dtype=np.float16, shape=shape)

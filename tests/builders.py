"""What several test files build: blobs of features, pictures of three classes, steps."""

from dataclasses import dataclass

import numpy as np
import torch

from labelfix.annotations import Annotations
from labelfix.training.config import StepContext


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Gaussian blobs with noisy labels: arrays as the methods take them, -1 = none."""

    features: np.ndarray
    right: np.ndarray
    given: np.ndarray
    checked: np.ndarray
    folds: np.ndarray

    @property
    def annotations(self) -> Annotations:
        return Annotations.of(self.given, self.checked, self.folds, int(self.right.max()) + 1)


def make_blobs(
    rows=300, classes=3, columns=8, noise=0.3, checked=45, spread=3.0, missing=0, seed=0
) -> Blobs:
    """Rows in folds 0..4 by position, labels flipped uniformly, the first rows checked."""
    random = np.random.default_rng(seed)
    right = random.permutation(np.arange(rows) % classes).astype(np.int32)
    centres = spread * np.linalg.qr(random.normal(size=(columns, columns)))[0][:classes]
    features = (centres[right] + random.normal(size=(rows, columns))).astype(np.float32)
    given = right.copy()
    flipped = random.permutation(rows)[: round(noise * rows)]
    given[flipped] = (right[flipped] + random.integers(1, classes, len(flipped))) % classes
    given[random.permutation(rows)[:missing]] = -1
    known = np.where(np.arange(rows) < checked, right, -1).astype(np.int32)
    folds = (np.arange(rows) % 5).astype(np.int8)
    return Blobs(features=features, right=right, given=given, checked=known, folds=folds)


def draw_picture(code: int, number: int, size: int = 8) -> np.ndarray:
    """A bright quarter on dark noise; where it lies and its colour tell the class."""
    random = np.random.default_rng(1000 * code + number)
    pixels = random.integers(0, 60, (size, size, 3), dtype=np.uint8)
    half = size // 2
    pixels[half * (code // 2) :, half * (code % 2) :][:half, :half, code] += 180
    return pixels


def step_of(epoch=0, *, epochs=3, step=0, steps=1, seed=0) -> StepContext:
    """A step as the training loop announces it; an epoch too, since it is one."""
    generator = torch.Generator().manual_seed(seed)
    return StepContext(epoch=epoch, epochs=epochs, step=step, steps=steps, generator=generator)

"""What bilevel methods learn from: rows, their labels, their folds; and one fold's share of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelfix.annotations import Annotations
from labelfix.errors import DegenerateLearningError
from labelfix.features.standardise import Design, Matrix
from labelfix.nets.datasets import BatchSource, ImageSource
from labelfix.predictors.bilevel.rows_in_view import Batch


@dataclass(frozen=True, kw_only=True)
class FoldTask:
    """All rows that methods learn from and predict.

    Attributes:
        source: the N rows as the student sees them: images or features.
        frozen: the same rows as frozen features: what label correctors read beside the label, and
            where CLID finds the data's structure. For rows of features, the source itself.
        annotations: of the N rows.
        make_student: makes the untrained classifier from torch's global generator; picklable.
    """

    source: BatchSource
    frozen: FeatureRows
    annotations: Annotations
    make_student: Callable[[], nn.Module]

    @property
    def images(self) -> bool:
        """Whether the student sees images."""
        return self.source is not self.frozen

    @property
    def classes(self) -> int:
        """K."""
        return self.annotations.classes

    @property
    def fold_count(self) -> int:
        return len(self.annotations.fold_numbers)

    @property
    def noisy_count(self) -> int:
        """About how many rows with a label a fold's trainer sees."""
        labelled = int((self.annotations.best_known >= 0).sum())
        return labelled * (self.fold_count - 1) // self.fold_count


class FoldRows:
    """What the trainer of one fold may see: the labels of the other folds' rows.

    Args:
        task: all rows.
        fold: the fold that is hidden.
        device: where batches are served.
        clean_apart: whether clean rows stay out of the noisy ones; else their verified labels
            stand in for the given ones.

    Attributes:
        visible_rows, clean_rows, noisy_rows, classes: see
            :class:`labelfix.predictors.bilevel.rows_in_view.RowsInView`.

    Raises:
        DegenerateLearningError: no row with a label is left, or too few clean ones where those
            steer: none, or of images one, since batch normalisation needs two.
    """

    def __init__(
        self, task: FoldTask, fold: int, device: torch.device, *, clean_apart: bool
    ) -> None:
        self.task, self.device, self.classes = task, device, task.classes
        self.source, self.frozen = task.source.to(device), task.frozen.to(device)
        seen = task.annotations.hiding(fold)
        labels = seen.best_known.astype(np.int64)
        self.visible_rows = torch.arange(len(labels))
        apart = seen.is_clean & clean_apart
        self.noisy_rows = torch.from_numpy(np.flatnonzero((labels >= 0) & ~apart))
        self.clean_rows = torch.from_numpy(np.flatnonzero(seen.is_clean))
        self.labels_N = torch.from_numpy(labels).to(device)
        given = np.where(seen.given >= 0, seen.given, labels).astype(np.int64)
        self.given_N = torch.from_numpy(given).to(device)
        if not len(self.noisy_rows):
            raise DegenerateLearningError(f"fold {fold}: no row with an unchecked label is left")
        if clean_apart and len(self.clean_rows) < (2 if task.images else 1):
            left = "only one" if len(self.clean_rows) else "no"
            raise DegenerateLearningError(f"fold {fold}: {left} checked row is left; check more")

    @property
    def features(self) -> Matrix:
        """``(N, D)``, the frozen ones."""
        return self.frozen.features

    def batch(self, rows: Tensor, generator: torch.Generator | None) -> Batch:
        """Rows by number (int64, CPU), augmented with a generator, else as they are."""
        if generator is None:
            return self._batch(rows, self.source.test_batch(rows))
        return self._batch(rows, self.source.train_batch(rows, generator))

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Batch:
        """The same, images under AutoAugment."""
        if not isinstance(self.source, ImageSource):
            return self.batch(rows, generator)
        from labelfix.nets.autoaugment import auto_augment  # torchvision takes seconds

        views = auto_augment(self.source.store[rows], generator, flip=self.source.flip)
        return self._batch(rows, views)

    def _batch(self, rows: Tensor, x: Tensor) -> Batch:
        there = rows.to(self.device)
        features = self.frozen.test_batch(rows) if self.task.images else x
        return Batch(x=x, features=features, labels=self.labels_N[there], given=self.given_N[there])

    @cached_property
    def noisy_labels(self) -> NDArray[np.int64]:
        """Codes of the noisy rows, on the CPU."""
        return self.labels_N.cpu().numpy()[self.noisy_rows.numpy()]


class FeatureRows:
    """Frozen features as nets take them (:meth:`Design.net_rows`); training sees noisy ones.

    Args:
        features: ``(N, D)``, or their design.
        noise: standard deviation of the noise, in units of a column's root mean square.
    """

    notices: tuple[str, ...] = ()

    def __init__(self, features: Matrix | Design, *, noise: float = 0.0) -> None:
        self.design, self.noise = Design.of(features), noise

    def __len__(self) -> int:
        return self.design.shape[0]

    @property
    def features(self) -> Matrix:
        """As they were measured."""
        return self.design.source

    @property
    def columns(self) -> int:
        return self.design.shape[1]

    def to(self, device: torch.device) -> FeatureRows:
        self.design = Design.of(self.design, device)
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        x_BD = self.test_batch(rows)
        if not self.noise:
            return x_BD
        noise_BD = torch.randn(x_BD.shape, generator=generator, device=x_BD.device)
        return x_BD + self.noise * noise_BD * (self.design.net_scale > 0)

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self.train_batch(rows, generator)

    def test_batch(self, rows: Tensor) -> Tensor:
        return self.design.net_rows(rows.numpy())

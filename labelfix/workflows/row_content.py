"""The images or features of some rows, as a net sees them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import inputs
from labelfix.errors import InputError
from labelfix.features.standardise import Scaling
from labelfix.nets.datasets import BatchSource, FeatureSource, ImageSource
from labelfix.nets.mirroring import may_mirror


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Rows as a net sees them.

    Attributes:
        ids: ``(N,)`` object array of str.
        values: images ``(N, H, W, 3)`` uint8, or features ``(N, D)``.
        keys: ``(N,)`` uint64 content keys.
        labels: ``(N,)`` int32 codes.
    """

    ids: NDArray[np.object_]
    values: NDArray[Any]
    keys: NDArray[np.uint64]
    labels: NDArray[np.int32]

    @property
    def source(self) -> BatchSource:
        return ImageSource(self.values) if self.values.ndim == 4 else FeatureSource(self.values)

    @cached_property
    def scaling(self) -> Scaling:
        """Of the columns of features."""
        return Scaling.of(self.values)

    def source_for(self, labels: NDArray[np.integer]) -> BatchSource:
        """The rows for training on these labels, ``(N,)``, -1 = none: mirrored if that is safe."""
        if self.values.ndim != 4:
            return FeatureSource(self.values, self.scaling)
        return ImageSource(self.values, mirrored=may_mirror(self.values, labels))

    def part(self, rows: NDArray[np.integer]) -> Samples:
        """Some of the rows, in memory."""
        return Samples(
            ids=self.ids[rows],
            values=np.asarray(self.values[rows]),
            keys=self.keys[rows],
            labels=self.labels[rows],
        )


def samples_of(
    table: inputs.SampleTable,
    scratch: Path,
    size: tuple[int, int] | None = None,
    compared_with: NDArray[Any] | None = None,
) -> Samples:
    """The rows of a table, with their images or features.

    Args:
        table: the rows.
        scratch: a file for decoded images.
        size: (H, W) that images are scaled to; None = their own.
        compared_with: features among which these rows are looked for by their keys.
    """
    if table.features is not None:
        keys = inputs.content_keys(table.features, like=compared_with)
        return Samples(ids=table.ids, values=table.features, keys=keys, labels=table.labels)
    pixels = inputs.decode(table, scratch, size=size)
    return Samples(ids=table.ids, values=pixels.images, keys=pixels.keys, labels=table.labels)


def samples_like(
    table: inputs.SampleTable,
    shape: tuple[int, ...],
    scratch: Path,
    file: Path,
    *,
    compared_with: NDArray[Any] | None = None,
) -> Samples:
    """Samples as the net knows them: images are scaled to its size, features must be as wide.

    Args:
        table: the rows.
        shape: of one sample that the net knows: (H, W, 3), or (D,).
        scratch: a file for decoded images.
        file: to blame.
        compared_with: features among which these rows are looked for by their keys.
    """
    size = (shape[0], shape[1]) if len(shape) == 3 else None
    samples = samples_of(table, scratch, size, compared_with)
    if samples.values.shape[1:] != shape:
        raise InputError(
            f"has features of width {samples.values.shape[1]}, the dataset's are {shape[0]} wide",
            hint="make both in the same way",
            file=file,
        )
    return samples

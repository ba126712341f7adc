"""DATA and CLEAN, read and checked: everything that later stages know of the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from labelfix.inputs.columns import Columns
from labelfix.inputs.encoded_images import EncodedImages
from labelfix.inputs.passthrough import other_schema, stream_other_columns
from labelfix.inputs.tables import Table


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """N rows of DATA, and M rows of CLEAN that are not rows of DATA.

    Args:
        table: DATA.
        columns: which of its columns are read.
        ids: (N,) object array of str, unique.
        class_names: the K classes of DATA; integers sorted numerically, text lexicographically.
        given: (N,) int32 class codes in 0..K-1; -1 = no label.
        clean: (N,) int32 right label of audited rows; -1 = not checked.
        features_from: the features' file, absolute, or their list column; None = images.
        features: (N, D) float16 or float32, finite; memory-mapped from an .npy of these types;
            None where images are to be embedded.
        feature_keys: (N + M,) uint64 content keys of the features, DATA's and then CLEAN's.
        clean_table: CLEAN, or None.
        clean_columns: which of CLEAN's columns are read.
        clean_rows: (M,) ascending positions in CLEAN of the rows that are not rows of DATA.
        clean_labels: (M,) int32 class codes in 0..K-1.
        clean_features: (M, D), or None where `features` is None.
        notices: what was taken automatically and what a person should know, one line each.
        fingerprint: hexadecimal hash of the content: bytes of the tables, sizes of image files,
            features; neither times nor paths.
    """

    table: Table
    columns: Columns
    ids: np.ndarray
    class_names: tuple[str, ...]
    given: np.ndarray
    clean: np.ndarray
    features_from: str | None
    features: np.ndarray | None
    feature_keys: np.ndarray | None
    clean_table: Table | None
    clean_columns: Columns
    clean_rows: np.ndarray
    clean_labels: np.ndarray
    clean_features: np.ndarray | None
    notices: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def source(self) -> Path:
        """DATA."""
        return self.table.path

    @property
    def root(self) -> Path:
        """The folder that relative image paths in DATA are relative to."""
        return self.table.root

    @property
    def image_column(self) -> str | None:
        """The image column of DATA; None where there are no images."""
        return self.columns.image

    @property
    def image_parts(self) -> tuple[EncodedImages, ...]:
        """The N images of DATA, then the M of CLEAN; beside features only DATA's, if there are any.

        Empty where there are no images.
        """
        if self.columns.image is None:
            return ()
        ours = EncodedImages(table=self.table, column=self.columns.image)
        theirs = self.clean_columns.image
        if self.clean_table is None or theirs is None or self.features is not None:
            return (ours,)
        return ours, EncodedImages(table=self.clean_table, column=theirs, rows=self.clean_rows)

    def encoded_images(self) -> Iterator[bytes | Path]:
        """Yields the images of `image_parts`, encoded: bytes, or the path of a file."""
        for part in self.image_parts:
            yield from part

    @property
    def other_schema(self) -> pa.Schema:
        """Schema of `other_columns`."""
        return other_schema(self.table, self.columns)

    def other_columns(self) -> Iterator[pa.RecordBatch]:
        """Yields every column of DATA but label and id, untouched, in row order, in batches.

        Parquet is streamed, so bytes of images larger than memory pass. Yields nothing where there
        are no other columns.
        """
        yield from stream_other_columns(self.table, self.columns)

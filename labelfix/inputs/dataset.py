"""DATA and CLEAN, read and checked: everything that later stages know of the input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from labelfix.inputs.clean_rows import CleanRows
from labelfix.inputs.columns import Columns
from labelfix.inputs.encoded_images import EncodedImages
from labelfix.inputs.passthrough import other_schema, stream_other_columns
from labelfix.inputs.tables import Table


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """N rows of DATA, and M checked rows beside them that are not rows of DATA.

    Args:
        table: DATA.
        columns: which of its columns are read.
        ids: (N,) object array of str, unique.
        class_names: the K classes of DATA; integers sorted numerically, text lexicographically.
        given: (N,) int32 class codes in 0..K-1; -1 = no label.
        clean_rows: the clean sets: what people answered about the N rows, and the M rows.
        features_from: the features' file, absolute, or their list column; None = images.
        features: (N, D) float16 or float32, finite; memory-mapped from an .npy of these types;
            None where images are to be embedded.
        feature_keys: (N + M,) uint64 content keys of the features, DATA's and then the M rows'.
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
    clean_rows: CleanRows
    features_from: str | None
    features: np.ndarray | None
    feature_keys: np.ndarray | None
    clean_features: np.ndarray | None
    notices: tuple[str, ...]
    fingerprint: str

    @property
    def clean(self) -> np.ndarray:
        """(N,) int32 right label of the rows that a person checked; -1 = not known."""
        answers = self.clean_rows.answers
        return np.where(answers >= 0, answers, -1).astype(np.int32)

    @property
    def answers(self) -> np.ndarray:
        """(N,) int32 what people answered: right labels, or values of `Answer`."""
        return self.clean_rows.answers

    @property
    def drawn(self) -> np.ndarray:
        """(N,) int8 values of `Drawn`: how the rows with an answer were chosen."""
        return self.clean_rows.drawn

    @property
    def clean_labels(self) -> np.ndarray:
        """(M,) int32 right labels of the rows beside DATA."""
        return self.clean_rows.labels

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
        """The N images of DATA, then the M beside them; beside features only DATA's, if any.

        Empty where there are no images.
        """
        if self.columns.image is None:
            return ()
        ours = EncodedImages(table=self.table, column=self.columns.image)
        if self.features is not None:
            return (ours,)
        theirs = (
            EncodedImages(table=clean.table, column=clean.columns.image, rows=places)
            for clean, places in self.clean_rows.parts()
            if clean.columns.image is not None
        )
        return ours, *theirs

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

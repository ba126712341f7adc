"""What a labels.parquet without metadata means, as another tool may write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from labelfix.contract.kinds import texts
from labelfix.contract.labels import Labels
from labelfix.errors import InputError


def class_names(table: pa.Table, path: Path) -> tuple[str, ...]:
    """The sorted distinct labels, given ones included.

    Raises:
        InputError: fewer than two.
    """
    names: set[str] = set()
    for column in {"label", "given_label"} & set(table.column_names):
        names |= set(pc.drop_null(pc.unique(texts(table[column]))).to_pylist())
    if len(names) < 2:
        raise InputError(
            f"names {len(names)} classes",
            hint="give labels of two or more",
            file=path,
            column="label",
        )
    return tuple(sorted(names))


def require_order(labels: Labels, path: Path) -> None:
    """Soft labels must stand in the sorted order of the class names.

    Raises:
        InputError: they speak against the labels, so they stand in another order.
    """
    held = labels.soft_label[np.arange(len(labels)), labels.label]
    if held.mean() < 1 / len(labels.class_names):
        raise InputError(
            "speaks against column 'label': its classes seem to stand in another order",
            hint="sort them by class name, or put class_names into the file's metadata",
            file=path,
            column="soft_label",
        )

"""What a labels.parquet means that leaves columns or metadata out, as another tool may write it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from labelfix.contract.schema import DECISIONS, Labels
from labelfix.errors import InputError


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, spelled as purify spells it: True for a boolean, 17 for 17.0."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        with suppress(pa.ArrowInvalid):  # some are not whole: then they stay as they are
            column = column.cast(pa.int64())
    return column.cast(pa.string())


def class_names(table: pa.Table, path: Path) -> tuple[str, ...]:
    """Without metadata: the sorted distinct labels, given ones included.

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


def soft_label(label: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """The label alone, one-hot."""
    return np.eye(classes, dtype=np.float32)[label.clip(0)]


def weight(label: NDArray[np.int32], soft_NK: NDArray[np.float32]) -> NDArray[np.float32]:
    """The posterior of the label above chance, as the schema has it; 1 for one-hot labels."""
    chance = 1 / soft_NK.shape[1]
    held = soft_NK[np.arange(len(label)), label.clip(0)].astype(np.float64)
    return np.clip((held - chance) / (1 - chance), 0, 1).astype(np.float32)


def decision(label: NDArray[np.int32], given: NDArray[np.int32] | None) -> NDArray[np.int8]:
    """keep, correct or fill, by what was given; keep where that is not told."""
    if given is None:
        return np.full(len(label), DECISIONS.index("keep"), np.int8)
    kept = np.where(given == label, DECISIONS.index("keep"), DECISIONS.index("correct"))
    return np.where(given < 0, DECISIONS.index("fill"), kept).astype(np.int8)


def review_rank(weight_N: NDArray[np.float32]) -> NDArray[np.int32]:
    """By rising weight."""
    ranks = np.empty(len(weight_N), np.int32)
    ranks[np.argsort(weight_N, kind="stable")] = np.arange(1, len(ranks) + 1, dtype=np.int32)
    return ranks


def require_order(labels: Labels, path: Path) -> None:
    """Without metadata, soft labels must stand in the sorted order of the class names.

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

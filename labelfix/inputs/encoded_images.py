"""Encoded images where they lie: files by path, or bytes in a table, in row order."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_encoded, is_text
from labelfix.inputs.file_names import find_file
from labelfix.inputs.messages import counted
from labelfix.inputs.tables import Table


@dataclass(frozen=True, kw_only=True)
class EncodedImages:
    """The images of some rows of a table; iterating yields bytes or a Path, one a row.

    Args:
        table: the table.
        column: its image column: paths relative to `table.root`, bytes, or `{bytes, path}`.
        rows: (n,) ascending row positions; None = all rows.
    """

    table: Table
    column: str
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return self.table.rows if self.rows is None else len(self.rows)

    def __iter__(self) -> Iterator[bytes | Path]:
        start = 0
        for batch in self.table.batches([self.column]):
            values = _chosen(batch.column(0), start, self.rows)
            yield from (self._encoded(value) for value in values.to_pylist())
            start += batch.num_rows

    def row(self, index: int) -> int:
        """Returns the row number, from 1, of the image at `index`."""
        return index + 1 if self.rows is None else int(self.rows[index]) + 1

    @cached_property
    def paths(self) -> list[str] | None:
        """The paths as the table writes them; None where the column holds bytes."""
        if not is_text(self.table.schema.field(self.column).type):
            return None
        values = self.table.column(self.column).cast(pa.string())
        return (values if self.rows is None else values.take(pa.array(self.rows))).to_pylist()

    def _encoded(self, value: object) -> bytes | Path:
        if isinstance(value, dict):
            value = value["bytes"] if value["bytes"] is not None else value["path"]
        if isinstance(value, str):
            return Path(find_file(str(self.table.root), value))
        return value if isinstance(value, bytes) else b""


def _chosen(values: pa.Array, start: int, rows: np.ndarray | None) -> pa.Array:
    if rows is None:
        return values
    low, high = np.searchsorted(rows, [start, start + len(values)])
    return values.take(pa.array(rows[low:high] - start))


def check_images(images: EncodedImages) -> np.ndarray:
    """Checks that every image is there, without opening it; returns file sizes.

    Returns:
        (n,) int64 bytes a file; empty where the images lie in the table.

    Raises:
        InputError: the column holds no images, or a file is missing, empty, a folder or an address.
    """
    kind = images.table.schema.field(images.column).type
    if not (is_text(kind) or is_encoded(kind)):
        raise InputError(
            f"holds {kind}, not images",
            hint="--image-column takes a column of paths, bytes or {bytes, path}",
            file=images.table.path,
            column=images.column,
        )
    if images.paths is None:
        return np.empty(0, dtype=np.int64)
    root = str(images.table.root)
    sizes = np.array([_size(root, path) for path in images.paths], dtype=np.int64)
    broken = np.flatnonzero(sizes <= 0)
    if len(broken):
        raise _explain(images, int(broken[0]), len(broken))
    return sizes


def _size(root: str, path: str | None) -> int:
    """Returns the size in bytes of a file; -1 where there is none."""
    try:
        status = os.stat(find_file(root, path or ""))
    except (OSError, ValueError):
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _explain(images: EncodedImages, index: int, number: int) -> InputError:
    path = images.paths[index] if images.paths else None
    where = Path(find_file(str(images.table.root), path or ""))
    hint = f"paths are relative to {images.table.root}"
    if path is None:
        problem, hint = "has no image", "give an image in every row, or pass --features"
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path):
        problem, hint = f"'{path}' is an address", "download the images and write their paths"
    elif where.is_dir():
        problem, hint = f"'{path}' is a folder, not an image", "write the path of one image"
    elif where.is_file():
        problem, hint = f"image '{path}' is empty", "copy it again, or remove the row"
    else:
        problem = f"image '{path}' does not exist"
        hint += ", and written with forward slashes" if "\\" in path else ""
    several = f", nor are {counted(number - 1, 'more image')} usable" if number > 1 else ""
    return InputError(
        problem + several,
        hint=hint,
        file=images.table.path,
        row=images.row(index),
        column=images.column,
    )

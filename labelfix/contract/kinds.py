"""How the values of a column lie in Parquet: NumPy arrays to Arrow, and back with checks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from labelfix.errors import InputError

REWRITE = "write the file again with labelfix purify"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A column of a file, for error messages."""

    file: Path | None
    column: str

    def error(self, problem: str, row: int | None = None) -> InputError:
        return InputError(problem, hint=REWRITE, file=self.file, row=row, column=self.column)


class Kind(Protocol):
    """A kind of column; ``class_names`` are the K classes in the order of their codes."""

    def arrow_type(self, classes: int) -> pa.DataType:
        """The type in the file, for K classes."""
        ...

    def encode(self, values: NDArray[Any], class_names: tuple[str, ...]) -> pa.Array:
        """The array, rows first, as Arrow."""
        ...

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[Any]:
        """The column as an array; a missing value becomes None, -1, NaN or 0.

        Raises:
            InputError: values of another type, or none of the names.
        """
        ...


@dataclass(frozen=True)
class Text:
    """Text, ``(N,)`` object arrays of str."""

    def arrow_type(self, classes: int) -> pa.DataType:
        return pa.string()

    def encode(self, values: NDArray[np.object_], class_names: tuple[str, ...]) -> pa.Array:
        return pa.array(values, pa.string())

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[np.object_]:
        return texts(column).to_numpy(zero_copy_only=False).astype(object)


@dataclass(frozen=True)
class Category:
    """One of some names, ``(N,)`` codes, -1 = missing.

    Attributes:
        names: the names; None = the classes.
        dtype: of the codes.
    """

    names: tuple[str, ...] | None = None
    dtype: type[np.integer] = np.int32

    def arrow_type(self, classes: int) -> pa.DataType:
        return pa.dictionary(pa.int32(), pa.string())

    def encode(self, values: NDArray[np.integer], class_names: tuple[str, ...]) -> pa.Array:
        indices = pa.array(values.astype(np.int32), pa.int32(), mask=values < 0)
        names = self.names or class_names
        return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[np.integer]:
        names, found = self.names or class_names, texts(column)
        codes = pc.fill_null(pc.index_in(found, pa.array(names, pa.string())), -1).to_numpy()
        unknown = np.flatnonzero((codes < 0) & found.is_valid().to_numpy())
        if len(unknown):
            row = int(unknown[0])
            problem = f"'{found[row].as_py()}' is none of {', '.join(names[:10])}"
            raise place.error(problem, row + 1)
        return codes.astype(self.dtype)


@dataclass(frozen=True)
class Number:
    """float32, ``(N,)``, NaN = missing."""

    def arrow_type(self, classes: int) -> pa.DataType:
        return pa.float32()

    def encode(self, values: NDArray[np.float32], class_names: tuple[str, ...]) -> pa.Array:
        return pa.array(values, pa.float32(), mask=np.isnan(values))

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[np.float32]:
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise place.error(f"holds {column.type}")
        return column.to_numpy().astype(np.float32)


@dataclass(frozen=True)
class Count:
    """int32, ``(N,)``, 0 = missing."""

    def arrow_type(self, classes: int) -> pa.DataType:
        return pa.int32()

    def encode(self, values: NDArray[np.int32], class_names: tuple[str, ...]) -> pa.Array:
        return pa.array(values, pa.int32())

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[np.int32]:
        if not pa.types.is_integer(column.type):
            raise place.error(f"holds {column.type}")
        return pc.fill_null(column, 0).to_numpy().astype(np.int32)


@dataclass(frozen=True)
class Distribution:
    """A probability for each class, ``(N, K)`` float32."""

    def arrow_type(self, classes: int) -> pa.DataType:
        return pa.list_(pa.float32(), classes)

    def encode(self, values: NDArray[np.float32], class_names: tuple[str, ...]) -> pa.Array:
        flat = pa.array(values.ravel(), pa.float32())
        return pa.FixedSizeListArray.from_arrays(flat, len(class_names))

    def decode(
        self, column: pa.ChunkedArray, class_names: tuple[str, ...], place: Place
    ) -> NDArray[np.float32]:
        kind, classes = column.type, len(class_names)
        lists = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
        if not lists or not pa.types.is_floating(kind.value_type):
            raise place.error(f"holds {kind}")
        values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
        if len(values) != len(column) * classes:
            raise place.error(f"does not hold {classes} values a row, one a class")
        return values.reshape(len(column), classes).astype(np.float32)


def texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text, spelled as purify spells it: True for a boolean, 17 for 17.0."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, "True", "False")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        with suppress(pa.ArrowInvalid):  # some are not whole: then they stay as they are
            column = column.cast(pa.int64())
    return column.cast(pa.string())

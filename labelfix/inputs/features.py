"""Features in place of images: an .npy row by row, a Parquet keyed by id, or a list column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_list, is_number
from labelfix.inputs.columns import Columns, choose_columns
from labelfix.inputs.ids import as_ids, locate, refuse_duplicates
from labelfix.inputs.messages import counted, quoted
from labelfix.inputs.tables import Table, open_table

ARRAY_SUFFIXES = (".npy",)
_SHAPE = "features are one row of numbers a sample: N x D"


def read_array(path: Path, table: Table) -> np.ndarray:
    """Maps an .npy file of (N, D) numbers, row i for row i of the table.

    Returns:
        (N, D) float16 or float32, memory-mapped; other types are converted to float32 in memory.

    Raises:
        InputError: damaged, not N x D, not numbers, or of another length than the table.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        objects = "Python objects in dtype" in str(error)
        problem = "holds Python objects" if objects else "cannot be read as .npy"
        hint = "save it with numpy.save(path, array.astype('float32'))"
        raise InputError(problem, hint=hint, file=path) from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"holds {array.dtype}, not numbers", hint=_SHAPE, file=path)
    if array.ndim != 2 or array.shape[1] == 0:
        hint = f"{_SHAPE}; reshape it to ({len(array)}, -1)" if array.size > 1 else _SHAPE
        raise InputError(f"has the shape {array.shape}", hint=hint, file=path)
    if len(array) != table.rows:
        raise InputError(
            f"holds {counted(len(array), 'row')}, but {table.path} holds {table.rows:,}",
            hint="row i of the features must belong to row i of the table",
            file=path,
        )
    return array if _is_kept(array.dtype) else _to_float32(array)


def read_list_column(table: Table, column: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Reads a list column as (n, D) float16 or float32; `rows` (n,) chooses rows.

    Raises:
        InputError: the column holds no lists of numbers, a row is null, or the widths differ.
    """
    kind = table.schema.field(column).type
    if not is_list(kind) or not is_number(kind.value_type):
        raise InputError(
            f"holds {kind}, not lists of numbers",
            hint="--features takes an .npy file, a Parquet file keyed by id, or a list column",
            file=table.path,
            column=column,
        )
    parts: list[np.ndarray] = []
    start = 0
    for batch in table.batches([column]):
        width = parts[0].shape[1] if parts else None
        parts.append(_matrix(batch.column(0), start, width, table, column))
        start += batch.num_rows
    features = np.concatenate(parts)
    return features if rows is None else features[rows]


def read_keyed(path: Path, ids: np.ndarray, id_column: str | None) -> np.ndarray:
    """Reads the features of the given ids from a Parquet file (or another table) keyed by id.

    The file holds an id column and one list column or many columns of numbers. Its other ids are
    left alone.

    Args:
        path: the file.
        ids: (N,) object array of str.
        id_column: the name that is looked for first; else an id column is found by its name.

    Returns:
        (N, D) float16 or float32, in the order of `ids`.

    Raises:
        InputError: no id column, an id twice, an id that is not there, or no plain features.
    """
    table = open_table(path)
    key = _key_column(table, id_column)
    theirs = as_ids(table.column(key), table=table, column=key)
    refuse_duplicates(theirs, table=table, column=key)
    position = locate(ids, theirs)
    present = np.zeros(len(ids), dtype=bool)
    present[position[position >= 0]] = True
    absent = np.flatnonzero(~present)
    if len(absent):
        raise InputError(
            f"has no features for id '{ids[absent[0]]}' ({counted(len(absent), 'such id')})",
            hint=f"add the missing rows (its ids look like '{theirs[0]}')",
            file=path,
        )
    return _gather(table, key, position, len(ids))


def not_finite(file: Path, column: str | None, ids: np.ndarray) -> Callable[[int], InputError]:
    """Returns the maker of `content_keys`' error for the row at a position, named by its id."""

    def error(row: int) -> InputError:
        return InputError(
            f"features of id '{ids[row]}' (row {row + 1}) hold NaN or infinity",
            hint="correct or remove this row in the table and the features",
            file=file,
            column=column,
        )

    return error


def _key_column(table: Table, id_column: str | None) -> str:
    if id_column in table.names:
        return str(id_column)
    key = choose_columns(table, Columns(), labelled=False)[0].id
    if key is None:
        raise InputError(
            f"has no id column among {quoted(table.names)}",
            hint="add the ids as a column named 'id'",
            file=table.path,
        )
    return key


def _gather(table: Table, key: str, position: np.ndarray, rows: int) -> np.ndarray:
    """Streams the file into (rows, D), each of its rows to its position; -1 = not wanted."""
    others = [field for field in table.schema if field.name != key]
    lists = [field.name for field in others if is_list(field.type)]
    names = lists or [field.name for field in others if is_number(field.type)]
    if len(lists) > 1 or not names:
        problem = f"has the list columns {quoted(lists)}" if lists else "has no columns of numbers"
        hint = "keep the id, and one list column or columns of numbers"
        raise InputError(problem, hint=hint, file=table.path)
    features: np.ndarray | None = None
    start = 0
    for batch in table.batches(names):
        width = features.shape[1] if features is not None else None
        if lists:
            part = _matrix(batch.column(0), start, width, table, names[0])
        else:
            part = np.stack([_numbers(column) for column in batch.columns], axis=1)
        if features is None:
            features = np.empty((rows, part.shape[1]), dtype=part.dtype)
        to = position[start : start + len(part)]
        features[to[to >= 0]] = part[to >= 0]
        start += len(part)
    assert features is not None  # open_table refuses tables without rows
    return features


def _matrix(
    lists: pa.Array, start: int, width: int | None, table: Table, column: str
) -> np.ndarray:
    """Turns n lists of one width into (n, D)."""
    lengths = np.asarray(lists.value_lengths().fill_null(-1))
    width = int(lengths[0]) if width is None else width
    odd = np.flatnonzero((lengths != width) | (lengths < 1))
    if len(odd):
        length = lengths[odd[0]]
        raise InputError(
            "has no features"
            if length < 1
            else f"holds {length} features, but row 1 holds {width}",
            hint="every row needs the same number of features, at least one",
            file=table.path,
            row=start + int(odd[0]) + 1,
            column=column,
        )
    return _numbers(lists.flatten()).reshape(-1, width)


def _numbers(values: pa.Array) -> np.ndarray:
    """Turns a column of numbers into float16 or float32; null becomes NaN, which is refused."""
    return _narrowed(values.to_numpy(zero_copy_only=False))


def _is_kept(kind: np.dtype) -> bool:
    return kind in (np.dtype(np.float16), np.dtype(np.float32))


def _narrowed(values: np.ndarray) -> np.ndarray:
    if _is_kept(values.dtype):
        return values
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused
        return values.astype(np.float32)


def _to_float32(array: np.ndarray) -> np.ndarray:
    """Converts by pieces, so that no second copy in the wide type is held."""
    narrow = np.empty(array.shape, dtype=np.float32)
    for start in range(0, len(array), 65_536):
        narrow[start : start + 65_536] = _narrowed(array[start : start + 65_536])
    return narrow

"""Row ids: from the id column, else the image path, else the row number; and how they match."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import as_integers, is_decimal, is_text
from labelfix.inputs.columns import Columns
from labelfix.inputs.file_names import find_file
from labelfix.inputs.messages import counted
from labelfix.inputs.tables import Table

_HINT = (
    "ids are text or whole numbers: correct them, choose another column with --id-column, or "
    "rename this one"
)


class Origin(Enum):
    """Where ids come from."""

    COLUMN = "the id column"
    PATH = "the image path"
    NUMBER = "the row number, counted from 0"


@dataclass(frozen=True, kw_only=True)
class Ids:
    """The ids of one table.

    Args:
        values: (N,) object array of str; unique but in clean sets.
        origin: where they come from.
    """

    values: np.ndarray
    origin: Origin


def read_ids(table: Table, columns: Columns, *, unique: bool = True) -> Ids:
    """Reads the ids of a table.

    Args:
        table: the table.
        columns: its columns.
        unique: whether an id may stand once only.

    Raises:
        InputError: an id is missing or stands twice, or the id column holds no ids.
    """
    if columns.id is not None:
        values = as_ids(table.column(columns.id), table=table, column=columns.id)
        if unique:
            refuse_duplicates(values, table=table, column=columns.id)
        return Ids(values=values, origin=Origin.COLUMN)
    if columns.image is not None:
        paths = _paths(table, columns.image, unique)
        if paths is not None:
            return Ids(values=paths, origin=Origin.PATH)
    numbers = np.arange(table.rows).astype(str).astype(object)
    return Ids(values=numbers, origin=Origin.NUMBER)


def as_ids(values: pa.ChunkedArray, *, table: Table, column: str) -> np.ndarray:
    """Turns a column of text, integers or integral decimals into (N,) object array of str.

    Raises:
        InputError: another type, a decimal that is not whole, or an empty id.
    """
    if is_decimal(values.type):
        numbers = values
        values, broken = as_integers(numbers)
        if len(broken):
            raise InputError(
                f"{numbers[int(broken[0])].as_py()} is no id",
                hint=_HINT,
                file=table.path,
                row=int(broken[0]) + 1,
                column=column,
            )
    if not (is_text(values.type) or pa.types.is_integer(values.type)):
        raise InputError(
            f"holds {values.type}, not ids", hint=_HINT, file=table.path, column=column
        )
    text = values.cast(pa.string())
    holes = np.flatnonzero(pc.equal(pc.fill_null(text, ""), "").to_numpy())
    if len(holes):
        raise InputError(
            "has no id",
            hint="give every row an id, or choose another column with --id-column",
            file=table.path,
            row=int(holes[0]) + 1,
            column=column,
        )
    return np.asarray(text.to_numpy(zero_copy_only=False), dtype=object)


def refuse_duplicates(values: np.ndarray, *, table: Table, column: str) -> None:
    """Raises InputError where an id stands twice, with both rows."""
    later = np.flatnonzero(pd.Index(values, dtype=object).duplicated())
    if not len(later):
        return
    value = values[later[0]]
    first = int(np.flatnonzero(values == value)[0]) + 1
    raise InputError(
        f"id '{value}' stands in row {first} too ({counted(len(later), 'repeated row')} in all)",
        hint="remove the repeated rows, or choose a unique column with --id-column",
        file=table.path,
        row=int(later[0]) + 1,
        column=column,
    )


def locate(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the position of each wanted id in `ids`, int64; -1 = it is not there."""
    return pd.Index(ids, dtype=object).get_indexer(pd.Index(wanted, dtype=object))


def match_rows(
    data: Table, data_columns: Columns, data_ids: Ids, clean: Table, columns: Columns, ids: Ids
) -> np.ndarray:
    """Finds CLEAN's rows in DATA, by id column and by image file.

    A path in CLEAN means the file that it leads to, so that `train/cat/1.png` and `val/cat/1.png`
    stay two images though both tables write `cat/1.png`. Only where it leads nowhere from CLEAN's
    own folder is it taken as DATA wrote it.

    Returns:
        (C,) int64, row of DATA; -1 = not there.
    """
    found = np.full(clean.rows, -1, dtype=np.int64)
    if ids.origin is Origin.COLUMN:
        found = locate(data_ids.values, ids.values)
    theirs, ours = _files(clean, columns.image), _files(data, data_columns.image)
    open_rows = np.flatnonzero(found == -1)
    if theirs is None or ours is None or not len(open_rows):
        return found
    # A file may stand in several rows of DATA under ids of their own: the first is taken here,
    # the others are found by content.
    unique = pd.Series(np.arange(len(ours)), index=pd.Index(ours, dtype=object))
    unique = unique[~unique.index.duplicated()]
    wanted = pd.Index(theirs[open_rows], dtype=object)
    found[open_rows] = unique.reindex(wanted, fill_value=-1).to_numpy()
    if data_ids.origin is Origin.PATH and ids.origin is Origin.PATH:
        lost = [row for row in np.flatnonzero(found == -1) if not os.path.exists(theirs[row])]
        found[lost] = locate(data_ids.values, ids.values[lost])
    return found


def _paths(table: Table, column: str, unique: bool) -> np.ndarray | None:
    """Returns image paths as ids, where every row has one."""
    kind = table.schema.field(column).type
    if is_text(kind):
        if table.column(column).null_count:
            return None
        values = as_ids(table.column(column), table=table, column=column)
        if unique:
            refuse_duplicates(values, table=table, column=column)
        return values
    if not pa.types.is_struct(kind):
        return None
    paths = table.child(column, "path").cast(pa.string())
    if paths.null_count or pc.any(pc.equal(paths, "")).as_py():
        return None
    values = np.asarray(paths.to_numpy(zero_copy_only=False), dtype=object)
    repeated = unique and pd.Index(values, dtype=object).has_duplicates
    return None if repeated else values


def _files(table: Table, column: str | None) -> np.ndarray | None:
    """Returns (N,) absolute paths of the images; None where they are not files."""
    if column is None or not is_text(table.schema.field(column).type):
        return None
    root = os.path.abspath(table.root)
    paths = table.column(column).cast(pa.string()).to_pylist()
    return np.array([os.path.normpath(find_file(root, path or "")) for path in paths], object)

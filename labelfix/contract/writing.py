"""Writing labels.parquet: complete or absent, the same bytes for the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from labelfix.contract.labels import Labels
from labelfix.contract.schema import COLUMNS, KEY, SCHEMA_VERSION, Column, arrow_schema, free_names
from labelfix.errors import InputError

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 256 * 2**20


def write_labels(
    path: Path,
    labels: Labels,
    *,
    other_schema: pa.Schema | None = None,
    other_columns: Iterable[pa.RecordBatch] = (),
) -> None:
    """Write ``labels`` and the untouched columns; aside first, so a file is complete or absent.

    Args:
        path: the file; an old one is replaced.
        labels: the corrected dataset.
        other_schema, other_columns: DATA's other columns, in row order, in batches of any size; a
            name that labels.parquet needs becomes ``original_<name>``.

    Raises:
        InputError: the other columns have more or fewer rows than the labels.
    """
    file_metadata = {"schema_version": SCHEMA_VERSION, "class_names": labels.class_names}
    file_metadata |= labels.metadata
    text = json.dumps(file_metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    others = _renamed(other_schema or pa.schema([]))
    full = arrow_schema(len(labels.class_names), others).with_metadata({KEY: text.encode()})
    aside = path.with_name(f".{path.name}.partial")
    start = 0
    with pq.ParquetWriter(aside, full, compression="zstd") as writer:
        for group in _row_groups(other_columns, other_schema, len(labels)):
            rows = slice(start, start + len(group))
            _require_rows(rows.stop <= len(labels), len(labels))
            own = {column.name: _encoded(column, labels, rows) for column in COLUMNS}
            passing = dict(zip(others.names, group.columns, strict=True))
            writer.write_table(pa.table(own | passing, schema=full))
            start = rows.stop
    _require_rows(start == len(labels), len(labels))
    os.replace(aside, path)


def _renamed(others: pa.Schema) -> pa.Schema:
    """DATA's other columns under names that labels.parquet does not need for itself."""
    names = free_names(others.names)
    return pa.schema([field.with_name(names[field.name]) for field in others])


def _encoded(column: Column, labels: Labels, rows: slice) -> pa.Array:
    values = labels.column(column)
    if values is None:
        classes = len(labels.class_names)
        return pa.nulls(len(labels.label[rows]), column.kind.arrow_type(classes))
    return column.kind.encode(values[rows], labels.class_names)


def _require_rows(holds: bool, rows: int) -> None:
    if not holds:
        raise InputError(
            f"DATA no longer holds the {rows} rows that were read: it changed under way",
            hint="run the same command again",
        )


def _row_groups(
    batches: Iterable[pa.RecordBatch], other_schema: pa.Schema | None, rows: int
) -> Iterator[pa.Table | _NoColumns]:
    """The other columns gathered into row groups; bare row ranges where there are none."""
    if not other_schema:
        for start in range(0, rows, ROW_GROUP_ROWS):
            yield _NoColumns(min(ROW_GROUP_ROWS, rows - start))
        return
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        full = sum(len(b) for b in held) >= ROW_GROUP_ROWS
        if full or sum(b.nbytes for b in held) >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


@dataclass(frozen=True)
class _NoColumns:
    rows: int
    columns: tuple[()] = ()

    def __len__(self) -> int:
        return self.rows

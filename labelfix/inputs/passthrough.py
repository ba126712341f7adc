"""The columns that labelfix does not read pass through untouched."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from labelfix.inputs.columns import Columns
from labelfix.inputs.tables import Table


def other_names(table: Table, columns: Columns) -> list[str]:
    """Returns every column but label and id, in order."""
    return [name for name in table.names if name not in {columns.label, columns.id}]


def other_schema(table: Table, columns: Columns) -> pa.Schema:
    """Returns the schema of the passing columns, field metadata included, without the file's."""
    return pa.schema([table.schema.field(name) for name in other_names(table, columns)])


def stream_other_columns(table: Table, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yields the passing columns in row order, batch by batch; nothing where there are none."""
    schema = other_schema(table, columns)
    if not schema.names:
        return
    for batch in table.batches(schema.names):
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

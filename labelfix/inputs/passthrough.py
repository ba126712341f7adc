"""The columns that labelfix does not read pass through untouched, under names that are free."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from labelfix.inputs.columns import Columns
from labelfix.inputs.tables import Table

RESERVED = frozenset(
    {
        "id",
        "given_label",
        "label",
        "decision",
        "soft_label",
        "label_reliability",
        "pseudo_reliability",
        "clid",
        "weight",
        "review_rank",
    }
)


def other_names(table: Table, columns: Columns) -> dict[str, str]:
    """Maps every column but label and id to its name in the output."""
    names = [name for name in table.names if name not in {columns.label, columns.id}]
    taken = RESERVED | set(names)
    renamed = {}
    for name in names:
        free = name
        if name in RESERVED:
            free = f"original_{name}"
            while free in taken:
                free = f"original_{free}"
        renamed[name] = free
    return renamed


def other_schema(table: Table, columns: Columns) -> pa.Schema:
    """Returns the schema of the passing columns, field metadata included, without the file's."""
    names = other_names(table, columns)
    return pa.schema([table.schema.field(name).with_name(new) for name, new in names.items()])


def stream_other_columns(table: Table, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Yields the passing columns in row order, batch by batch; nothing where there are none."""
    names, schema = other_names(table, columns), other_schema(table, columns)
    if not names:
        return
    for batch in table.batches(list(names)):
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def renamed_notices(table: Table, columns: Columns) -> tuple[str, ...]:
    """Returns a line for each column whose name the output needs for itself."""
    return tuple(
        f"{table.title}: column '{name}' comes out as '{new}'"
        for name, new in other_names(table, columns).items()
        if name != new
    )

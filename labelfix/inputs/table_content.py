"""What a table holds, wherever it lies: columns by name, batches in row order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from labelfix.errors import InputError
from labelfix.inputs.messages import quoted


class TableContent(Protocol):
    """The rows of a table, N of them."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        ...

    @property
    def rows(self) -> int:
        """N."""
        ...

    def column(self, name: str) -> pa.ChunkedArray:
        """Reads one whole column, (N,)."""
        ...

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        """Reads one field of a struct column, (N,), without its other fields."""
        ...

    def spelled(self, name: str) -> pa.ChunkedArray | None:
        """A column of decimals as the file writes them, (N,) text; None = not known."""
        ...

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yields the named columns in that order, at most `rows` rows at a time, in row order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A table as its format's opener hands it over.

    Args:
        content: its rows.
        notices: what a person should know about how it was read, one line each.
    """

    content: TableContent
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class InMemory:
    """A table that is in memory or mapped into it.

    Args:
        table: its columns.
        spellings: columns of decimals as the file writes them, by name.
    """

    table: pa.Table
    spellings: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    @property
    def rows(self) -> int:
        return self.table.num_rows

    def column(self, name: str) -> pa.ChunkedArray:
        return self.table.column(name)

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        return pc.struct_field(self.table.column(name), child)

    def spelled(self, name: str) -> pa.ChunkedArray | None:
        return self.spellings.get(name)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        yield from self.table.select(list(names)).to_batches(max_chunksize=rows)


def one_schema(paths: Sequence[Path], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Returns the columns of a table of several files, as the first orders them.

    A column without a value in one file takes the type that it has in the others.

    Raises:
        InputError: a file has other columns than the first, or of types that do not go together.
    """
    first = schemas[0]
    if len(schemas) == 1:
        return first
    for path, schema in zip(paths, schemas, strict=True):
        unlike = sorted(set(schema.names) ^ set(first.names))
        if unlike:
            raise InputError(
                f"has other columns than {paths[0].name}: {quoted(unlike, 4)}",
                hint="files of one table need the same columns: move the others away",
                file=path,
            )
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"its files have columns of other types ({str(error).splitlines()[0]})",
            hint="write them again with the same types",
            file=paths[0].parent,
        ) from error


def join_tables(paths: Sequence[Path], tables: Sequence[pa.Table]) -> pa.Table:
    """Puts the tables of several files below each other; raises InputError as `one_schema`."""
    if len(tables) == 1:
        return tables[0]
    schema = one_schema(paths, [table.schema for table in tables])
    return pa.concat_tables([table.select(schema.names).cast(schema) for table in tables])

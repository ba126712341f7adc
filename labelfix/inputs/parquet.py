"""Parquet files as one table that stays on disk: read by column and by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labelfix.errors import InputError
from labelfix.inputs.table_content import Opened, one_schema

_COLUMN_ROWS = 16_384


@dataclass(frozen=True, kw_only=True)
class ParquetFiles:
    """The content of Parquet files, one after the other.

    Args:
        paths: the files, in row order.
        schema: names and types of the columns; a file may hold a column as another type.
        rows: of all files.
    """

    paths: tuple[Path, ...]
    schema: pa.Schema
    rows: int

    def column(self, name: str) -> pa.ChunkedArray:
        batches = list(self.batches([name], _COLUMN_ROWS))
        kind = self.schema.field(name).type
        return pa.chunked_array([batch.column(0) for batch in batches], type=kind)

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        parts: list[pa.Array] = []
        for path in self.paths:
            with pq.ParquetFile(path) as file:
                column = file.read(columns=[f"{name}.{child}"]).column(0)
                parts += pc.struct_field(column, child).chunks
        return pa.chunked_array(parts)

    def spelled(self, name: str) -> pa.ChunkedArray | None:
        return None

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """As the protocol says.

        Raises:
            InputError: a file is damaged.
        """
        wanted = pa.schema([self.schema.field(name) for name in names])
        for path in self.paths:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                        part = batch.select(list(names))
                        yield part if part.schema.equals(wanted) else part.cast(wanted)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(path, error) from error


def open_parquet(paths: Sequence[Path]) -> Opened:
    """Opens Parquet files as one table.

    Raises:
        InputError: a file is damaged, or has other columns than the first.
    """
    schemas: list[pa.Schema] = []
    rows = 0
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                rows += file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
    schema = one_schema(paths, schemas)
    return Opened(content=ParquetFiles(paths=tuple(paths), schema=schema, rows=rows))


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0].rstrip(".")
    return InputError(
        f"cannot be read as Parquet ({reason})",
        hint="write the file again, or give it the suffix of its real format",
        file=path,
    )

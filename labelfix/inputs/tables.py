"""One reader for every kind of table: columns by name, batches in order, never more than asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_encoded
from labelfix.inputs.image_folder import read_folder
from labelfix.inputs.messages import nearest, quoted
from labelfix.inputs.text_formats import read_delimited, read_json_lines

_FORMATS = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl), Parquet (.parquet) or a folder of classes"
_DELIMITED = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_JSON_LINES = {".jsonl", ".ndjson", ".json"}
_PARQUET = {".parquet", ".pq"}
TABLE_SUFFIXES = frozenset({*_DELIMITED, *_JSON_LINES, *_PARQUET})
_BATCH_ROWS, _HEAVY_BATCH_ROWS = 16_384, 256


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table on disk; Parquet stays there, everything else is in `memory`.

    Args:
        path: the file or folder.
        root: the folder that relative image paths are relative to.
        schema: names and types of all columns.
        rows: number of rows N, at least 1.
        memory: the whole table, or None for Parquet, which is read by column and by batch.
        notices: what a person should know about how it was read, one line each.
    """

    path: Path
    root: Path
    schema: pa.Schema
    rows: int
    memory: pa.Table | None
    notices: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Name of the file or folder, for notices."""
        return self.path.resolve().name

    @property
    def names(self) -> list[str]:
        """Names of all columns, in order."""
        return list(self.schema.names)

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder of class-named folders, with columns "image" and "label"."""
        return self.path.is_dir()

    @cached_property
    def digest(self) -> str | None:
        """Hash of the file's bytes, hexadecimal; None for a folder."""
        if self.is_folder:
            return None
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()

    def require(self, name: str, *, option: str) -> str:
        """Returns `name` if it is a column; otherwise raises InputError with the nearest name."""
        if name in self.schema.names:
            return name
        raise InputError(
            "there is no such column",
            hint=f"{nearest(name, self.names)}{option} takes one of {quoted(self.names, 30)}",
            file=self.path,
            column=name,
        )

    def column(self, name: str) -> pa.ChunkedArray:
        """Reads one whole column, (N,)."""
        if self.memory is not None:
            return self.memory.column(name)
        batches = list(self.batches([name]))
        field = self.schema.field(name)
        return pa.chunked_array([batch.column(0) for batch in batches], type=field.type)

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        """Reads one field of a struct column, (N,), without its other fields."""
        if self.memory is not None:
            return pc.struct_field(self.memory.column(name), child)
        with pq.ParquetFile(self.path) as file:
            return pc.struct_field(file.read(columns=[f"{name}.{child}"]).column(0), child)

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the named columns in that order, in batches that suit memory, in row order.

        Raises:
            InputError: the file is damaged.
        """
        fields = [self.schema.field(name) for name in names]
        heavy = any(_is_heavy(field.type) for field in fields)
        rows = _HEAVY_BATCH_ROWS if heavy else _BATCH_ROWS
        if self.memory is not None:
            yield from self.memory.select(names).to_batches(max_chunksize=rows)
            return
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=list(names)):
                    yield batch.select(names)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error


def open_table(path: str | Path) -> Table:
    """Opens a CSV, TSV, JSON lines or Parquet file, or a folder of class-named folders.

    Raises:
        InputError: it does not exist, is of another format, is damaged, or holds no rows.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InputError(
            "is an address, not a file", hint="download it first and give the local path", file=path
        )
    path = Path(path)
    if not path.exists():
        raise InputError("does not exist", hint=_hint_missing(path), file=path)
    table = _open_folder(path) if path.is_dir() else _open_file(path)
    repeated = {name for name in table.names if table.names.count(name) > 1}
    if repeated:
        raise InputError(
            "stands twice in the header",
            hint="rename one of the two columns",
            file=path,
            column=min(repeated),
        )
    if table.rows == 0:
        raise InputError("holds no rows", hint="give a table with labelled rows", file=path)
    return table


def _open_folder(path: Path) -> Table:
    memory, notices = read_folder(path)
    return _in_memory(path, path, memory, notices)


def _open_file(path: Path) -> Table:
    suffix = path.suffix.lower()
    if path.stat().st_size == 0:
        raise InputError("is an empty file", hint="give a table with labelled rows", file=path)
    if suffix in _DELIMITED:
        memory, notices = read_delimited(path, _DELIMITED[suffix])
        return _in_memory(path, path.parent, memory, notices)
    if suffix in _JSON_LINES:
        return _in_memory(path, path.parent, read_json_lines(path), ())
    if suffix in _PARQUET:
        return _open_parquet(path)
    raise InputError("is of no known format", hint=f"give {_FORMATS}", file=path)


def _in_memory(path: Path, root: Path, memory: pa.Table, notices: tuple[str, ...]) -> Table:
    return Table(
        path=path,
        root=root,
        schema=memory.schema,
        rows=memory.num_rows,
        memory=memory,
        notices=notices,
    )


def _open_parquet(path: Path) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error
    return Table(path=path, root=path.parent, schema=schema, rows=rows, memory=None)


def _damaged(path: Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0].rstrip(".")
    return InputError(
        f"cannot be read as Parquet ({reason})",
        hint="write the file again, or give it the suffix of its real format",
        file=path,
    )


def _hint_missing(path: Path) -> str:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"{nearest(path.name, siblings)}check the path (working folder: {Path.cwd()})"


def _is_heavy(kind: pa.DataType) -> bool:
    return is_encoded(kind) or pa.types.is_nested(kind)

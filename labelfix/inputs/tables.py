"""One reader for every kind of table: columns by name, batches in order, never more than asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_encoded
from labelfix.inputs.formats import format_of, listed_formats
from labelfix.inputs.image_folder import read_folder
from labelfix.inputs.messages import did_you_mean, quoted
from labelfix.inputs.shards import files_of_folder, files_of_pattern, is_pattern
from labelfix.inputs.table_content import InMemory, TableContent

_BATCH_ROWS, _HEAVY_BATCH_ROWS = 16_384, 256


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table on disk.

    Args:
        path: the file or folder.
        root: the folder that relative image paths are relative to.
        content: its rows, at least one.
        files: the files whose bytes are the table, in row order; none for a folder of images.
        notices: what a person should know about how it was read, one line each.
    """

    path: Path
    root: Path
    content: TableContent
    files: tuple[Path, ...]
    notices: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self.content.schema

    @property
    def rows(self) -> int:
        """Number of rows N."""
        return self.content.rows

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
        return not self.files

    @cached_property
    def digest(self) -> str | None:
        """Hash of the files' bytes, hexadecimal; None for a folder of images."""
        digests = [_digest(file) for file in self.files]
        if len(digests) < 2:
            return digests[0] if digests else None
        return hashlib.blake2b("".join(digests).encode()).hexdigest()

    def require(self, name: str, *, option: str) -> str:
        """Returns `name` if it is a column; otherwise raises InputError with the nearest name."""
        if name in self.schema.names:
            return name
        raise InputError(
            "there is no such column",
            hint=f"{did_you_mean(name, self.names)}{option} takes one of {quoted(self.names, 30)}",
            file=self.path,
            column=name,
        )

    def column(self, name: str) -> pa.ChunkedArray:
        """Reads one whole column, (N,)."""
        return self.content.column(name)

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        """Reads one field of a struct column, (N,), without its other fields."""
        return self.content.child(name, child)

    def spelled(self, name: str) -> pa.ChunkedArray | None:
        """A column of decimals as the file writes them, (N,) text; None = not known."""
        return self.content.spelled(name)

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields the named columns in that order, in batches that suit memory, in row order.

        Raises:
            InputError: the file is damaged.
        """
        heavy = any(_is_heavy(self.schema.field(name).type) for name in names)
        yield from self.content.batches(names, _HEAVY_BATCH_ROWS if heavy else _BATCH_ROWS)


def open_table(path: str | Path) -> Table:
    """Opens a file of any format in `FORMATS`, a folder or a pattern of such files, or a folder of
    class-named folders.

    Raises:
        InputError: it does not exist, is of another format, is damaged, or holds no rows.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InputError(
            "is an address, not a file", hint="download it first and give the local path", file=path
        )
    path = Path(path)
    if is_pattern(path):
        table = _open_files(path, files_of_pattern(path), path.parent)
    elif not path.exists():
        raise InputError("does not exist", hint=_hint_missing(path), file=path)
    elif path.is_dir():
        files = files_of_folder(path)
        table = _open_files(path, files, path) if files else _open_folder(path)
    else:
        table = _open_files(path, (path,), path.parent)
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
    return Table(path=path, root=path, content=InMemory(memory), files=(), notices=notices)


def _open_files(path: Path, files: tuple[Path, ...], root: Path) -> Table:
    for file in files:
        if file.stat().st_size == 0:
            raise InputError("is an empty file", hint="give a table with labelled rows", file=file)
    form = format_of(files[0])
    if form is None:
        hint = f"give {listed_formats()}, or a folder of classes"
        raise InputError("is of no known format", hint=hint, file=path)
    opened = form.open(files)
    notices = opened.notices
    if len(files) > 1 or files[0] != path:
        shown = f"{files[0].name} to {files[-1].name}" if len(files) > 1 else files[0].name
        notices = (f"{path.resolve().name}: read as one table: {shown}", *notices)
    return Table(path=path, root=root, content=opened.content, files=files, notices=notices)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _hint_missing(path: Path) -> str:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"{did_you_mean(path.name, siblings)}check the path (working folder: {Path.cwd()})"


def _is_heavy(kind: pa.DataType) -> bool:
    return is_encoded(kind) or pa.types.is_nested(kind)

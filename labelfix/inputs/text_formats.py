"""CSV, TSV and JSON lines; a column becomes numbers only where no character is lost by it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson

from labelfix.errors import InputError
from labelfix.inputs.table_content import InMemory, Opened, join_tables

MOST_CLASSES = 10_000
_HEAD = 2_000  # rows that tell whether a column has few values
_DISGUISES = {
    b"PAR1": ("is a Parquet file", "rename it to .parquet"),
    b"PK\x03\x04": ("is a zip or Excel file", "export the sheet as CSV (UTF-8)"),
    b"\x1f\x8b": ("is gzip-compressed", "unpack it with gunzip"),
    b"\xff\xfe": ("is UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("is UTF-16 text", "save it as UTF-8"),
}
# A sign, a leading zero or more digits than a double holds: 02139, +44, 12345678901234567890.
_LOST_AS_FLOAT = r"^\s*(\+|-?0[0-9]|-?[0-9]{16,})"


def open_delimited(paths: Sequence[Path], *, delimiter: str) -> Opened:
    """Reads CSV or TSV files as one table.

    Empty values are null. Columns of integers or decimals become numbers, except where that would
    change the text (leading zeros, plus signs, very long digits).

    Raises:
        InputError: binary content, another encoding than UTF-8, or a row of the wrong width.
    """
    read = [_read_delimited(path, delimiter) for path in paths]
    text = join_tables(paths, [text for text, _ in read])
    columns = [_narrow(column) for column in text.columns]
    notices = tuple(line for _, lines in read for line in lines)
    content = InMemory(pa.table(columns, names=text.column_names), _spellings(text, columns))
    return Opened(content=content, notices=notices[:1])


def open_json_lines(paths: Sequence[Path]) -> Opened:
    """Reads files of one JSON object a line as one table; dates stay text.

    Raises:
        InputError: not JSON lines, or a value changes its type between rows.
    """
    tables = [_read_json_lines(path) for path in paths]
    return Opened(content=InMemory(join_tables(paths, tables)))


def _read_delimited(path: Path, delimiter: str) -> tuple[pa.Table, tuple[str, ...]]:
    """Reads one file, every column as text; returns it and notices."""
    _refuse_disguises(path)
    header, delimiter, notices = _header(path, delimiter)
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        # One thread, because only then does Arrow say in which row a problem lies.
        read = pacsv.ReadOptions(use_threads=False, block_size=16 << 20)
        text = pacsv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _explain(path, error) from error
    _refuse_open_quote(path, text)
    return text, notices


def _read_json_lines(path: Path) -> pa.Table:
    _refuse_disguises(path)
    if _head(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        raise InputError(
            "is one JSON array, not JSON lines",
            hint="write one object a line (pandas: to_json(path, orient='records', lines=True))",
            file=path,
        )
    try:
        table = _parse_json(path, None)
        dates = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
        if dates:
            kept_as_text = pa.schema([(name, pa.string()) for name in dates])
            table = _parse_json(path, kept_as_text)
        table.validate(full=True)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _explain(path, error) from error
    return table


def _parse_json(path: Path, schema: pa.Schema | None) -> pa.Table:
    # One block: Arrow infers types from the first block only and refuses rows that straddle two.
    block = min(max(path.stat().st_size + 1, 1 << 20), (1 << 31) - 1)
    options = pajson.ParseOptions(explicit_schema=schema, newlines_in_values=False)
    read = pajson.ReadOptions(use_threads=False, block_size=block)
    return pajson.read_json(path, read_options=read, parse_options=options)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1 << 16)


def _refuse_disguises(path: Path) -> None:
    head = _head(path)
    for magic, (problem, hint) in _DISGUISES.items():
        if head.startswith(magic):
            raise InputError(problem, hint=hint, file=path)
    if b"\0" in head:
        raise InputError(
            "is a binary file, not a text table",
            hint="give a CSV, TSV, JSON lines or Parquet file with the matching suffix",
            file=path,
        )


def _header(path: Path, delimiter: str) -> tuple[list[str], str, tuple[str, ...]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter)
            header = next((row for row in rows if row), [])
    except UnicodeDecodeError as error:
        raise _explain(path, error) from error
    except csv.Error as error:
        raise InputError(f"has no readable header ({error})", hint=_PROPER_CSV, file=path) from None
    others = [other for other in ";\t," if other != delimiter]
    other = next((mark for mark in others if len(header) == 1 and mark in header[0]), None)
    if other is None:
        return header, delimiter, ()
    notice = f"{path.name}: read with {other!r} between the values"
    return next(csv.reader(header, delimiter=other)), other, (notice,)


def _refuse_open_quote(path: Path, text: pa.Table) -> None:
    """Arrow lets a quote that is never closed swallow the rest of the file without a word."""
    last = [str(column[-1].as_py()) for column in text.columns if len(column)]
    if not any("\n" in value or "\r" in value for value in last):
        return
    with path.open("rb") as file:
        quotes = sum(chunk.count(b'"') for chunk in iter(lambda: file.read(1 << 20), b""))
    if quotes % 2:
        raise InputError(
            "opens a quote that is never closed",
            hint="close it, or double a quote that belongs to the text",
            file=path,
            row=text.num_rows,
        )


def _narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turns text into int64 or float64 where the numbers say all that the text says."""
    if column.null_count == len(column):
        return column
    try:
        whole = column.cast(pa.int64())
        return whole if whole.cast(pa.string()).equals(column) else column
    except pa.ArrowInvalid:
        pass
    try:
        number = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return column
    return column if pc.any(pc.match_substring_regex(column, _LOST_AS_FLOAT)).as_py() else number


def _spellings(text: pa.Table, columns: list[pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
    """The text of decimals that may be class codes, of few values: 1.1 and 1.10 are two."""
    return {
        name: written.dictionary_encode()
        for name, written, read in zip(text.column_names, text.columns, columns, strict=True)
        if pa.types.is_floating(read.type)
        and len(written.slice(0, _HEAD).unique()) <= _HEAD / 2
        and len(written.unique()) <= MOST_CLASSES
    }


_PROPER_CSV = "write it as a proper CSV file, for instance with pandas' to_csv"


def _explain(path: Path, error: Exception) -> InputError:
    """Turns what Arrow says into the place, the problem and the hint."""
    text = str(error).splitlines()[0]
    kind = "JSON lines" if "json" in path.suffix or path.suffix == ".ndjson" else "CSV"
    if isinstance(error, UnicodeDecodeError) or re.search("utf-?8", text, re.IGNORECASE):
        hint = "save it as UTF-8 (on a command line: iconv -f latin-1 -t utf-8)"
        return InputError("is not UTF-8 text", hint=hint, file=path)
    ragged = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text)
    if ragged:
        line, expected, found = map(int, ragged.groups())
        return InputError(
            f"has {found} values where the header has {expected} columns",
            hint=f"correct line {line}: quote values that hold the delimiter",
            file=path,
            row=line - 1,
        )
    place = re.search(r" in row (\d+)$", text)
    reason = text.removeprefix("JSON parse error: ").removeprefix("CSV parse error: ")
    reason = re.sub(r"\.? in row \d+$", "", reason)  # counted from 0; said by `row` below
    hint = _PROPER_CSV if kind == "CSV" else "write one JSON object a line, each with the same keys"
    return InputError(
        f"cannot be read as {kind} ({reason.rstrip('.')})",
        hint=hint,
        file=path,
        row=int(place[1]) + 1 if place else None,
    )

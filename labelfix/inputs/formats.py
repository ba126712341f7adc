"""The formats of tables: a new one is an opener and an entry here, which help and messages read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labelfix.inputs.arrow_files import open_arrow
from labelfix.inputs.parquet import open_parquet
from labelfix.inputs.table_content import Opened
from labelfix.inputs.text_formats import open_delimited, open_json_lines


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """One format of tables.

    Args:
        title: its name in help and messages.
        suffixes: of its files, in lower case; the first is the usual one.
        open: opens the files of one table, in row order; raises InputError where they are broken.
    """

    title: str
    suffixes: tuple[str, ...]
    open: Callable[[Sequence[Path]], Opened]


FORMATS = (
    TableFormat(title="CSV", suffixes=(".csv",), open=partial(open_delimited, delimiter=",")),
    TableFormat(
        title="TSV", suffixes=(".tsv", ".tab"), open=partial(open_delimited, delimiter="\t")
    ),
    TableFormat(title="JSON lines", suffixes=(".jsonl", ".ndjson", ".json"), open=open_json_lines),
    TableFormat(title="Parquet", suffixes=(".parquet", ".pq"), open=open_parquet),
    TableFormat(title="Arrow", suffixes=(".arrow", ".feather"), open=open_arrow),
)


# What Hugging Face's `save_to_disk` writes beside the rows.
_NO_TABLES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def format_of(path: Path) -> TableFormat | None:
    """Returns the format that a file's suffix names; None = no known one, or a file of notes."""
    if path.name in _NO_TABLES:
        return None
    suffix = path.suffix.lower()
    return next((form for form in FORMATS if suffix in form.suffixes), None)


def listed_formats() -> str:
    """Returns the formats with their usual suffixes, as messages and help list them."""
    return ", ".join(f"{form.title} ({form.suffixes[0]})" for form in FORMATS)

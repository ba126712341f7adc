"""Arrow files, as Hugging Face's `save_to_disk` and pandas' `to_feather` write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from labelfix.errors import InputError
from labelfix.inputs.table_content import InMemory, Opened, join_tables


def open_arrow(paths: Sequence[Path]) -> Opened:
    """Maps Arrow files, streamed or with random access, as one table.

    Raises:
        InputError: a file is damaged, or has other columns than the first.
    """
    return Opened(content=InMemory(join_tables(paths, [_mapped(path) for path in paths])))


def _mapped(path: Path) -> pa.Table:
    source = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        source.seek(0)
    try:
        return pa.ipc.open_file(source).read_all()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"cannot be read as Arrow ({reason})",
            hint="write the file again, or give it the suffix of its real format",
            file=path,
        ) from error

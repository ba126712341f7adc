"""Reading labels.parquet, and holding every value against the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labelfix.contract import defaults
from labelfix.contract.kinds import REWRITE, Place
from labelfix.contract.labels import Labels, complete
from labelfix.contract.schema import BY_NAME, COLUMNS, KEY, REQUIRED, SCHEMA_VERSION
from labelfix.errors import InputError

READ_AGAIN = {  # what retrain takes from the metadata
    "source": ("data", "image_column", "features", "features_column"),
    "settings": ("backbone", "weights", "pretrain"),
    "fingerprints": ("rows",),
}


def read_labels(path: str | Path) -> Labels:
    """Read a labels.parquet and check it against the contract.

    A file that another tool wrote needs ``id`` and ``label`` only, plain strings will do, and no
    metadata. What it leaves out has the defaults of :data:`labelfix.contract.schema.COLUMNS`.

    Args:
        path: the file, or a purify output folder that holds one.

    Raises:
        InputError: the file is missing, is no such Parquet file, or breaks the contract.
    """
    path = Path(path)
    path = path / "labels.parquet" if path.is_dir() else path
    table, file_metadata = _open(path)
    class_names = tuple(file_metadata.get("class_names") or defaults.class_names(table, path))
    found = {}
    for name in table.column_names:
        column, stored = BY_NAME[name], table[name]
        if column.nullable and stored.null_count == len(stored):
            continue
        found[name] = column.kind.decode(stored, class_names, Place(file=path, column=name))
    own = ("schema_version", "class_names")
    metadata = {name: value for name, value in file_metadata.items() if name not in own}
    labels = complete(found, class_names, metadata)
    check(labels, path)
    if "class_names" not in file_metadata:
        defaults.require_order(labels, path)
    return labels


def check(labels: Labels, path: Path | None = None) -> None:
    """Check every value against its stated range.

    Raises:
        InputError: naming the first row that breaks the contract.
    """
    for column in COLUMNS:
        values = labels.column(column)
        if values is None:
            continue
        broken = np.flatnonzero(~column.holds(values))
        if len(broken):
            place = Place(file=path, column=column.name)
            raise place.error(f"breaks the contract: {column.range}", int(broken[0]) + 1)


def _open(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    hint = "give a labels.parquet or a folder that labelfix purify wrote"
    if not path.exists():
        raise InputError("there is no such file", hint=hint, file=path)
    try:
        present = pq.read_schema(path).names
        table = pq.read_table(path, columns=[name for name in BY_NAME if name in present])
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"cannot be read ({str(error).splitlines()[0]})", hint=hint, file=path
        ) from error
    text = (table.schema.metadata or {}).get(KEY)
    file_metadata = {} if text is None else _metadata_of(text, path)
    absent = [name for name in REQUIRED if name not in table.column_names]
    if absent:
        raise InputError(f"has no column '{absent[0]}'", hint=hint, file=path)
    return table, file_metadata


def _metadata_of(text: bytes, path: Path) -> dict[str, Any]:
    """The file's metadata, checked as far as it is read again."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and found.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"has schema version {found.get('schema_version')}, this labelfix reads "
            f"{SCHEMA_VERSION}",
            hint="use the labelfix that wrote it, or write it again",
            file=path,
        )
    file_metadata = found if isinstance(found, dict) else {}
    names = file_metadata.get("class_names")
    rules = {
        "class_names": isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names) >= 2,
        **{
            part: _holds_texts(file_metadata.get(part, {}), keys)
            for part, keys in READ_AGAIN.items()
        },
    }
    for part, holds in rules.items():
        if not holds:
            raise InputError(
                f"its metadata (key labelfix) is broken at {part}",
                hint=f"{REWRITE}, or leave the metadata out",
                file=path,
            )
    return file_metadata


def _holds_texts(part: Any, keys: tuple[str, ...]) -> bool:  # noqa: ANN401
    """Whether a part of the metadata holds text or null under these keys, as far as it has them."""
    return isinstance(part, dict) and all(isinstance(part.get(key), str | None) for key in keys)

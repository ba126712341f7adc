"""Reading labels.parquet, and holding every value against the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelfix.contract import defaults
from labelfix.contract.schema import (
    DECISIONS,
    KEY,
    MEANINGS,
    REQUIRED,
    SCHEMA_VERSION,
    SCORES,
    Labels,
)
from labelfix.errors import InputError

REWRITE = "write the file again with labelfix purify"
READ_AGAIN = {  # what retrain takes from the metadata
    "source": ("data", "image_column", "features"),
    "settings": ("backbone", "weights", "pretrain"),
    "fingerprints": ("rows",),
}


def read_labels(path: str | Path) -> Labels:
    """Read a labels.parquet and check it against the contract.

    A file that another tool wrote needs ``id`` and ``label`` only, plain strings will do, and no
    metadata. What it leaves out: ``labelfix.contract.defaults``.

    Args:
        path: the file, or a purify output folder that holds one.

    Raises:
        InputError: the file is missing, is no such Parquet file, or breaks the contract.
    """
    path = Path(path)
    path = path / "labels.parquet" if path.is_dir() else path
    table, file_metadata = _open(path)
    class_names = tuple(file_metadata.get("class_names") or defaults.class_names(table, path))
    has = set(table.column_names)
    label = _codes(table, "label", class_names, path)
    given = _codes(table, "given_label", class_names, path) if "given_label" in has else None
    soft = (
        _soft_labels(table, len(class_names), path)
        if "soft_label" in has
        else defaults.soft_label(label, len(class_names))
    )
    weight = _numbers(table, "weight", path) if "weight" in has else defaults.weight(label, soft)
    labels = Labels(
        ids=_strings(table, "id"),
        class_names=class_names,
        given=np.full_like(label, -1) if given is None else given,
        label=label,
        decision=(
            _codes(table, "decision", DECISIONS, path).astype(np.int8)
            if "decision" in has
            else defaults.decision(label, given)
        ),
        soft_label=soft,
        weight=weight,
        review_rank=_ranks(table, path) if "review_rank" in has else defaults.review_rank(weight),
        metadata={
            k: v for k, v in file_metadata.items() if k not in ("schema_version", "class_names")
        },
        **{name: _score(table, name, path) for name in SCORES if name in has},
    )
    check(labels, path)
    if "class_names" not in file_metadata:
        defaults.require_order(labels, path)
    return labels


def check(labels: Labels, path: Path | None = None) -> None:
    """Check every value against its stated range.

    Raises:
        InputError: naming the first row that breaks the contract.
    """
    rules = {
        "id": ~pd.isna(labels.ids) & ~_duplicated(labels.ids),
        "label": labels.label >= 0,
        "decision": labels.decision >= 0,
        "soft_label": _are_distributions(labels.soft_label),
        "weight": (labels.weight >= 0) & (labels.weight <= 1),
        "review_rank": _are_ranks(labels.review_rank),
    }
    for name in SCORES:
        score = getattr(labels, name)
        if score is not None:
            high = np.inf if name == "clid" else 1.0
            rules[name] = np.isnan(score) | ((score >= 0) & (score <= high))
    for name, holds in rules.items():
        if not holds.all():
            raise InputError(
                f"breaks the contract: {MEANINGS[name][1]}",
                hint=REWRITE,
                file=path,
                row=int(np.flatnonzero(~holds)[0]) + 1,
                column=name,
            )


def _open(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    hint = "give a labels.parquet or a folder that labelfix purify wrote"
    if not path.exists():
        raise InputError("there is no such file", hint=hint, file=path)
    try:
        present = pq.read_schema(path).names
        table = pq.read_table(path, columns=[name for name in MEANINGS if name in present])
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
        **{part: _is_told(file_metadata.get(part, {}), keys) for part, keys in READ_AGAIN.items()},
    }
    for part, holds in rules.items():
        if not holds:
            raise InputError(
                f"its metadata (key labelfix) is broken at {part}",
                hint=f"{REWRITE}, or leave the metadata out",
                file=path,
            )
    return file_metadata


def _is_told(part: Any, keys: tuple[str, ...]) -> bool:  # noqa: ANN401
    """Whether a part of the metadata holds text or null under these keys, as far as it has them."""
    return isinstance(part, dict) and all(isinstance(part.get(key), str | None) for key in keys)


def _strings(table: pa.Table, name: str) -> NDArray[np.object_]:
    return defaults.texts(table[name]).to_numpy(zero_copy_only=False).astype(object)


def _codes(table: pa.Table, name: str, names: tuple[str, ...], path: Path) -> NDArray[np.int32]:
    texts = defaults.texts(table[name])
    codes = pc.fill_null(pc.index_in(texts, pa.array(names, pa.string())), -1)
    found = codes.to_numpy().astype(np.int32)
    unknown = np.flatnonzero((found < 0) & texts.is_valid().to_numpy())
    if len(unknown):
        raise InputError(
            f"'{texts[int(unknown[0])].as_py()}' is none of {', '.join(names[:10])}",
            hint=REWRITE,
            file=path,
            row=int(unknown[0]) + 1,
            column=name,
        )
    return found


def _numbers(table: pa.Table, name: str, path: Path) -> NDArray[np.float32]:
    kind = table[name].type
    _require_type(pa.types.is_floating(kind) or pa.types.is_integer(kind), table, name, path)
    return table[name].to_numpy().astype(np.float32)


def _ranks(table: pa.Table, path: Path) -> NDArray[np.int32]:
    name = "review_rank"
    _require_type(pa.types.is_integer(table[name].type), table, name, path)
    return pc.fill_null(table[name], 0).to_numpy().astype(np.int32)


def _score(table: pa.Table, name: str, path: Path) -> NDArray[np.float32] | None:
    return None if table[name].null_count == len(table) else _numbers(table, name, path)


def _require_type(holds: bool, table: pa.Table, name: str, path: Path) -> None:
    if not holds:
        raise InputError(f"holds {table[name].type}", hint=REWRITE, file=path, column=name)


def _soft_labels(table: pa.Table, classes: int, path: Path) -> NDArray[np.float32]:
    kind = table["soft_label"].type
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)
    numeric = is_list and pa.types.is_floating(kind.value_type)
    _require_type(numeric, table, "soft_label", path)
    column = table["soft_label"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    if len(values) != len(table) * classes:
        raise InputError(
            f"does not hold {classes} values a row, one a class",
            hint=REWRITE,
            file=path,
            column="soft_label",
        )
    return values.reshape(len(table), classes).astype(np.float32)


def _duplicated(ids: NDArray[np.object_]) -> NDArray[np.bool_]:
    _, first = np.unique(ids.astype(str), return_index=True)
    duplicated = np.ones(len(ids), dtype=bool)
    duplicated[first] = False
    return duplicated


def _are_distributions(soft_NK: NDArray[np.float32]) -> NDArray[np.bool_]:
    inside = ((soft_NK >= 0) & (soft_NK <= 1)).all(1)
    return inside & (np.abs(soft_NK.sum(1, dtype=np.float64) - 1) <= 1e-4)


def _are_ranks(ranks: NDArray[np.int32]) -> NDArray[np.bool_]:
    inside = (ranks >= 1) & (ranks <= len(ranks))
    counts = np.bincount(np.where(inside, ranks, 0), minlength=len(ranks) + 1)
    return inside & (counts[np.where(inside, ranks, 0)] == 1)

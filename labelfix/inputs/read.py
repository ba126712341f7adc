"""read: the one pass over DATA and CLEAN that finds every mistake before hours of work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.clean_set import (
    CleanSet,
    check_left_images,
    load_left_features,
    match_clean,
    open_clean,
    require_keys,
)
from labelfix.inputs.columns import Columns
from labelfix.inputs.content_hash import content_keys
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.duplicates import match_content
from labelfix.inputs.features import not_finite
from labelfix.inputs.ids import Ids
from labelfix.inputs.labelled_table import (
    FeatureLocation,
    LabelledTable,
    find_features,
    ids_of,
    read_rows,
    require_images,
)
from labelfix.inputs.labels import align, check_classes, sort_classes
from labelfix.inputs.messages import counted
from labelfix.inputs.tables import open_table


def read(
    data: str | Path,
    clean: str | Path | None = None,
    *,
    label_column: str | None = None,
    image_column: str | None = None,
    id_column: str | None = None,
    features: str | Path | None = None,
) -> Dataset:
    """Reads and checks DATA and CLEAN; pixels are decoded later, by `decode`.

    Args:
        data: CSV, TSV, JSON lines or Parquet file, or a folder of class-named folders.
        clean: the same, of checked rows; None = nobody checked any.
        label_column: DATA's label column; looked for in CLEAN first. None = found by name.
        image_column: the column of paths (relative to the table's folder), bytes or structs.
        id_column: the column of unique ids; None = found by name, else image path or row number.
        features: an .npy file of N x D in DATA's order, a table keyed by id, or a list column.

    Raises:
        InputError: anything about these files that a person can mend.
    """
    table = open_table(data)
    source = find_features(features, table)
    column = source.column if source else None
    wanted = Columns(label=label_column, image=image_column, id=id_column, features=column)
    rows = read_rows(table, wanted)
    notices = check_classes(rows.labels, table=table, column=rows.label_column)
    class_names = sort_classes(rows.labels.names)
    given = align(rows.labels, class_names, table=table, column=rows.label_column)
    ids, origin = ids_of(rows)
    paths = rows  # ids and matches by path hold even where features make the files needless
    rows, sizes = require_images(rows, chosen=bool(image_column), optional=source is not None)
    beside = None
    if clean is not None:
        beside = match_clean(open_clean(clean, table), paths, ids, class_names)
    content = _read_content(rows, ids, beside, source, sizes)
    dataset = Dataset(
        table=table,
        columns=rows.columns,
        ids=ids.values,
        class_names=class_names,
        given=given,
        clean=beside.clean if beside else np.full(table.rows, -1, dtype=np.int32),
        features_from=source.name if source else None,
        features=content.features,
        feature_keys=content.keys,
        clean_table=beside.rows.table if beside else None,
        clean_columns=beside.rows.columns if beside else Columns(),
        clean_rows=beside.left if beside else np.empty(0, dtype=np.int64),
        clean_labels=beside.left_labels if beside else np.empty(0, dtype=np.int32),
        clean_features=content.clean_features,
        notices=(
            *rows.notices,
            *origin,
            *notices,
            *_unlabelled(rows, given),
            *(beside.notices if beside else ()),
        ),
        fingerprint=_fingerprint(rows, ids, class_names, given, beside, content),
    )
    return dataset if content.keys is None else match_content(dataset, content.keys)


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What a row is known by: features and their keys, or the sizes of image files."""

    features: np.ndarray | None = None
    clean_features: np.ndarray | None = None
    keys: np.ndarray | None = None
    sizes: np.ndarray


def _read_content(
    rows: LabelledTable,
    ids: Ids,
    clean: CleanSet | None,
    source: FeatureLocation | None,
    sizes: np.ndarray,
) -> _Content:
    left = clean is not None and len(clean.left) > 0
    if source is None:
        if clean is not None and left:
            sizes = np.concatenate([sizes, check_left_images(clean, rows)])
        return _Content(sizes=sizes)
    ours, theirs = _load_features(rows, ids, clean if left else None, source)
    file, where = source.file or rows.table.path, source.column
    keys = content_keys(ours, blame=not_finite(file, where, ids.values))
    if len(ours) > 1 and (keys == keys[0]).all():
        raise InputError(
            "every row has the same features",
            hint="give features that tell the rows apart",
            file=file,
            column=where,
        )
    if clean is not None and left:
        file = source.file or clean.rows.table.path
        blame = not_finite(file, where, clean.left_ids)
        keys = np.concatenate([keys, content_keys(theirs, like=ours, blame=blame)])
    return _Content(features=ours, clean_features=theirs, keys=keys, sizes=sizes)


def _load_features(
    rows: LabelledTable, ids: Ids, clean: CleanSet | None, source: FeatureLocation
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features of DATA, (N, D), and of CLEAN's other rows, (M, D)."""
    if clean is None:
        features = source.load(rows, ids.values)
        return features, features[:0]
    if source.column is None and not source.is_array:
        require_keys(clean, rows, ids)
        both = source.load(rows, np.concatenate([ids.values, clean.left_ids]))
        return both[: len(ids.values)], both[len(ids.values) :]
    features = source.load(rows, ids.values)
    theirs = load_left_features(clean, source, rows)
    if theirs.shape[1] != features.shape[1]:
        raise InputError(
            f"features are {theirs.shape[1]} wide, those of {rows.table.path} {features.shape[1]}",
            hint="make the features of both with the same model",
            file=clean.rows.table.path,
            column=source.column,
        )
    return features, theirs


def _unlabelled(rows: LabelledTable, given: np.ndarray) -> tuple[str, ...]:
    holes = int((given == -1).sum())
    if not holes:
        return ()
    return (f"{rows.table.title}: {counted(holes, 'row')} without a label will receive one",)


def _fingerprint(
    rows: LabelledTable,
    ids: Ids,
    class_names: tuple[str, ...],
    given: np.ndarray,
    clean: CleanSet | None,
    content: _Content,
) -> str:
    """Hashes all that the result depends on, under the columns that were chosen."""
    hasher = hashlib.blake2b(digest_size=16)
    parts: list[np.ndarray | None] = [given, content.sizes, content.keys]
    texts = [rows.table.digest or "", *class_names, *ids.values, repr(rows.columns)]
    if clean is not None:
        parts += [clean.clean, clean.left, clean.left_labels]
        texts += [clean.rows.table.digest or "", *clean.ids.values, repr(clean.rows.columns)]
    hasher.update("\0".join(texts).encode())
    for part in parts:
        if part is not None:
            hasher.update(f"{part.dtype}{part.shape}".encode())
            hasher.update(np.ascontiguousarray(part).data)
    return hasher.hexdigest()

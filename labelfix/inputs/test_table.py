"""Test tables and truth tables: labels in terms of classes that are already known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelfix.annotations import Answer
from labelfix.errors import InputError
from labelfix.inputs.columns import Columns, choose_columns
from labelfix.inputs.content_hash import content_keys
from labelfix.inputs.encoded_images import EncodedImages
from labelfix.inputs.features import not_finite
from labelfix.inputs.ids import Origin, locate, read_ids
from labelfix.inputs.known_classes import align
from labelfix.inputs.labelled_table import (
    LabelledTable,
    find_features,
    ids_of,
    label_place,
    require_images,
)
from labelfix.inputs.labels import (
    LabelColumn,
    counted_classes,
    encode,
    require_labels,
)
from labelfix.inputs.messages import counted
from labelfix.inputs.one_hot import with_one_hot_label
from labelfix.inputs.right_columns import choose_right_columns
from labelfix.inputs.tables import Table, open_table


@dataclass(frozen=True, kw_only=True)
class SampleTable:
    """A table whose every row has a label of known classes.

    Args:
        table: the table.
        columns: which of its columns are read.
        ids: (T,) object array of str, unique.
        labels: (T,) int32 class codes in 0..K-1.
        features: (T, D) float16 or float32, finite; None where there are images.
        notices: one line each.
    """

    table: Table
    columns: Columns
    ids: np.ndarray
    labels: np.ndarray
    features: np.ndarray | None
    notices: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_parts(self) -> tuple[EncodedImages, ...]:
        """The T images; empty where there are none."""
        if self.columns.image is None:
            return ()
        return (EncodedImages(table=self.table, column=self.columns.image),)

    def encoded_images(self) -> Iterator[bytes | Path]:
        """Yields T encoded images: bytes, or the path of a file; nothing where there are none."""
        for part in self.image_parts:
            yield from part


def read_labelled(
    path: str | Path,
    *,
    like: Sequence[str],
    wanted: Columns | None = None,
    usual: Columns | None = None,
    features: str | Path | None = None,
    root: Path | None = None,
) -> SampleTable:
    """Reads a test table in any of DATA's formats.

    Args:
        path: the table or folder.
        like: the K class names, in the order of the codes.
        wanted: its columns, where a person named them.
        usual: names of columns that are taken where the table has them, such as DATA's own. A
            column that is called like right labels (corrected_label, true_label, ...) comes first.
        features: an .npy file of T x D in its order, a table keyed by id, or a list column.
        root: the folder that relative image paths are relative to; None = the table's own.

    Raises:
        InputError: as `read`; also a row without a label, or with one that is not in `like`.
    """
    table = open_table(path)
    if root is not None:
        table = replace(table, root=root)
    source = find_features(features, table)
    chosen = wanted or Columns()
    if source is not None:
        chosen = replace(chosen, features=source.column)
    rows = _right_rows(table, chosen, usual, like)
    table = rows.table
    require_labels(rows.labels, table=table, column=rows.label_column)
    labels = align(rows.labels, like, table=table, column=rows.label_column)
    ids, origin = ids_of(rows)
    named = chosen.image is not None
    rows, _ = require_images(rows, chosen=named, optional=source is not None)
    loaded = None
    if source is not None:
        loaded = source.load(rows, ids.values)
        blame = not_finite(source.file or table.path, source.column, ids.values)
        content_keys(loaded, blame=blame)
    return SampleTable(
        table=table,
        columns=rows.columns,
        ids=ids.values,
        labels=labels,
        features=loaded,
        notices=(*rows.notices, *origin),
    )


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The right labels of some rows.

    Args:
        labels: (N,) int32 class codes in 0..K-1; `Answer.NONE` = a class that is none of the K.
        notices: one line each.
    """

    labels: np.ndarray
    notices: tuple[str, ...]


def read_truth(
    path: str | Path,
    *,
    ids: np.ndarray,
    like: Sequence[str],
    wanted: Columns | None = None,
    usual: Columns | None = None,
) -> Truth:
    """Reads the true labels of the given ids from a table keyed by id; images are not needed.

    Args:
        path: the table, or a folder of class-named folders with the same relative paths.
        ids: (N,) object array of str.
        like: the K class names; the truth may name others.
        wanted, usual: as for :func:`read_labelled`.

    Raises:
        InputError: an id has no row, or a row has no label.
    """
    rows = _right_rows(open_table(path), wanted or Columns(), usual, like)
    table = rows.table
    require_labels(rows.labels, table=table, column=rows.label_column)
    some = set(rows.labels.names) & set(like)  # where none is known, it is another column
    others = dict.fromkeys(rows.labels.names, int(Answer.NONE)) if some else None
    labels = align(rows.labels, like, table=table, column=rows.label_column, others=others)
    known = read_ids(table, rows.columns)
    theirs = known.values
    shared = min(len(theirs), len(ids))
    if known.origin is Origin.NUMBER and not np.array_equal(theirs[:shared], ids[:shared]):
        raise InputError(
            f"has no id column to find the dataset's rows by (their ids look like '{ids[0]}')",
            hint="add the ids as a column named 'id', or name their column with --id-column",
            file=table.path,
        )
    found = locate(theirs, ids)
    absent = np.flatnonzero(found < 0)
    if len(absent):
        raise InputError(
            f"has no row for id '{ids[absent[0]]}' ({counted(len(absent), 'such id')})",
            hint=f"add the missing rows (the table's ids look like '{theirs[0]}')",
            file=table.path,
        )
    right = labels[found]
    return Truth(labels=right, notices=(*rows.notices, *_strangers(table, right)))


def _right_rows(
    table: Table, wanted: Columns, usual: Columns | None, like: Sequence[str]
) -> LabelledTable:
    """Chooses the columns of a table of right labels and reads its labels."""
    table = with_one_hot_label(table, wanted)
    right = choose_right_columns(
        table, wanted, usual=usual or Columns(), class_names=like, verdicts=False
    )
    labels = encode(table, str(right.columns.label))
    taken = f"{table.title}: right labels from {label_place(table, right.columns)}"
    classes = counted_classes(labels.codes, labels.names)
    return LabelledTable(
        table=table,
        columns=right.columns,
        labels=labels,
        notices=(*table.notices, *right.notices, f"{taken}: {classes}"),
    )


def _strangers(table: Table, right: np.ndarray) -> list[str]:
    none = int((right == Answer.NONE).sum())
    if not none:
        return []
    rows = counted(none, "row")
    return [
        f"{table.title}: {rows} of classes that no given label has: no label of theirs is right"
    ]


def read_unlabelled(path: str | Path, *, features: str | Path | None = None) -> SampleTable:
    """Reads the images or features of a table; its labels, if any, are left alone.

    Args:
        path: the table, or a folder of images in folders.
        features: as for :func:`labelfix.inputs.read_labelled`.

    Returns:
        The rows, every label -1.

    Raises:
        InputError: neither images nor features, or they cannot be read.
    """
    table = open_table(path)
    source = find_features(features, table)
    wanted = Columns(features=source.column if source else None)
    columns, notices = choose_columns(table, wanted, labelled=False)
    none = LabelColumn(names=(), codes=np.full(table.rows, -1, np.int32))
    rows = LabelledTable(
        table=table, columns=columns, labels=none, notices=(*table.notices, *notices)
    )
    ids, origin = ids_of(rows)
    rows, _ = require_images(rows, chosen=False, optional=source is not None)
    loaded = None
    if source is not None:
        loaded = source.load(rows, ids.values)
        content_keys(loaded, blame=not_finite(source.file or table.path, source.column, ids.values))
    return SampleTable(
        table=table, columns=rows.columns, ids=ids.values, labels=none.codes, features=loaded,
        notices=(*rows.notices, *origin),
    )  # fmt: skip

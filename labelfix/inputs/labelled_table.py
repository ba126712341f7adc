"""The rows of one labelled table: what DATA, CLEAN, a test table and a truth table share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_list
from labelfix.inputs.columns import Columns, choose_columns
from labelfix.inputs.encoded_images import EncodedImages, check_images
from labelfix.inputs.features import ARRAY_SUFFIXES, read_array, read_keyed, read_list_column
from labelfix.inputs.formats import format_of
from labelfix.inputs.ids import Ids, read_ids
from labelfix.inputs.labels import LabelColumn, encode
from labelfix.inputs.messages import did_you_mean, quoted
from labelfix.inputs.one_hot import with_one_hot_label
from labelfix.inputs.shards import is_pattern
from labelfix.inputs.spellings import join_spellings
from labelfix.inputs.tables import Table


@dataclass(frozen=True, kw_only=True)
class LabelledTable:
    """One labelled table, opened; images and features still lie on disk.

    Args:
        table: the table.
        columns: its columns; `label` is always there.
        labels: its labels.
        notices: what was taken automatically, one line each.
    """

    table: Table
    columns: Columns
    labels: LabelColumn
    notices: tuple[str, ...]

    @property
    def label_column(self) -> str:
        """Name of the label column."""
        return str(self.columns.label)

    @property
    def label_place(self) -> str:
        """Where the labels stand, for notices."""
        return label_place(self.table, self.columns)


@dataclass(frozen=True, kw_only=True)
class FeatureLocation:
    """Where features come from: exactly one of a list column of the table, or a file."""

    column: str | None = None
    file: Path | None = None

    @property
    def name(self) -> str:
        """The column, or the file's absolute path."""
        return str(self.column) if self.file is None else str(self.file.resolve())

    @property
    def title(self) -> str:
        """The column or the file, for notices."""
        return f"column '{self.column}'" if self.file is None else self.file.name

    @property
    def is_array(self) -> bool:
        """Whether rows are matched by position, not by id."""
        return self.file is not None and self.file.suffix.lower() in ARRAY_SUFFIXES

    @property
    def is_keyed(self) -> bool:
        """Whether rows are matched by id."""
        return self.file is not None and not self.is_array

    def load(self, rows: LabelledTable, ids: np.ndarray) -> np.ndarray:
        """Reads (n, D) float16 or float32 features, n = len(ids), of the table's rows.

        Args:
            rows: the table.
            ids: (n,) ids; more than the table's rows only where the file is keyed by id.
        """
        if self.column is not None:
            return read_list_column(rows.table, self.column)
        assert self.file is not None
        if self.is_array:
            return read_array(self.file, rows.table)
        return read_keyed(self.file, ids, rows.columns.id)


def label_place(table: Table, columns: Columns) -> str:
    """Says where a table's labels stand: in a column, or in its folders' names."""
    return "the folders' names" if table.is_folder else f"column '{columns.label}'"


def read_rows(
    table: Table, wanted: Columns, *, decimal_classes: bool = False, join: bool = True
) -> LabelledTable:
    """Chooses the columns of a table and reads its labels.

    Args:
        table: the table.
        wanted: the columns that a person named.
        decimal_classes: whether decimals that look like a regression target are classes too.
        join: whether spellings that differ only by case or space are one class.
    """
    table = with_one_hot_label(table, wanted)
    columns, notices = choose_columns(table, wanted)
    labels = encode(table, str(columns.label), any_decimals=decimal_classes)
    lines: tuple[str, ...] = ()
    if join:
        labels, lines = join_spellings(labels, title=table.title)
    return LabelledTable(
        table=table, columns=columns, labels=labels, notices=(*table.notices, *notices, *lines)
    )


def find_features(features: str | Path | None, table: Table) -> FeatureLocation | None:
    """Tells a list column from a file; None where no features were named.

    Raises:
        InputError: neither a column of the table nor a file of a known format.
    """
    if features is None:
        return None
    if str(features) in table.names:
        return FeatureLocation(column=str(features))
    path = Path(features)
    if not path.exists() and not is_pattern(path):
        lists = [field.name for field in table.schema if is_list(field.type)]
        listed = f" (list columns of {table.title}: {quoted(lists)})" if lists else ""
        raise InputError(
            "is neither a file nor a column of the table",
            hint=f"{did_you_mean(str(features), table.names)}--features takes an .npy file, "
            f"a Parquet file keyed by id, or a list column{listed}",
            file=features,
        )
    one = path.is_file()
    if one and path.suffix.lower() not in ARRAY_SUFFIXES and format_of(path) is None:
        raise InputError(
            "is not a format for features",
            hint="save them as N x D with numpy.save, or as Parquet keyed by id",
            file=path,
        )
    return FeatureLocation(file=path)


def require_images(
    rows: LabelledTable, *, chosen: bool, optional: bool
) -> tuple[LabelledTable, np.ndarray]:
    """Checks that the images are there; returns the rows and the files' sizes.

    Args:
        rows: the table.
        chosen: whether the person named the image column.
        optional: whether features stand in for images; then a column that was only guessed and
            leads to no images is dropped, with a notice.

    Raises:
        InputError: images are missing, or there are neither images nor features.
    """
    table, column = rows.table, rows.columns.image
    if column is None:
        if optional:
            return rows, np.empty(0, dtype=np.int64)
        raise _no_evidence(table)
    try:
        return rows, check_images(EncodedImages(table=table, column=column))
    except InputError:
        if chosen or not optional:
            raise
    notice = f"{table.title}: column '{column}' leads to no images; the features stand alone"
    dropped = replace(rows, columns=replace(rows.columns, image=None))
    return replace(dropped, notices=(*rows.notices, notice)), np.empty(0, dtype=np.int64)


def ids_of(rows: LabelledTable) -> tuple[Ids, tuple[str, ...]]:
    """Reads the ids and says where they come from, unless an id column says it already."""
    ids = read_ids(rows.table, rows.columns)
    if rows.columns.id is not None:
        return ids, ()
    if rows.table.is_folder:
        return ids, (f"{rows.table.title}: rows and ids are the relative paths, sorted",)
    return ids, (f"{rows.table.title}: ids are {ids.origin.value}",)


def _no_evidence(table: Table) -> InputError:
    lists = [field.name for field in table.schema if is_list(field.type)]
    hint = f"--features {lists[0]}" if lists else "--features FILE (.npy, or Parquet keyed by id)"
    return InputError(
        "has no image column and no features were given",
        hint=f"pass {hint}, or --image-column among {quoted(table.names, 30)}",
        file=table.path,
    )

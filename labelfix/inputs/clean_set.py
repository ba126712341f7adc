"""CLEAN: which of its rows are audited rows of DATA, and what is known of the others."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.columns import Columns
from labelfix.inputs.encoded_images import EncodedImages, check_images
from labelfix.inputs.features import read_list_column
from labelfix.inputs.ids import Ids, Origin, locate, match_rows
from labelfix.inputs.labelled_table import FeatureLocation, LabelledTable, ids_of, read_rows
from labelfix.inputs.labels import align, check_cover, require_labels
from labelfix.inputs.messages import counted
from labelfix.inputs.tables import Table, open_table


@dataclass(frozen=True, kw_only=True)
class CleanSet:
    """CLEAN beside DATA.

    Args:
        rows: its table.
        ids: its C ids.
        clean: (N,) int32 right label of DATA's audited rows; -1 = not checked.
        left: (M,) ascending positions of its rows that are not rows of DATA.
        left_labels: (M,) int32 class codes.
        notices: one line each.
    """

    rows: LabelledTable
    ids: Ids
    clean: np.ndarray
    left: np.ndarray
    left_labels: np.ndarray
    notices: tuple[str, ...]

    @property
    def left_ids(self) -> np.ndarray:
        """(M,) ids of the rows that are not rows of DATA."""
        return self.ids.values[self.left]


def open_clean(path: str | os.PathLike[str], data: Table) -> Table:
    """Opens CLEAN; raises InputError where it is DATA itself, or a copy of it."""
    table = open_table(str(path))
    same = os.path.samefile(table.path, data.path)
    if same or (table.digest is not None and table.digest == data.digest):
        raise InputError(
            "the clean set is the dataset itself",
            hint="give rows whose labels a person checked: noisy labels cannot check themselves",
            file=table.path,
        )
    return table


def match_clean(
    table: Table, data: LabelledTable, data_ids: Ids, class_names: tuple[str, ...]
) -> CleanSet:
    """Reads CLEAN's labels and finds its rows in DATA, by id and by image file.

    Raises:
        InputError: a row without a label, an unknown label, a class without a checked row, or two
            rows that say different things of one row of DATA.
    """
    # DATA's column names are looked for first; a folder has its own.
    wanted = Columns() if table.is_folder else data.columns.only_in(table)
    rows = read_rows(table, wanted)
    column = rows.label_column
    require_labels(rows.labels, table=table, column=column)
    codes = align(rows.labels, class_names, table=table, column=column)
    check_cover(codes, class_names, table=table)
    ids, notices = ids_of(rows)
    found = match_rows(data.table, data.columns, data_ids, table, rows.columns, ids)
    clean = np.full(data.table.rows, -1, dtype=np.int32)
    audits = np.flatnonzero(found >= 0)
    clean[found[audits]] = codes[audits]
    _refuse_conflict(table, ids, found, codes, clean)
    left = np.flatnonzero(found < 0)
    audited = f"{table.title}: {counted(table.rows, 'checked row')}, {len(audits):,} of them "
    return CleanSet(
        rows=rows,
        ids=ids,
        clean=clean,
        left=left,
        left_labels=codes[left],
        notices=(*rows.notices, *notices, f"{audited}rows of {data.table.title}"),
    )


def load_left_features(clean: CleanSet, source: FeatureLocation, data: LabelledTable) -> np.ndarray:
    """Reads the features of CLEAN's rows that are not rows of DATA, (M, D), from its list column.

    Raises:
        InputError: the features hold nothing for these rows.
    """
    if source.column is not None and source.column in clean.rows.table.names:
        return read_list_column(clean.rows.table, source.column, clean.left)
    where = str(source.file) if source.is_array else f"{clean.rows.table.title}"
    raise _without_evidence(clean, data, f"{where} holds no features for it")


def require_keys(clean: CleanSet, data: LabelledTable, data_ids: Ids) -> None:
    """Checks that CLEAN's other rows have ids of their own to find features by."""
    if clean.ids.origin is Origin.NUMBER:
        raise _without_evidence(clean, data, "it has no id to find features by")
    twin = np.flatnonzero(locate(data_ids.values, clean.left_ids) >= 0)
    if len(twin):
        raise InputError(
            f"'{clean.left_ids[twin[0]]}' names a row of {data.table.path} too, of another image",
            hint="give both tables an id column that tells them apart",
            file=clean.rows.table.path,
            row=int(clean.left[twin[0]]) + 1,
        )


def check_left_images(clean: CleanSet, data: LabelledTable) -> np.ndarray:
    """Checks the images of CLEAN's rows that are not rows of DATA; returns their files' sizes."""
    column = clean.rows.columns.image
    if column is None:
        raise _without_evidence(clean, data, "it has no image")
    return check_images(EncodedImages(table=clean.rows.table, column=column, rows=clean.left))


def _refuse_conflict(
    table: Table, ids: Ids, found: np.ndarray, codes: np.ndarray, clean: np.ndarray
) -> None:
    audits = np.flatnonzero(found >= 0)
    wrong = audits[clean[found[audits]] != codes[audits]]
    if len(wrong):
        raise InputError(
            f"'{ids.values[wrong[0]]}' has another label here than in a later row",
            hint="keep one row for each checked sample",
            file=table.path,
            row=int(wrong[0]) + 1,
        )


def _without_evidence(clean: CleanSet, data: LabelledTable, lack: str) -> InputError:
    """The error for a CLEAN row that is in DATA under no id and has nothing of its own."""
    table, name = clean.rows.table, clean.left_ids[0]
    if clean.ids.origin is Origin.NUMBER:
        problem = f"the table has no id column to match it with {data.table.path}, and {lack}"
        hint = "add the ids of the checked rows as a column named 'id'"
    else:
        more = f" (as {counted(len(clean.left) - 1, 'more row')})" if len(clean.left) > 1 else ""
        problem = f"id '{name}' is not in {data.table.path}{more}, and {lack}"
        hint = "mend the ids, remove the rows, or give features (Parquet keyed by id) or images"
    return InputError(problem, hint=hint, file=table.path, row=int(clean.left[0]) + 1)

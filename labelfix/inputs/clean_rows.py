"""All clean sets together: one answer a row of DATA, and the checked rows that lie beside DATA."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from labelfix.annotations import Answer, Drawn
from labelfix.errors import InputError
from labelfix.inputs.answers import settle
from labelfix.inputs.clean_set import CleanSet, LabelledData
from labelfix.inputs.encoded_images import EncodedImages, check_images
from labelfix.inputs.features import read_list_column
from labelfix.inputs.ids import Origin, locate
from labelfix.inputs.labelled_table import FeatureLocation
from labelfix.inputs.messages import counted, quoted


@dataclass(frozen=True, kw_only=True)
class CleanRows:
    """What the clean sets say.

    Args:
        sets: the clean sets, in the order that they were named.
        answers: (N,) int32 class codes of the rows of DATA, or values of `Answer`.
        drawn: (N,) int8 values of `Drawn`, of the rows of DATA; `Drawn.CHOSEN` where no clean set
            names the row.
        rows: (M,) ascending positions, over all sets' rows one after the other, of the rows that
            are not rows of DATA and have a right label.
        labels: (M,) int32 class codes.
        notices: one line each.
    """

    sets: tuple[CleanSet, ...]
    answers: np.ndarray
    drawn: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    notices: tuple[str, ...]

    def parts(self) -> Iterator[tuple[CleanSet, np.ndarray]]:
        """Yields each set that has rows beside DATA, with their ascending positions in it."""
        start = 0
        for clean in self.sets:
            here = (self.rows >= start) & (self.rows < start + clean.table.rows)
            if here.any():
                yield clean, self.rows[here] - start
            start += clean.table.rows

    def place_of(self, beside: int) -> tuple[CleanSet, int]:
        """Returns the set of the checked row at this position among the M, and its row in it."""
        row = int(self.rows[beside])
        for clean in self.sets:
            if row < clean.table.rows:
                break
            row -= clean.table.rows
        return clean, row

    @property
    def drawn_beside(self) -> np.ndarray:
        """(M,) int8 values of `Drawn` of the rows beside DATA."""
        parts = [np.full(len(rows), clean.drawn, np.int8) for clean, rows in self.parts()]
        return np.concatenate([np.empty(0, np.int8), *parts])

    @property
    def ids(self) -> np.ndarray:
        """(M,) ids of the rows beside DATA; those of several sets may repeat."""
        parts = [clean.ids.values[rows] for clean, rows in self.parts()]
        return np.concatenate(parts) if parts else np.empty(0, dtype=object)


def add_up(sets: Sequence[CleanSet], data: LabelledData) -> CleanRows:
    """Adds up the clean sets; where the answers to one row differ, most of them count."""
    answers = np.concatenate([np.empty(0, np.int32), *(clean.answers for clean in sets)])
    found = np.concatenate([np.empty(0, np.int64), *(clean.found for clean in sets)])
    kind = np.concatenate(
        [np.empty(0, np.int8), *(np.full(len(c.found), c.drawn, np.int8) for c in sets)]
    )
    here = np.flatnonzero((found >= 0) & (answers != Answer.MISSING))
    settled = settle(found[here], answers[here], data.given)
    drawn = np.full(len(data.given), Drawn.CHOSEN, dtype=np.int8)
    np.maximum.at(drawn, found[here], kind[here])
    beside = np.flatnonzero((found < 0) & (answers >= 0))
    rows = CleanRows(
        sets=tuple(sets), answers=settled.answers, drawn=drawn, rows=beside,
        labels=answers[beside], notices=(),
    )  # fmt: skip
    lines = (*_disputed(settled.disputed, sets, data), *_missing_classes(rows, data))
    notices = [line for clean in sets for line in clean.notices]
    return CleanRows(**(vars(rows) | {"notices": (*notices, *lines)}))


def titles(sets: Sequence[CleanSet]) -> str:
    """Names the clean sets, for notices."""
    return ", ".join(clean.table.title for clean in sets)


def _disputed(rows: np.ndarray, sets: Sequence[CleanSet], data: LabelledData) -> list[str]:
    if not len(rows):
        return []
    return [
        f"{titles(sets)}: {counted(len(rows), 'checked row')} set aside: their answers differ and "
        f"none has a majority (ids {quoted([str(data.ids.values[row]) for row in rows], 4)})"
    ]


def _missing_classes(rows: CleanRows, data: LabelledData) -> list[str]:
    codes = np.concatenate([rows.answers, rows.labels])
    if not rows.sets or not (codes >= 0).any():
        return []
    present = np.bincount(codes[codes >= 0], minlength=len(data.class_names)) > 0
    absent = [name for name, here in zip(data.class_names, present, strict=True) if not here]
    if not absent:
        return []
    classes = counted(len(absent), "class")
    return [
        f"{titles(rows.sets)}: no checked row of {classes}, learned from given labels alone: "
        f"{quoted(absent)}"
    ]


def features_of(rows: CleanRows, source: FeatureLocation, data: LabelledData) -> list[np.ndarray]:
    """Reads the features of the rows beside DATA, (m, D) a set, from the sets' own list columns.

    Raises:
        InputError: the features hold nothing for a set's rows.
    """
    found = []
    for clean, places in rows.parts():
        if source.column is None or source.column not in clean.table.names:
            where = str(source.file) if source.is_array else clean.table.title
            raise _without_content(clean, places, data, f"{where} holds no features for it")
        found.append(read_list_column(clean.table, source.column, places))
    return found


def require_keys(rows: CleanRows, data: LabelledData) -> None:
    """Checks that the rows beside DATA have ids of their own to find features by."""
    for clean, places in rows.parts():
        if clean.ids.origin is Origin.NUMBER:
            raise _without_content(clean, places, data, "it has no id to find features by")
        ids = clean.ids.values[places]
        twin = np.flatnonzero(locate(data.ids.values, ids) >= 0)
        if len(twin):
            raise InputError(
                f"'{ids[twin[0]]}' names a row of {data.rows.table.path} too, of another image",
                hint="give both tables an id column that tells them apart",
                file=clean.table.path,
                row=int(places[twin[0]]) + 1,
            )


def check_images_of(rows: CleanRows, data: LabelledData) -> list[np.ndarray]:
    """Checks the images of the rows beside DATA; returns their files' sizes, an array a set."""
    sizes = []
    for clean, places in rows.parts():
        column = clean.columns.image
        if column is None:
            raise _without_content(clean, places, data, "it has no image")
        images = EncodedImages(table=clean.table, column=column, rows=places)
        sizes.append(check_images(images))
    return sizes


def _without_content(
    clean: CleanSet, places: np.ndarray, data: LabelledData, lack: str
) -> InputError:
    """The error for a checked row that is in DATA under no id and has nothing of its own."""
    title = data.rows.table.path
    if clean.ids.origin is Origin.NUMBER:
        problem = f"the table has no id column to match it with {title}, and {lack}"
        hint = "add the ids of the checked rows as a column named 'id'"
    else:
        more = f" (as {counted(len(places) - 1, 'more row')})" if len(places) > 1 else ""
        problem = f"id '{clean.ids.values[places[0]]}' is not in {title}{more}, and {lack}"
        hint = "correct the ids, remove the rows, or give features (Parquet keyed by id) or images"
    return InputError(problem, hint=hint, file=clean.table.path, row=int(places[0]) + 1)

"""One clean set: what people answered about its rows, and which of them are rows of DATA."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from labelfix.annotations import Answer, Drawn
from labelfix.errors import InputError
from labelfix.inputs.answers import (
    apply_decisions,
    apply_verdicts,
    read_answers,
)
from labelfix.inputs.columns import Columns
from labelfix.inputs.ids import Ids, match_rows, read_ids
from labelfix.inputs.labelled_table import LabelledTable, label_place
from labelfix.inputs.labels import counted_classes, encode
from labelfix.inputs.messages import counted
from labelfix.inputs.one_hot import with_one_hot_label
from labelfix.inputs.right_columns import (
    RightColumns,
    choose_right_columns,
    differ,
    same_classes,
)
from labelfix.inputs.tables import Table


@dataclass(frozen=True, kw_only=True)
class CleanSet:
    """One clean set beside DATA.

    Args:
        table: the table.
        columns: which of its columns are read.
        ids: its C ids; they may repeat.
        answers: (C,) int32 class codes, or values of `Answer`.
        found: (C,) int64 the row of DATA; -1 = none.
        drawn: how its rows were chosen.
        notices: one line each.
    """

    table: Table
    columns: Columns
    ids: Ids
    answers: np.ndarray
    found: np.ndarray
    drawn: Drawn
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """DATA as a clean set is compared with it.

    Args:
        rows: its table, with columns and labels as they stand there.
        ids: its N ids.
        given: (N,) int32 class codes, -1 = no label.
        class_names: the K classes.
    """

    rows: LabelledTable
    ids: Ids
    given: np.ndarray
    class_names: tuple[str, ...]


def read_clean_set(
    table: Table,
    data: LabelledData,
    *,
    wanted: Columns,
    drawn: Drawn = Drawn.UNKNOWN,
) -> CleanSet:
    """Reads the answers of a clean set, and finds its rows in DATA, by id and by image file.

    Args:
        table: the clean set, opened.
        data: DATA.
        wanted: its columns, where a person named them.
        drawn: how its rows were chosen.

    Raises:
        InputError: it is DATA itself or a copy, its columns are not plain, a label is no class, or
            its labels repeat the given ones while a column beside them differs.
    """
    table = with_one_hot_label(table, wanted)
    usual = Columns() if table.is_folder else data.rows.columns
    right = choose_right_columns(
        table, wanted, usual=usual, class_names=data.class_names, prefix="clean-"
    )
    _refuse_data_itself(table, right, data.rows)
    columns = right.columns
    ids = read_ids(table, columns, unique=False)
    found = match_rows(data.rows.table, data.rows.columns, data.ids, table, columns, ids)
    answers = _answers(table, right, found, data)
    if not right.chosen:
        _refuse_repetition(table, right, answers, found, data)
    notices = [*table.notices, *right.notices, *_notices_of(table, columns, answers, found, data)]
    if drawn is Drawn.UNKNOWN and _only_corrections(right, answers, found, data):
        drawn = Drawn.CHOSEN
        notices.append(
            f"{table.title}: column '{columns.label}' is filled only where it differs from the "
            "given label: its rows are taken as chosen, not as drawn at random"
        )
    return CleanSet(
        table=table, columns=columns, ids=ids, answers=answers, found=found, drawn=drawn,
        notices=tuple(notices),
    )  # fmt: skip


def _refuse_data_itself(table: Table, right: RightColumns, data: LabelledTable) -> None:
    """DATA may be its own clean set only by another column than its labels'."""
    same = os.path.realpath(table.path) == os.path.realpath(data.table.path)
    copied = table.digest is not None and table.digest == data.table.digest
    if (same or copied) and right.verdict is None and right.columns.label == data.columns.label:
        raise InputError(
            "the clean set is the dataset itself",
            hint="give rows whose labels a person checked: noisy labels cannot check themselves",
            file=table.path,
        )


def _answers(
    table: Table, right: RightColumns, found: np.ndarray, data: LabelledData
) -> np.ndarray:
    """(C,) int32 class codes, or values of `Answer`."""
    answers = np.full(table.rows, Answer.MISSING, dtype=np.int32)
    if right.columns.label is not None:
        labels = encode(table, right.columns.label)
        answers = read_answers(labels, data.class_names, table=table, column=right.columns.label)
    if right.verdict is not None:
        given = _given(found, data)
        questioned = given if right.corrected else np.where(found >= 0, given, answers)
        answers = apply_verdicts(
            answers, encode(table, right.verdict), questioned, corrected=right.corrected
        )
    if right.decision is not None:
        answers = apply_decisions(answers, encode(table, right.decision))
    return answers


def _given(found: np.ndarray, data: LabelledData) -> np.ndarray:
    """(C,) the given labels of the rows in DATA; -1 = none."""
    return np.where(found >= 0, data.given[found], -1).astype(np.int32)


def _refuse_repetition(
    table: Table, right: RightColumns, answers: np.ndarray, found: np.ndarray, data: LabelledData
) -> None:
    """Refuses labels that say nothing but the given ones, where a column beside them says more."""
    given = _given(found, data)
    both = (given >= 0) & (answers >= 0)
    label = right.columns.label
    if label is None or right.verdict or not both.any() or (given != answers)[both].any():
        return
    ours = encode(table, label)
    for name, theirs in same_classes(table, right, data.class_names).items():
        if differ(theirs, ours):
            raise InputError(
                f"column '{label}' repeats the given labels of {data.rows.table.title} in all "
                f"{counted(int(both.sum()), 'row')}, and column '{name}' differs from it",
                hint=f"choose the right labels with --clean-label-column {name} (or {label})",
                file=table.path,
            )


def _only_corrections(
    right: RightColumns, answers: np.ndarray, found: np.ndarray, data: LabelledData
) -> bool:
    """Whether labels stand in some rows only, and always differ from the given ones there."""
    silent = answers == Answer.MISSING
    given = _given(found, data)
    both = (given >= 0) & (answers >= 0)
    if right.verdict or right.decision or not silent.any() or not both.any():
        return False
    return not (given == answers)[both].any()


def _notices_of(
    table: Table, columns: Columns, answers: np.ndarray, found: np.ndarray, data: LabelledData
) -> list[str]:
    """What was taken, one line each."""
    lines = []
    answered = answers != Answer.MISSING
    audited = int((answered & (found >= 0)).sum())
    rows = counted(int(answered.sum()), "checked row")
    lines.append(f"{table.title}: {rows}, {audited:,} of them rows of {data.rows.table.title}")
    if columns.label is not None:
        classes = counted_classes(answers, data.class_names)
        lines.append(f"{table.title}: right labels from {label_place(table, columns)}: {classes}")
    words = {
        "of none of the classes": Answer.NONE,
        "whose given label is wrong, the right one unknown": Answer.WRONG,
        "unsure": Answer.UNSURE,
    }
    counts = {word: int((answers == code).sum()) for word, code in words.items()}
    listed = [f"{count:,} {word}" for word, count in counts.items() if count]
    if listed:
        lines.append(f"{table.title}: of the checked rows are {', '.join(listed)}")
    missing = int((~answered).sum())
    if missing:
        lines.append(
            f"{table.title}: {counted(missing, 'row')} without an answer count as not checked; "
            "write 'unsure' or 'none' where somebody looked and found no class"
        )
    return lines

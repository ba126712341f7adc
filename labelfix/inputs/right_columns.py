"""Which column of a clean, test or truth table holds the right label, and which one a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.answers import are_decisions, are_verdicts, folded, is_answer
from labelfix.inputs.columns import (
    Columns,
    choose_columns,
    free_columns,
    label_by_name,
    only_label,
)
from labelfix.inputs.known_classes import KnownClasses
from labelfix.inputs.labels import LabelColumn, labels_in
from labelfix.inputs.tables import Table

# Folded names, the most telling first. "clean" and the like may hold a verdict as well.
_CORRECTED = (
    "corrected label", "corrected", "correct label", "correction", "clean label", "true label",
    "right label", "gold label", "verified label", "reviewed label", "final label", "ground truth",
    "groundtruth", "gt label", "truth", "gold", "clean", "right", "correct", "verified", "true",
)  # fmt: skip
_GIVEN = (
    "given label", "noisy label", "old label", "original label", "previous label", "weak label",
    "given", "noisy",
)  # fmt: skip
_VERDICT = (
    "verdict", "verification label", "verification", "is correct", "label is correct",
    "label correct", "is right", "label ok", "label is right", "is valid", "is clean", "valid",
    "ok", "agree", "accepted", "clean", "right", "correct", "verified", "true",
)  # fmt: skip
_DECISION = ("decision", "answer", "status", "review status")


@dataclass(frozen=True, kw_only=True)
class RightColumns:
    """The columns of a table of right labels.

    Args:
        columns: label, image, id and features; `label` is None where verdicts stand alone.
        verdict: a column that says whether the given label is right; None = there is none.
        decision: a column that says whether the row was labelled; None = there is none.
        corrected: whether the label column's name says that it holds right labels, or a person
            named it; else it may be the given label.
        chosen: whether a person named it.
        notices: what was taken, one line each.
    """

    columns: Columns
    verdict: str | None = None
    decision: str | None = None
    corrected: bool = False
    chosen: bool = False
    notices: tuple[str, ...] = ()


def choose_right_columns(
    table: Table,
    wanted: Columns,
    *,
    usual: Columns,
    class_names: Sequence[str],
    prefix: str = "",
    verdicts: bool = True,
) -> RightColumns:
    """Finds the columns of a table of right labels.

    Args:
        table: the table.
        wanted: the columns that a person named for it.
        usual: the names that the run's own columns have: taken where the table has them.
        class_names: the K classes.
        prefix: of the options, for messages: "clean-" for `--clean-label-column`.
        verdicts: whether columns of verdicts and of decisions are looked for.

    Raises:
        InputError: a named column is missing; no column, or several that differ, may be it.
    """
    if table.is_folder:
        columns, notices = choose_columns(table, wanted, prefix=prefix)
        return RightColumns(columns=columns, corrected=True, chosen=True, notices=notices)
    others = usual.only_in(table)
    start = Columns(
        label=wanted.label,
        image=wanted.image or others.image,
        id=wanted.id or others.id,
        features=wanted.features or others.features,
    )
    chosen, notices = choose_columns(table, start, labelled=False, prefix=prefix)
    verdict = decision = None
    if verdicts:
        verdict = _named(table, chosen, _VERDICT, lambda found: _holds_verdicts(found, class_names))
        decision = _named(table, chosen, _DECISION, are_decisions)
    kinds = {"verdict": verdict, "decision": decision}
    notices += tuple(
        f"{table.title}: {kind}s from column '{name}'" for kind, name in kinds.items() if name
    )
    found = RightColumns(columns=chosen, verdict=verdict, decision=decision, notices=notices)
    if wanted.label is not None:
        return replace(found, corrected=True, chosen=True)
    corrected = _corrected(table, found, class_names, prefix)
    label = corrected or _plain(table, found, others.label, prefix)
    columns = replace(chosen, label=label)
    return replace(found, columns=columns, corrected=corrected is not None)


def same_classes(
    table: Table, columns: RightColumns, class_names: Sequence[str]
) -> dict[str, LabelColumn]:
    """Returns the other columns that hold nothing but classes of the dataset, by name."""
    taken = {columns.columns.label, columns.verdict, columns.decision}
    free = [name for name in free_columns(table, columns.columns) if name not in taken]
    found = {name: labels_in(table, name) for name in free}
    known = KnownClasses(class_names)
    return {
        name: labels
        for name, labels in found.items()
        if labels is not None and labels.names and known.hold_all(labels.names)
    }


def _named(
    table: Table,
    chosen: Columns,
    names: Sequence[str],
    fits: Callable[[LabelColumn], bool],
) -> str | None:
    """The first column of these folded names whose values fit."""
    for name in _in_order(table, chosen, names):
        labels = labels_in(table, name)
        if labels is not None and fits(labels):
            return name
    return None


def _in_order(table: Table, chosen: Columns, names: Sequence[str]) -> list[str]:
    free = {folded(name): name for name in reversed(free_columns(table, chosen))}
    return [free[name] for name in names if name in free]


def _holds_verdicts(labels: LabelColumn, class_names: Sequence[str]) -> bool:
    """Whether a column holds verdicts: yes and no, where these are not the classes themselves."""
    return are_verdicts(labels) and not KnownClasses(class_names).hold_all(labels.names)


def _corrected(
    table: Table, found: RightColumns, class_names: Sequence[str], prefix: str
) -> str | None:
    """The column of right labels by its name.

    Raises:
        InputError: two of them differ.
    """
    candidates: dict[str, LabelColumn] = {}
    for name in _in_order(table, found.columns, _CORRECTED):
        labels = labels_in(table, name)
        if name in (found.verdict, found.decision) or labels is None or not labels.names:
            continue
        classes = [label for label in labels.names if not is_answer(label)]
        if folded(name) not in _VERDICT or KnownClasses(class_names).hold_all(classes):
            candidates[name] = labels
    if not candidates:
        return None
    fullest = max(candidates, key=lambda name: int((candidates[name].codes >= 0).sum()))
    rivals = [name for name, labels in candidates.items() if differ(labels, candidates[fullest])]
    if rivals:
        raise InputError(
            f"columns '{fullest}' and '{rivals[0]}' both look like right labels, and differ",
            hint=f"choose one with --{prefix}label-column",
            file=table.path,
        )
    return fullest


def differ(one: LabelColumn, other: LabelColumn) -> bool:
    """Whether two columns name different classes in a row where both name one."""
    position = {name: code for code, name in enumerate(other.names)}
    lookup = np.array([*(position.get(name, -2) for name in one.names), -1])
    both = (one.codes >= 0) & (other.codes >= 0)
    return bool((lookup[one.codes] != other.codes)[both].any())


def _plain(table: Table, found: RightColumns, usual: str | None, prefix: str) -> str | None:
    """A column that is called like any label: it may hold the given labels."""
    chosen = found.columns
    free = set(free_columns(table, chosen)) - {found.verdict, found.decision}
    if usual in free and folded(str(usual)) not in _GIVEN:
        return usual
    named = [name for name in label_by_name(table, chosen) if name in free]
    right = [name for name in named if folded(name) not in _GIVEN]
    first = next(iter([*right, *([usual] if usual in free else []), *named]), None)
    if first is not None or found.verdict is not None:
        return first
    return only_label(table, chosen, prefix=prefix, without={found.decision})

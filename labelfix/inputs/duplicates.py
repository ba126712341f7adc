"""Rows of equal content are one sample: a label that somebody checked holds for every copy.

For every kind of row: the keys may be of pixels or of features, from files or from Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelfix.annotations import Answer, Drawn
from labelfix.inputs.clean_rows import CleanRows, titles
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.messages import counted


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What equal content says of N rows and of M checked rows beside them.

    Args:
        answers: (N,) int32 right labels of the rows, copies of checked rows included, or values of
            `Answer`.
        beside: (M,) bool, whether a checked row is no copy of any of the N rows.
        labels: (M,) int32 right labels of the checked rows, or values of `Answer`.
        disputed: (n,) positions among the N + M of checked rows whose copies have other labels
            and no label has a majority. Theirs is `Answer.MISSING`.
        group: (N + M,) rows of one content have one number, from 0.
    """

    answers: np.ndarray
    beside: np.ndarray
    labels: np.ndarray
    disputed: np.ndarray
    group: np.ndarray


def find_copies(content: np.ndarray, answers: np.ndarray, labels: np.ndarray) -> Copies:
    """Gives all rows of one content the label that most checked rows among them have.

    "None of the classes" counts as a label. "Wrong" and "unsure" are said of one row: a copy may
    have another given label.

    Args:
        content: (N + M,) uint64 content keys.
        answers: (N,) int32 right labels of the first N rows, or values of `Answer`.
        labels: (M,) int32 right labels of the last M rows.
    """
    rows = len(answers)
    keys, group = np.unique(content, return_inverse=True)
    known = np.concatenate([answers, labels])
    shared = (known >= 0) | (known == Answer.NONE)
    places = np.flatnonzero(shared)
    agreed = _majority(group[places], known[places], len(keys))[group]
    alone = np.where(shared, Answer.MISSING, known)[:rows]
    in_data = np.zeros(len(keys), dtype=bool)
    in_data[group[:rows]] = True
    return Copies(
        answers=np.where(agreed[:rows] == Answer.MISSING, alone, agreed[:rows]).astype(np.int32),
        beside=~in_data[group[rows:]],
        labels=agreed[rows:],
        disputed=places[agreed[places] == Answer.MISSING],
        group=group,
    )


def tell_rows_apart(content: np.ndarray) -> bool:
    """Whether (N,) content keys name rows: at least half as many contents as rows.

    A few columns of small numbers are alike in rows that are different samples.
    """
    return 2 * len(np.unique(content)) >= len(content)


def match_content(dataset: Dataset, content: np.ndarray) -> Dataset:
    """Makes every row of DATA whose content a clean set has checked an audited row.

    The checked rows found so leave those beside DATA, with their `clean_features` and
    `feature_keys`. Features that are alike in most rows name none, and are not matched.

    Args:
        dataset: what `read` returned.
        content: (N + M,) uint64 content keys, of pixels or features.

    Returns:
        The dataset, with a notice where anything changed.
    """
    rows, clean = len(dataset), dataset.clean_rows
    if not clean.sets or (dataset.features is not None and not tell_rows_apart(content[:rows])):
        return dataset
    copies = find_copies(content, clean.answers, clean.labels)
    kept = copies.beside & (copies.labels >= 0)
    if kept.all() and np.array_equal(copies.answers, clean.answers):
        return dataset
    everything = np.append(np.ones(rows, dtype=bool), kept)
    features, keys = dataset.clean_features, dataset.feature_keys
    return replace(
        dataset,
        clean_rows=replace(
            clean,
            answers=copies.answers,
            drawn=_drawn(clean, copies),
            rows=clean.rows[kept],
            labels=copies.labels[kept],
        ),
        clean_features=None if features is None else features[kept],
        feature_keys=None if keys is None else keys[everything],
        notices=(*dataset.notices, *_notices(dataset, copies)),
    )


def _drawn(clean: CleanRows, copies: Copies) -> np.ndarray:
    """(N,) how the rows were chosen; one that is a copy of a checked row, as that was."""
    drawn = np.concatenate([clean.drawn, clean.drawn_beside])
    checked = np.concatenate([clean.answers, clean.labels]) != Answer.MISSING
    of_group = np.full(len(copies.group), Drawn.CHOSEN, dtype=np.int8)
    np.maximum.at(of_group, copies.group[checked], drawn[checked])
    new = (copies.answers >= 0) & (clean.answers == Answer.MISSING)
    return np.where(new, of_group[copies.group[: len(clean.drawn)]], clean.drawn).astype(np.int8)


def _notices(dataset: Dataset, copies: Copies) -> list[str]:
    names, lines = titles(dataset.clean_rows.sets), []
    repeated = int((~copies.beside).sum())
    found = int(((copies.answers >= 0) & (dataset.clean < 0)).sum())
    if repeated or found:
        lines.append(
            f"{names}: {counted(repeated, 'checked row')} with the content of rows of "
            f"{dataset.table.title} under another id; {counted(found, 'more row')} counted as "
            "audited"
        )
    if len(copies.disputed):
        rows = [_name(dataset, int(place)) for place in copies.disputed[:4]]
        lines.append(
            f"{names}: {counted(len(copies.disputed), 'checked row')} set aside: their content is "
            f"the same and their labels are not ({', '.join(rows)})"
        )
    return lines


def _majority(group: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """Returns (groups,) int32, the label of more than half of a group's members."""
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    members = np.bincount(group, minlength=groups)
    most = 2 * counts > members[pairs[0]]
    found = np.full(groups, Answer.MISSING, dtype=np.int32)
    found[pairs[0, most]] = pairs[1, most]
    return found


def _name(dataset: Dataset, place: int) -> str:
    """Names a row by its id where it is a row of DATA, else by its row in its clean set."""
    if place < len(dataset):
        return f"id '{dataset.ids[place]}'"
    clean_set, row = dataset.clean_rows.place_of(place - len(dataset))
    return f"row {row + 1} of {clean_set.table.title}"

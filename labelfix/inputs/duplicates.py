"""Rows of equal content are one sample: a label that somebody checked holds for every copy.

For every kind of row: the keys may be of pixels or of features, from files or from Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from labelfix.inputs.dataset import Dataset
from labelfix.inputs.messages import counted


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What equal content says of N rows and of M checked rows beside them.

    Args:
        clean: (N,) int32 right label of the rows, copies of checked rows included; -1 = none.
        beside: (M,) bool, whether a checked row is no copy of any of the N rows.
        labels: (M,) int32 right label of the checked rows; -1 where copies contradict each other.
        disputed: (n,) positions among the N + M of checked rows whose copies have other labels
            and no label has a majority. Their `clean` and `labels` are -1.
    """

    clean: np.ndarray
    beside: np.ndarray
    labels: np.ndarray
    disputed: np.ndarray


def find_copies(content: np.ndarray, clean: np.ndarray, labels: np.ndarray) -> Copies:
    """Gives all rows of one content the label that most checked rows among them have.

    Args:
        content: (N + M,) uint64 content keys.
        clean: (N,) int32 right label of the first N rows; -1 = not checked.
        labels: (M,) int32 right label of the last M rows.
    """
    rows = len(clean)
    keys, group = np.unique(content, return_inverse=True)
    known = np.concatenate([clean, labels])
    places = np.flatnonzero(known >= 0)
    label_of = _majority(group[places], known[places], len(keys))
    agreed = label_of[group]
    in_data = np.zeros(len(keys), dtype=bool)
    in_data[group[:rows]] = True
    return Copies(
        clean=agreed[:rows],
        beside=~in_data[group[rows:]],
        labels=agreed[rows:],
        disputed=places[agreed[places] == -1],
    )


def tell_rows_apart(content: np.ndarray) -> bool:
    """Whether (N,) content keys name rows: at least half as many contents as rows.

    A few columns of small numbers are alike in rows that are different samples.
    """
    return 2 * len(np.unique(content)) >= len(content)


def match_content(dataset: Dataset, content: np.ndarray) -> Dataset:
    """Makes every row of DATA whose content CLEAN has checked an audited row.

    CLEAN's rows found so leave `clean_rows`, `clean_labels`, `clean_features`, `feature_keys`.
    Features that are alike in most rows name none, and are not matched.

    Args:
        dataset: what `read` returned.
        content: (N + M,) uint64 content keys, of pixels or features.

    Returns:
        The dataset, with a notice where anything changed.
    """
    rows = len(dataset)
    if dataset.clean_table is None:
        return dataset
    if dataset.features is not None and not tell_rows_apart(content[:rows]):
        return dataset
    copies = find_copies(content, dataset.clean, dataset.clean_labels)
    kept = copies.beside & (copies.labels >= 0)
    if kept.all() and np.array_equal(copies.clean, dataset.clean):
        return dataset
    everything = np.append(np.ones(rows, dtype=bool), kept)
    features, keys = dataset.clean_features, dataset.feature_keys
    return replace(
        dataset,
        clean=copies.clean,
        clean_rows=dataset.clean_rows[kept],
        clean_labels=copies.labels[kept],
        clean_features=None if features is None else features[kept],
        feature_keys=None if keys is None else keys[everything],
        notices=(*dataset.notices, *_notices(dataset, copies)),
    )


def _notices(dataset: Dataset, copies: Copies) -> list[str]:
    assert dataset.clean_table is not None
    title, lines = dataset.clean_table.title, []
    repeated = int((~copies.beside).sum())
    found = int(((copies.clean >= 0) & (dataset.clean < 0)).sum())
    if repeated or found:
        lines.append(
            f"{title}: {counted(repeated, 'checked row')} with the content of rows of "
            f"{dataset.table.title} under another id; {counted(found, 'more row')} counted as "
            "audited"
        )
    if len(copies.disputed):
        names = [_name(dataset, int(place)) for place in copies.disputed[:4]]
        lines.append(
            f"{title}: {counted(len(copies.disputed), 'checked row')} set aside: their content is "
            f"the same and their labels are not ({', '.join(names)})"
        )
    return lines


def _majority(group: np.ndarray, labels: np.ndarray, groups: int) -> np.ndarray:
    """Returns (groups,) int32, the label of more than half of a group's members; -1 = none."""
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    members = np.bincount(group, minlength=groups)
    most = 2 * counts > members[pairs[0]]
    found = np.full(groups, -1, dtype=np.int32)
    found[pairs[0, most]] = pairs[1, most]
    return found


def _name(dataset: Dataset, place: int) -> str:
    """Names a row by its id where it is a row of DATA, else by its row in CLEAN."""
    if place < len(dataset):
        return f"id '{dataset.ids[place]}'"
    return f"row {dataset.clean_rows[place - len(dataset)] + 1}"

"""The same content under another id is the same row: CLEAN's copies of DATA become audited rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.messages import counted


def match_content(dataset: Dataset, content: np.ndarray) -> Dataset:
    """Makes every row of DATA whose content CLEAN has checked an audited row.

    CLEAN's rows found so leave `clean_rows`, `clean_labels`, `clean_features`, `feature_keys`;
    `kept_rows` tells where the others stand in an array of N + M rows made before.

    Args:
        dataset: what `read` returned.
        content: (N + M,) uint64 content keys, of pixels or features.

    Returns:
        The dataset, with a notice where anything changed.

    Raises:
        InputError: two rows of CLEAN hold the same content under different labels.
    """
    rows = len(dataset)
    keys, group = np.unique(content, return_inverse=True)
    audited = np.flatnonzero(dataset.checked >= 0)
    places = np.concatenate([audited, np.arange(rows, len(content))])
    labels = np.concatenate([dataset.checked[audited], dataset.clean_labels])
    label_of = np.full(len(keys), -1, dtype=np.int32)
    label_of[group[places]] = labels
    _refuse_conflict(dataset, group, places, labels, label_of)
    in_data = np.zeros(len(keys), dtype=bool)
    in_data[group[:rows]] = True
    kept = ~in_data[group[rows:]]
    checked = label_of[group[:rows]]
    found = int((checked >= 0).sum()) - len(audited)
    if not found and kept.all():
        return dataset
    return _with(dataset, checked, kept, found)


def kept_rows(before: Dataset, after: Dataset) -> np.ndarray:
    """Returns (N + M',) positions, in arrays of `before`'s N + M rows, of the rows of `after`."""
    kept = np.flatnonzero(np.isin(before.clean_rows, after.clean_rows))
    return np.concatenate([np.arange(len(before)), len(before) + kept])


def _with(dataset: Dataset, checked: np.ndarray, kept: np.ndarray, found: int) -> Dataset:
    assert dataset.clean_table is not None  # without CLEAN there is nothing to find
    copies = counted(int((~kept).sum()), "checked row")
    notice = (
        f"{dataset.clean_table.title}: {copies} hold the same content as rows of "
        f"{dataset.table.title} under another id; {counted(found, 'more row')} counted as audited"
    )
    everything, features = (
        np.append(np.ones(len(dataset), dtype=bool), kept),
        dataset.clean_features,
    )
    return replace(
        dataset,
        checked=checked,
        clean_rows=dataset.clean_rows[kept],
        clean_labels=dataset.clean_labels[kept],
        clean_features=None if features is None else features[kept],
        feature_keys=None if dataset.feature_keys is None else dataset.feature_keys[everything],
        notices=(*dataset.notices, notice),
    )


def _refuse_conflict(
    dataset: Dataset,
    group: np.ndarray,
    places: np.ndarray,
    labels: np.ndarray,
    label_of: np.ndarray,
) -> None:
    wrong = np.flatnonzero(label_of[group[places]] != labels)
    if not len(wrong) or dataset.clean_table is None:
        return
    other = np.flatnonzero(
        (group[places] == group[places[wrong[0]]]) & (labels != labels[wrong[0]])
    )[0]
    (name, label), (name2, label2) = (
        (_name(dataset, int(places[at])), dataset.class_names[labels[at]])
        for at in sorted((wrong[0], other))
    )
    raise InputError(
        f"{name} has the label '{label}' and {name2} has '{label2}', but their content is the same",
        hint="check the sample again and keep one of the two",
        file=dataset.clean_table.path,
    )


def _name(dataset: Dataset, place: int) -> str:
    """Names a row by its id where it is a row of DATA, else by its row in CLEAN."""
    if place < len(dataset):
        return f"id '{dataset.ids[place]}'"
    return f"row {dataset.clean_rows[place - len(dataset)] + 1}"

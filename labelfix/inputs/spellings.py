"""Spellings of a class that differ only by case or space are one class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelfix.inputs.labels import LabelColumn
from labelfix.inputs.messages import quoted

_SHOWN = 4  # classes in the notice


def spelling_key(name: str) -> str:
    """What spellings of one class share. A single letter keeps its case: a and A are two."""
    plain = " ".join(name.split())
    return plain if len(plain) < 2 else plain.casefold()


def join_spellings(labels: LabelColumn, *, title: str) -> tuple[LabelColumn, tuple[str, ...]]:
    """Gives all spellings of a class the commonest one, of equally common ones the first.

    Args:
        labels: of one table.
        title: its name, for the notice.

    Returns:
        The labels, and a notice where any were joined.
    """
    groups = _groups(labels.names)
    if len(groups) == len(labels.names):
        return labels, ()
    counts = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.names))
    names = tuple(labels.names[max(group, key=lambda at: counts[at])] for group in groups)
    code_of = np.full(len(labels.names) + 1, -1, dtype=np.int32)  # the last one: no label
    for code, group in enumerate(groups):
        code_of[group] = code
    joined = [
        f"'{name}' ({quoted([labels.names[at] for at in group if labels.names[at] != name])})"
        for name, group in zip(names, groups, strict=True)
        if len(group) > 1
    ]
    more = f" and {len(joined) - _SHOWN:,} more" if len(joined) > _SHOWN else ""
    notice = (
        f"{title}: spellings that differ only by case or space are one class: "
        f"{', '.join(joined[:_SHOWN])}{more}; --no-join-spellings keeps them apart"
    )
    return LabelColumn(codes=code_of[labels.codes], names=names), (notice,)


def _groups(names: Sequence[str]) -> list[list[int]]:
    """Positions of the spellings of each class, classes in the order of their first spelling."""
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(spelling_key(name), []).append(place)
    return list(found.values())

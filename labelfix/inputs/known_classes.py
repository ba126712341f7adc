"""Labels in terms of classes that are already known, however they are spelled."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from labelfix.errors import InputError
from labelfix.inputs.labels import LabelColumn
from labelfix.inputs.messages import did_you_mean, quoted
from labelfix.inputs.spellings import spelling_key
from labelfix.inputs.tables import Table

_UNKNOWN = -99


@dataclass(frozen=True)
class KnownClasses:
    """The K classes of a dataset, and the other ways in which tables write them.

    A label is the class of that name; else the only class that differs by case or space alone
    (pandas writes True, polars true, a spreadsheet TRUE); else the only one that is the same number
    (2 and 2.0).

    Args:
        names: (K,) in the order of the codes.
    """

    names: Sequence[str]

    def codes(self, labels: Sequence[str]) -> list[int | None]:
        """Returns the code of each label; None = it is no class."""
        found: list[int | None] = [None] * len(labels)
        for key in (_same, spelling_key, _number):
            code_of = self._only(key)
            for place, label in enumerate(labels):
                if found[place] is None:
                    found[place] = code_of.get(key(label))
        return found

    def hold_all(self, labels: Sequence[str]) -> bool:
        """Whether every label is a class."""
        return None not in self.codes(labels)

    def _only(self, key: Callable[[str], Hashable]) -> dict[Hashable, int]:
        """The code by a key that no other class has."""
        keys = [key(name) for name in self.names]
        times: dict[Hashable, int] = {}
        for one in keys:
            times[one] = times.get(one, 0) + 1
        return {one: code for code, one in enumerate(keys) if one is not None and times[one] == 1}


def align(
    labels: LabelColumn,
    class_names: Sequence[str],
    *,
    table: Table,
    column: str,
    others: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Recodes labels to positions in `class_names`, (N,) int32; -1 = no label.

    Args:
        labels: of one table.
        class_names: the K classes, as in :class:`KnownClasses`.
        table, column: where the labels stand, for the error.
        others: labels that are allowed beside the classes, with their (negative) codes.

    Raises:
        InputError: a label is not among the class names.
    """
    beside = others or {}
    known = KnownClasses(class_names).codes(labels.names)
    found = [
        beside.get(name, _UNKNOWN) if code is None else code
        for name, code in zip(labels.names, known, strict=True)
    ]
    codes = np.array([*found, -1], dtype=np.int32)[labels.codes]
    unknown = np.flatnonzero(codes == _UNKNOWN)
    if len(unknown):
        label = labels.names[labels.codes[unknown[0]]]
        none = "" if others is None else "; write 'none' where no class fits"
        raise InputError(
            f"label '{label}' is not a class of the dataset",
            hint=f"{did_you_mean(label, class_names)}known labels: {quoted(class_names, 20)}{none}",
            file=table.path,
            row=int(unknown[0]) + 1,
            column=column,
        )
    return codes


def _same(name: str) -> str:
    return name


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if number == number else None

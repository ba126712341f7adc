"""The schema of labels.parquet, version 1: one :class:`Column` for each column of the file.

Writer, reader, checks, reserved names and the table in docs/files.md all go by :data:`COLUMNS`. A
new column is an entry there and a field of :class:`labelfix.contract.labels.Labels`; where it does
not follow from the others, :mod:`labelfix.workflows.outputs` passes its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from labelfix.contract import formulas
from labelfix.contract.formulas import DECISIONS, Decision
from labelfix.contract.kinds import Category, Count, Distribution, Kind, Number, Text

SCHEMA_VERSION = 1
KEY = b"labelfix"


class Known:
    """The columns of a file by name; one that is missing follows from those that are there.

    Attributes:
        classes: K.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any] | None], classes: int) -> None:
        self.classes = classes
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  (an array, or None = no values)
        if name not in self._columns:
            default = BY_NAME[name].default
            if default is None:
                raise KeyError(name)
            self._columns[name] = default(self)
        return self._columns[name]

    @property
    def checked(self) -> NDArray[np.bool_]:
        """``(N,)``, rows that a person checked, as far as the decisions say."""
        return np.asarray(self["decision"] == Decision.CHECKED)


Default = Callable[[Known], NDArray[Any] | None]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of labels.parquet.

    Attributes:
        name: in the file.
        kind: how its values are stored; tells the Arrow type.
        nullable: whether the file may hold nulls, or the whole column may be missing values.
        meaning: what it says, in a sentence.
        detail: how it is computed, where that takes more words.
        range: the values that it may take, in words.
        holds: values -> ``(N,)``, which rows keep to the range.
        default: what it is where a file leaves it out, from the other columns; None = it must be
            there.
        attribute: its name in ``Labels``, where it is another.
    """

    name: str
    kind: Kind
    nullable: bool = False
    meaning: str
    detail: str = ""
    range: str
    holds: Callable[[Any], NDArray[np.bool_]]
    default: Default | None
    attribute: str = ""

    @property
    def in_labels(self) -> str:
        """Its name in ``Labels``."""
        return self.attribute or self.name

    def field(self, classes: int) -> pa.Field:
        """The Arrow field for K classes, with meaning and range in its metadata."""
        description = f"{self.meaning}; {self.detail}" if self.detail else self.meaning
        about = {"description": description, "range": self.range}
        return pa.field(self.name, self.kind.arrow_type(classes), self.nullable, about)


def _decision_without_checks(known: Known) -> NDArray[np.int8]:
    """The decisions of a file that names none: keep where it tells no given label at all."""
    given, label = known["given_label"], known["label"]
    if (given < 0).all():
        return np.full(len(label), Decision.KEEP, np.int8)
    return formulas.decision(given, label, known["soft_label"], np.zeros(len(label), dtype=bool))


def _each_once(ids: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Rows that have an id, and are the first to have it."""
    found = np.zeros(len(ids), dtype=bool)
    found[np.unique(ids.astype(str), return_index=True)[1]] = True
    return found & np.array([isinstance(value, str) for value in ids], dtype=bool)


def _in_unit_interval(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return (values >= 0) & (values <= 1)


def _are_distributions(soft_NK: NDArray[np.float32]) -> NDArray[np.bool_]:
    inside = ((soft_NK >= 0) & (soft_NK <= 1)).all(1)
    return inside & (np.abs(soft_NK.sum(1, dtype=np.float64) - 1) <= 1e-4)


def _are_ranks(ranks: NDArray[np.int32]) -> NDArray[np.bool_]:
    inside = (ranks >= 1) & (ranks <= len(ranks))
    counts = np.bincount(np.where(inside, ranks, 0), minlength=len(ranks) + 1)
    return inside & (counts[np.where(inside, ranks, 0)] == 1)


COLUMNS = (
    Column(
        name="id",
        attribute="ids",
        kind=Text(),
        meaning="the row's name: the id column, else the image path, else the row number",
        range="text, every row its own",
        holds=_each_once,
        default=None,
    ),
    Column(
        name="given_label",
        attribute="given",
        kind=Category(),
        nullable=True,
        meaning="the label as it came",
        range="a class; null = none was given",
        holds=lambda codes: codes >= -1,
        default=lambda known: np.full(len(known["label"]), -1, np.int32),
    ),
    Column(
        name="label",
        kind=Category(),
        meaning="the label to train on",
        range="a class",
        holds=lambda codes: codes >= 0,
        default=None,
    ),
    Column(
        name="decision",
        kind=Category(DECISIONS, np.int8),
        meaning="what became of the row: keep = the given label stays; correct = it changed; "
        "review = it stays, though more likely wrong than right; fill = there was none; "
        "checked = a person checked it",
        range=", ".join(DECISIONS),
        holds=lambda codes: codes >= 0,
        default=_decision_without_checks,
    ),
    Column(
        name="soft_label",
        kind=Distribution(),
        meaning="how likely each class is, in the order of class_names in the file's metadata",
        detail="the posterior q(y | x, given), calibrated on checked rows",
        range="0 to 1 each; the sum is 1 within 1e-4",
        holds=_are_distributions,
        default=lambda known: formulas.one_hot(known["label"], known.classes),
    ),
    Column(
        name="label_reliability",
        kind=Number(),
        nullable=True,
        meaning="does learning the given label help (HRP's alpha)? Low = suspicious, 0.5 = no "
        "effect",
        detail="1 / (1 + exp(-4 s / r)); s = -label . u / |p - label|, u the tangent of the row's "
        "log-probabilities under a linear head trained without the row's fold, p its "
        "probabilities, averaged over 4 passes along the gradient of the cross-entropy to the "
        "other folds' soft labels (where no row is checked: of CLID) in the metric "
        "(X'X / n + 0.1 / D I)^-1; r = the fold's median |u|",
        range="0 to 1; null = no label was given",
        holds=lambda values: np.isnan(values) | _in_unit_interval(values),
        default=lambda known: None,
    ),
    Column(
        name="pseudo_reliability",
        kind=Number(),
        nullable=True,
        meaning="the same for the model's own label (HRP's beta)",
        detail="that is the best class of its out-of-fold prediction; neither reliability enters "
        "the other",
        range="0 to 1; null = not scored",
        holds=lambda values: np.isnan(values) | _in_unit_interval(values),
        default=lambda known: None,
    ),
    Column(
        name="clid",
        kind=Number(),
        nullable=True,
        meaning="how far the label is from those of the nearest rows in feature space; high = "
        "suspicious",
        detail="-log sum_j S_ij <label_i, soft_label_j> over the 50 nearest rows j; S = softmax of "
        "their cosines / 0.05, the row itself left out; label_i = the given label, or the soft "
        "label where none was given",
        range="0 and more; null = not scored",
        holds=lambda values: np.isnan(values) | (values >= 0),
        default=lambda known: None,
    ),
    Column(
        name="weight",
        kind=Number(),
        meaning="weight for training: how far label is likelier than a guess",
        detail="max(0, (soft_label[label] - 1/K) / (1 - 1/K)) for K classes",
        range="0 to 1",
        holds=_in_unit_interval,
        default=lambda known: formulas.weight(known["label"], known["soft_label"]),
    ),
    Column(
        name="review_rank",
        kind=Count(),
        meaning="1 = the most suspicious given label; checked rows come last",
        detail="by falling 1 - soft_label[given_label] (rows without a given label: 1 - max "
        "soft_label); ties keep the rows' order",
        range="1 to the number of rows, each once",
        holds=_are_ranks,
        default=lambda known: formulas.review_rank(
            known["given_label"], known["soft_label"], known.checked
        ),
    ),
    Column(
        name="doubt",
        kind=Number(),
        meaning="the chance that label is wrong; high = worth a person's time",
        detail="1 - soft_label[label]",
        range="0 to 1",
        holds=_in_unit_interval,
        default=lambda known: formulas.doubt(known["label"], known["soft_label"]),
    ),
)
BY_NAME = {column.name: column for column in COLUMNS}
REQUIRED = tuple(column.name for column in COLUMNS if column.default is None)


def arrow_schema(classes: int, others: pa.Schema | None = None) -> pa.Schema:
    """The Arrow schema for K classes, followed by the columns that pass through untouched."""
    return pa.schema([column.field(classes) for column in COLUMNS] + list(others or []))


def free_names(names: Iterable[str]) -> dict[str, str]:
    """Maps the names of DATA's other columns to those they have in labels.parquet.

    A name that labels.parquet needs for itself becomes ``original_<name>``.
    """
    names = list(names)
    taken = {*BY_NAME, *names}
    found = {}
    for name in names:
        free = name
        if name in BY_NAME:
            free = f"original_{name}"
            while free in taken:
                free = f"original_{free}"
        found[name] = free
    return found


def markdown_table() -> str:
    """The columns as a Markdown table: the one in docs/files.md."""
    rows = [("column", "values", "meaning"), ("---", "---", "---")]
    rows += [(f"`{column.name}`", column.range, column.meaning) for column in COLUMNS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)

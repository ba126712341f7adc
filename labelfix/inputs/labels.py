"""Labels as text of any type, and as class codes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import as_integers, is_decimal, is_text
from labelfix.inputs.decimal_codes import are_codes, decimal_codes
from labelfix.inputs.messages import counted, quoted
from labelfix.inputs.tables import Table
from labelfix.inputs.text_formats import MOST_CLASSES

FOLDS = 5
_SHOWN = 12  # classes in one notice
_CLASS_LIKE_HOLES = {"na", "n/a", "null", "none", "unknown", "-1", "?", "-"}


@dataclass(frozen=True, kw_only=True)
class LabelColumn:
    """The labels of one table.

    Args:
        codes: (N,) int32, positions in `names`; -1 = no label.
        names: the distinct labels as text, in order of appearance.
    """

    codes: np.ndarray
    names: tuple[str, ...]


def encode(table: Table, column: str, *, any_decimals: bool = True) -> LabelColumn:
    """Reads a label column of text, integers, booleans or decimals.

    Null, NaN, and empty or blank text mean no label. Hugging Face's ClassLabel names replace its
    codes. Decimals are whole numbers that pandas wrote as 17.0, or class codes such as 62.01, which
    keep the text that the file holds.

    Args:
        table: the table.
        column: its label column.
        any_decimals: whether decimals that look like a regression target are class codes too.

    Raises:
        InputError: the column holds lists, bytes or anything else that is no class.
    """
    text = _as_text(table, column, any_decimals)
    text = _named_by_hugging_face(table, column, text)
    encoded = text.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    found = [str(name) for name in encoded.dictionary.to_pylist()]
    kept = [name for name in found if name.strip() and name.lower() != "nan"]
    position = {name: code for code, name in enumerate(kept)}
    # One more entry at the end, so that index -1 (null) maps to -1 as well.
    lookup = np.array([*(position.get(name, -1) for name in found), -1], dtype=np.int32)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return LabelColumn(codes=lookup[codes], names=tuple(kept))


def labels_in(table: Table, name: str) -> LabelColumn | None:
    """Returns a column as labels; None where it cannot be labels."""
    try:
        return encode(table, name)
    except InputError:
        return None


def sort_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Sorts class names: numerically where all are integers, else lexicographically."""
    if all(re.fullmatch(r"-?(0|[1-9][0-9]*)", name) for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def require_labels(labels: LabelColumn, *, table: Table, column: str) -> None:
    """Raises InputError at the first row without a label."""
    holes = np.flatnonzero(labels.codes == -1)
    if len(holes):
        raise InputError(
            f"has no label ({counted(len(holes), 'such row')})",
            hint="only the dataset itself may hold rows without a label: fill or remove them",
            file=table.path,
            row=int(holes[0]) + 1,
            column=column,
        )


def check_classes(labels: LabelColumn, *, table: Table, column: str) -> tuple[str, ...]:
    """Checks that DATA's labels can be learnt from; returns notices.

    Raises:
        InputError: no labels, one class, too few labelled rows, or as many classes as an id has.
    """
    labelled = int((labels.codes >= 0).sum())
    classes = len(labels.names)
    problem = hint = ""
    if labelled == 0:
        problem, hint = "no row has a label", "choose the column of labels with --label-column"
    elif classes > MOST_CLASSES or classes > max(labelled / 2, 2):
        problem = f"{counted(classes, 'class')} in {counted(labelled, 'labelled row')}"
        problem += " looks like an id column or free text"
        hint = "choose the column of labels with --label-column"
    elif classes == 1:
        problem = f"every label is '{labels.names[0]}'"
        hint = "give a dataset with at least two classes"
    elif labelled < FOLDS:
        problem = f"only {counted(labelled, 'row')} with a label"
        hint = f"cross-validation needs at least {FOLDS}, and many more to learn anything"
    if problem:
        raise InputError(problem, hint=hint, file=table.path, column=column)
    return (*_rare(labels, table), *_doubtful(labels.names, table))


def counted_classes(codes: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns "3 classes: cat 60, dog 30, owl 10": those that occur, the commonest first."""
    counts = np.bincount(codes[codes >= 0], minlength=len(class_names))
    order = np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]
    shown = ", ".join(f"{_listed(class_names[code])} {counts[code]:,}" for code in order[:_SHOWN])
    more = f" and {len(order) - _SHOWN:,} more" if len(order) > _SHOWN else ""
    return f"{counted(len(order), 'class')}: {shown}{more}"


def _listed(name: str) -> str:
    """A class name as it stands in a list: in quotes where spaces or commas would mislead."""
    return name if re.fullmatch(r"[^\s,']+", name) else f"'{name}'"


def _rare(labels: LabelColumn, table: Table) -> tuple[str, ...]:
    counts = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.names))
    rare = [labels.names[code] for code in np.flatnonzero(counts < FOLDS)]
    if not rare:
        return ()
    classes = counted(len(rare), "class")
    return (f"{table.title}: {classes} with fewer than {FOLDS} rows: {quoted(rare, 5)}",)


def _doubtful(names: Sequence[str], table: Table) -> Sequence[str]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(name.split()).casefold(), []).append(name)
    twins = [
        f"{table.title}: classes {quoted(group)} differ only by case or space"
        for group in groups.values()
        if len(group) > 1
    ]
    holes = [name for name in names if name.lower() in _CLASS_LIKE_HOLES]
    taken = f"{table.title}: {quoted(holes)} counts as a class, not as a missing label"
    return [*twins, *([taken] if holes else [])]


def _as_text(table: Table, column: str, any_decimals: bool) -> pa.ChunkedArray:
    values = table.column(column)
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if is_decimal(kind):
        whole, broken = as_integers(values)
        if not len(broken):
            return whole.cast(pa.string())
        text = decimal_codes(table, column, values)
        if not any_decimals and not are_codes(text):
            raise _no_codes(table, column, values, int(broken[0]))
        return text
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if pa.types.is_integer(kind) or is_text(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    raise InputError(
        f"holds {kind}, not labels",
        hint="labels are text, integers or booleans: choose their column with --label-column",
        file=table.path,
        column=column,
    )


def _no_codes(table: Table, column: str, values: pa.ChunkedArray, row: int) -> InputError:
    return InputError(
        f"{values[row].as_py()} looks like a regression target, not a class",
        hint="choose the column of labels with --label-column, or say with --decimal-classes that "
        "these numbers are classes",
        file=table.path,
        row=row + 1,
        column=column,
    )


def _named_by_hugging_face(table: Table, column: str, text: pa.ChunkedArray) -> pa.ChunkedArray:
    names = class_label_names(table.schema, column)
    if not names or not pa.types.is_integer(table.schema.field(column).type):
        return text
    known = pa.array([str(code) for code in range(len(names))])
    coded = pc.index_in(text, value_set=known)
    named = pc.take(pa.array(names, pa.string()), coded.combine_chunks())
    # Code -1 is Hugging Face's "no label"; a code beyond the names stays as it is.
    stray = pc.and_(pc.is_null(coded), pc.not_equal(text, "-1"))
    return pa.chunked_array([pc.if_else(stray.combine_chunks(), text.combine_chunks(), named)])


def class_label_names(schema: pa.Schema, column: str) -> list[str]:
    """Returns the class names that Hugging Face's `datasets` stored for a column, or none."""
    try:
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = stored["info"]["features"][column]
        return list(feature["names"]) if feature.get("_type") == "ClassLabel" else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return []

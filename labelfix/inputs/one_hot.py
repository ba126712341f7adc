"""Labels spread over columns of 0 and 1, one a class, become one column of class names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from labelfix.errors import InputError
from labelfix.inputs.columns import Columns, choose_columns, free_columns, label_by_name
from labelfix.inputs.labels import labels_in
from labelfix.inputs.messages import counted, quoted
from labelfix.inputs.table_content import TableContent
from labelfix.inputs.tables import Table

_LEAST_SHARE = 0.95  # of the rows with exactly one 1
_BITS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True, kw_only=True)
class WithColumn:
    """A table's content with one more column, which is in memory.

    Args:
        content: the table's.
        name: of the column.
        values: (N,) text.
    """

    content: TableContent
    name: str
    values: pa.Array

    @property
    def schema(self) -> pa.Schema:
        return self.content.schema.append(pa.field(self.name, self.values.type))

    @property
    def rows(self) -> int:
        return self.content.rows

    def column(self, name: str) -> pa.ChunkedArray:
        if name == self.name:
            return pa.chunked_array([self.values])
        return self.content.column(name)

    def child(self, name: str, child: str) -> pa.ChunkedArray:
        return self.content.child(name, child)

    def spelled(self, name: str) -> pa.ChunkedArray | None:
        return self.content.spelled(name)

    def batches(self, names: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        if self.name not in names:
            yield from self.content.batches(names, rows)
            return
        others = [name for name in names if name != self.name]
        start = 0
        for batch in self.content.batches(others or self.content.schema.names[:1], rows):
            part = self.values.slice(start, batch.num_rows)
            start += batch.num_rows
            yield batch.append_column(self.name, part).select(list(names))


def with_one_hot_label(table: Table, wanted: Columns) -> Table:
    """Adds a label column to a table whose labels are one-hot, with a notice; else returns it.

    Args:
        table: the table.
        wanted: the columns that a person named.

    Raises:
        InputError: the label column that a person named is one of several that are one-hot, or it
            is not plain whether these or another column are the labels.
    """
    if table.is_folder or (wanted.label is None and label_by_name(table, wanted)):
        return table
    chosen, _ = choose_columns(table, wanted, labelled=False)
    free = free_columns(table, replace(chosen, label=None))
    if wanted.label is not None and _bits(table, wanted.label) is None:
        return table
    bits = {name: found for name in free if (found := _bits(table, name)) is not None}
    if len(bits) < 2 or not _one_hot(bits):
        return table
    if wanted.label is not None:
        if len(bits) > 2:
            raise _refused(table, wanted.label, list(bits))
        return table
    _refuse_rivals(table, [name for name in free if name not in bits], list(bits))
    return _joined(table, bits)


def _bits(table: Table, name: str) -> np.ndarray | None:
    """(N,) int8 of a column that holds 0 and 1 alone, -1 = nothing; None = another column."""
    kind = table.schema.field(name).type
    if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
        return None
    column = table.column(name)
    for part in (column.slice(0, 100), column):
        words = pc.utf8_lower(pc.utf8_trim_whitespace(part.cast(pa.string())))
        if any(word not in _BITS for word in pc.unique(words).drop_null().to_pylist()):
            return None
    encoded = pc.fill_null(pc.index_in(words, value_set=pa.array(list(_BITS))), -1)
    values = np.array([*_BITS.values(), -1], np.int8)[np.asarray(encoded)]
    return values if (values >= 0).any() else None


def _one_hot(bits: dict[str, np.ndarray]) -> bool:
    ones = np.stack([column == 1 for column in bits.values()])
    one_each = ones.sum(0) == 1
    return bool(one_each.mean() >= _LEAST_SHARE and ones[:, one_each].any(1).sum() > 1)


def _refuse_rivals(table: Table, others: list[str], classes: list[str]) -> None:
    """Beside two columns of 0 and 1 any other may be the labels; beside more, one of few values."""
    rivals = []
    for name in others:
        labels = labels_in(table, name)
        if labels is not None and (len(classes) == 2 or 1 < len(labels.names) <= table.rows / 2):
            rivals.append(name)
    if len(rivals) == 1:
        raise InputError(
            f"column '{rivals[0]}' and the one-hot columns {quoted(classes, 4)} may be the labels",
            hint=f"choose one with --label-column {rivals[0]}, or {_how_to_join(classes)}",
            file=table.path,
        )


def _joined(table: Table, bits: dict[str, np.ndarray]) -> Table:
    ones = np.stack([column == 1 for column in bits.values()])
    names = np.array([*(name.strip() for name in bits), None], dtype=object)
    place = np.where(ones.sum(0) == 1, ones.argmax(0), -1)
    label = next(name for name in _free_names() if name not in table.names)
    content = WithColumn(
        content=table.content, name=label, values=pa.array(names[place], pa.string())
    )
    odd = int((place < 0).sum())
    without = f"; {counted(odd, 'row')} without exactly one 1 have no label" if odd else ""
    notice = f"{table.title}: one-hot labels from the columns {quoted(list(bits), 12)}{without}"
    return replace(table, content=content, notices=(*table.notices, notice))


def _free_names() -> Iterator[str]:
    name = "label"
    while True:
        yield name
        name = f"one_hot_{name}"


def _refused(table: Table, label: str, classes: list[str]) -> InputError:
    return InputError(
        f"is one of the one-hot columns {quoted(classes, 12)}, one a class",
        hint="leave --label-column out: the classes are read from all of them",
        file=table.path,
        column=label,
    )


def _how_to_join(classes: list[str]) -> str:
    return f"join them (pandas: table['label'] = table[{classes}].idxmax(axis=1))"

"""Decimals as class codes: industry codes, section numbers, half stars; as the file writes them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from labelfix.inputs.tables import Table

_ROWS_A_CODE = 20  # a regression target repeats less
_FEW = 30  # so few values are a scale, such as half stars
_FULLEST = 0.5  # of the steps between the least and the largest code; a measure takes nearly all


def decimal_codes(table: Table, column: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns decimals as text, (N,): as the file writes them, else in the shortest way.

    Args:
        table: the table.
        column: the name of the column.
        values: its values.
    """
    written = table.spelled(column)
    if written is not None:
        return written.cast(pa.string())
    if pa.types.is_decimal(values.type):
        return values.cast(pa.string())
    encoded = values.combine_chunks().dictionary_encode()
    numbers = encoded.dictionary.to_numpy(zero_copy_only=False)
    names = [None if np.isnan(number) else _shortest(number) for number in numbers]
    return pa.chunked_array([pc.take(pa.array(names, pa.string()), encoded.indices)])


def are_codes(text: pa.ChunkedArray) -> bool:
    """Whether decimals, as text, are class codes rather than a regression target.

    Codes are few, each stands in many rows, and leave gaps: 10.71, 47.11, 62.01.
    """
    counts = pc.value_counts(text.drop_null())
    names = counts.field("values").to_pylist()
    numbers = np.array([float(name) for name in names])
    if not len(numbers) or not np.isfinite(numbers).all():
        return False
    if pc.sum(counts.field("counts")).as_py() < _ROWS_A_CODE * len(names):
        return False
    digits = max(len(name.partition(".")[2]) for name in names)
    steps = round((numbers.max() - numbers.min()) * 10**digits) + 1
    return len(names) <= _FEW or len(names) <= _FULLEST * steps


def _shortest(number: np.floating) -> str:
    if not np.isfinite(number):
        return str(number)
    return np.format_float_positional(number, unique=True, trim="-")

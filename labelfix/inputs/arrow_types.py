"""Column types by what they mean: text, encoded images, lists of numbers, single numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def is_text(kind: pa.DataType) -> bool:
    """Whether a column type is text, plain or by dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_encoded(kind: pa.DataType) -> bool:
    """Whether a column type is bytes, or Hugging Face's `{bytes, path}` struct."""
    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(place).name for place in range(kind.num_fields)}
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column type is a list, of any or of fixed length."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether a column type is an integer or floating number."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def is_decimal(kind: pa.DataType) -> bool:
    """Whether a column type is of numbers that need not be whole."""
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def as_integers(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, np.ndarray]:
    """Turns decimals into int64, as pandas writes integers beside a missing value: 17.0.

    Returns:
        (N,) int64, null and NaN as null; and the positions of those that are no whole numbers, or
        so large (beyond 2^53) that a double may have lost digits.
    """
    numbers = values.cast(pa.float64()).to_numpy()
    holes = np.isnan(numbers)
    # Infinity compares as too large; NaN is a hole, and 0 stands in for it.
    filled = np.where(holes, 0, numbers)
    broken = (filled != np.rint(filled)) | (abs(filled) > 2**53)
    whole = np.where(broken, 0, filled).astype(np.int64)
    return pa.chunked_array([pa.array(whole, mask=holes)]), np.flatnonzero(broken)

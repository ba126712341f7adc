"""Pieces that several exporters share: plain columns, top-two labels, pictures as files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, UnidentifiedImageError

from labelfix.exporters.registry import Exported

FORMULA = r"^[=+\-@\t\r]"
SUFFIX = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
}


def decoded(column: pa.Array) -> pa.Array:
    """A dictionary column as its values, any other as it is."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def is_flat(kind: pa.DataType) -> bool:
    """Whether a cell of a text table can hold it."""
    return not (
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )


def harmless(column: pa.Array) -> pa.Array:
    """Text that a spreadsheet would run as a formula, with ``'`` before it."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    risky = pc.fill_null(pc.match_substring_regex(column, FORMULA), False)
    return pc.if_else(risky, pc.binary_join_element_wise("'", column, ""), column)


def soft_rows(column: pa.Array, classes: int) -> np.ndarray:
    """soft_label as ``(B, K)`` float32."""
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), classes)


def top_two(soft_BK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two likeliest classes of each row ``(B, 2)`` and their probabilities."""
    order = np.argsort(-soft_BK, axis=1, kind="stable")[:, :2]
    return order, np.take_along_axis(soft_BK, order, axis=1)


def safe_name(name: str) -> str:
    """A class name as a folder's name: what file systems forbid is written as %XX."""
    text = "".join(
        sign if sign.isalnum() or sign in " -_,()+=@" else _escaped(sign) for sign in name
    )
    return text if text == text.strip() and text else text.strip() + "%20"


def _escaped(sign: str) -> str:
    return "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "surrogatepass"))


def pictures(data: Exported) -> Iterator[tuple[bytes, str]]:
    """Each row's image as bytes, untouched, and the suffix of its format."""
    assert data.images is not None
    for image in data.images():
        content = image.read_bytes() if isinstance(image, Path) else image
        yield content, _suffix(content)


def _suffix(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return SUFFIX.get(image.format or "", f".{(image.format or 'img').lower()}")
    except (OSError, UnidentifiedImageError, ValueError):
        return ".img"

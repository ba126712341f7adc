"""Pictures for a page: small, re-encoded, without what a camera wrote into them."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

SIDE = 160  # pixels, the longest side
LEAST = 64  # a smaller picture is enlarged by whole factors, so that its pixels stay sharp
QUALITY = 80


def data_uri(encoded: bytes | Path, *, side: int = SIDE) -> str | None:
    """A picture as a ``data:`` address, or None where it cannot be read.

    Turned as its camera says, never the original bytes, without any metadata.

    Args:
        encoded: the image's bytes, or its file.
        side: the longest side, in pixels.
    """
    try:
        with Image.open(io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded) as image:
            image.draft("RGB", (2 * side, 2 * side))
            picture = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    picture.thumbnail((side, side))
    factor = LEAST // max(picture.size)
    if factor > 1:
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"

"""From encoded images to one memory-mapped array of pixels and a key of each image's content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from labelfix.errors import InputError
from labelfix.inputs.encoded_images import EncodedImages
from labelfix.inputs.messages import counted

LARGEST_SIDE = 224
Progress = Callable[[int, int], None]
_Result = TypeVar("_Result")


class Imaged(Protocol):
    """What can be decoded: a Dataset, or a labelled test table."""

    @property
    def image_parts(self) -> Sequence[EncodedImages]:
        """The images, part after part, in row order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Decoded images.

    Args:
        images: (N + M, H, W, 3) uint8 RGB, a read-only memory map: DATA's rows, then CLEAN's.
        keys: (N + M,) uint64, hash of each image's pixels at its original size.
    """

    images: np.ndarray
    keys: np.ndarray


def decode(
    dataset: Imaged,
    destination: Path,
    *,
    size: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Pixels:
    """Decodes every image into the .npy file `destination`, in a small thread pool, streamed.

    Where all images have one size and no side is above 224, they stay as they are. Otherwise all
    become squares with the median short side, at most 224: scaled (bicubic) so that the short side
    fits, then cropped to the centre. EXIF orientation is applied, transparency is laid on white,
    16-bit grey is scaled to 8 bits, and of an animation the first frame counts.

    Args:
        dataset: what holds the images.
        destination: the .npy file to write; an existing one is replaced.
        size: (H, W) to use instead, such as the size that the training images had.
        progress: called with (done, total) now and then; without `size`, total counts each
            image twice, once for its header and once for its pixels.

    Returns:
        The pixels, mapped from `destination`.

    Raises:
        InputError: images that cannot be read, with the first one's row and their number.
    """
    parts = dataset.image_parts
    total = sum(len(part) for part in parts)
    steps = total if size is not None else 2 * total
    tell = progress or (lambda done, steps: None)
    if size is None:
        sizes = _run(_size, parts, lambda done: tell(done, steps))
        size = choose_size(np.array(sizes))
    shape = (total, *size, 3)
    out = np.lib.format.open_memmap(destination, mode="w+", dtype=np.uint8, shape=shape)
    keys = np.empty(total, dtype=np.uint64)

    def store(item: tuple[int, bytes | Path]) -> None:
        place, encoded = item
        out[place], keys[place] = decode_image(encoded, size)

    _run(store, parts, lambda done: tell(steps - total + done, steps))
    out.flush()
    return Pixels(images=np.load(destination, mmap_mode="r"), keys=keys)


def choose_size(sizes: np.ndarray) -> tuple[int, int]:
    """Chooses the common (H, W) from (n, 2) heights and widths, as `decode` says."""
    if (sizes == sizes[0]).all() and sizes[0].max() <= LARGEST_SIDE:
        return int(sizes[0, 0]), int(sizes[0, 1])
    side = min(LARGEST_SIDE, int(np.median(sizes.min(axis=1))))
    return side, side


def decode_image(encoded: bytes | Path, size: tuple[int, int]) -> tuple[np.ndarray, int]:
    """Decodes one image to (H, W, 3) uint8 RGB of the given size, and its content key."""
    with Image.open(_opened(encoded)) as image:
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        rgb = to_rgb(image)
    pixels = np.asarray(rgb)
    key = _key(pixels)
    if pixels.shape[:2] != size:
        pixels = np.asarray(ImageOps.fit(rgb, (size[1], size[0]), Image.Resampling.BICUBIC))
    return pixels, key


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB: transparency on white, 16-bit grey by its upper eight bits."""
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.nan_to_num(np.asarray(image).astype(np.float64))
        grey = grey * 255 if image.mode == "F" else grey / 256
        image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def _opened(encoded: bytes | Path) -> BytesIO | Path:
    if encoded == b"":
        raise ValueError("it is empty")
    return BytesIO(encoded) if isinstance(encoded, bytes) else encoded


def _key(pixels: np.ndarray) -> int:
    shape = np.array(pixels.shape[:2], dtype="<u4").tobytes()
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=8, salt=shape)
    return int.from_bytes(digest.digest(), "little")


def _size(item: tuple[int, bytes | Path]) -> tuple[int, int]:
    """Returns (height, width) as shown, from the header alone."""
    with Image.open(_opened(item[1])) as image:
        # Other readers turn the size themselves, or must decode the image to know its EXIF: the
        # few of those that are turned are scaled later instead.
        may_lie = image.format in {"JPEG", "MPO", "WEBP"}
        lying = may_lie and image.getexif().get(0x0112, 1) >= 5
        return (image.width, image.height) if lying else (image.height, image.width)


def _run(
    work: Callable[[tuple[int, bytes | Path]], _Result],
    parts: Sequence[EncodedImages],
    tell: Callable[[int], None],
) -> list[_Result]:
    """Does the work on every image, a window at a time, and gathers all failures into one error."""
    results: list[_Result] = []
    failures: list[tuple[int, Exception]] = []

    def attempt(item: tuple[int, bytes | Path]) -> _Result | None:
        try:
            return work(item)
        # Pillow's readers raise nearly anything on damaged files (struct.error, SyntaxError, ...).
        except Exception as error:
            failures.append((item[0], error))
            return None

    workers = min(8, os.cpu_count() or 1)
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for window in _windows(enumerate(_chain(parts)), 32 * workers):
            results += [result for result in pool.map(attempt, window) if result is not None]
            done += len(window)
            tell(done)
    if failures:
        raise _broken(parts, failures)
    return results


def _chain(parts: Sequence[EncodedImages]) -> Iterator[bytes | Path]:
    for part in parts:
        yield from part


def _windows(items: Iterable[_Result], size: int) -> Iterator[list[_Result]]:
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def _broken(parts: Sequence[EncodedImages], failures: list[tuple[int, Exception]]) -> InputError:
    place, error = min(failures, key=lambda failure: failure[0])
    for part in parts:
        if place < len(part):
            break
        place -= len(part)
    name = f"image '{part.paths[place]}'" if part.paths else "the image"
    number = f" ({counted(len(failures), 'such image')} in all)" if len(failures) > 1 else ""
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "of no known image format" if unknown else str(error) or type(error).__name__
    return InputError(
        f"{name} cannot be decoded: {reason}{number}",
        hint="replace the file or remove its row",
        file=part.table.path,
        row=part.row(place),
        column=part.column,
    )

"""A folder of class-named folders as a table with the columns "image" and "label"."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from PIL import Image

from labelfix.errors import InputError
from labelfix.inputs.file_names import as_text, is_utf8
from labelfix.inputs.formats import format_of
from labelfix.inputs.messages import counted, quoted

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


def read_folder(root: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Lists the images below `root`, sorted by path; returns the table and notices.

    Column "image" is the path relative to `root` with forward slashes; "label" is the name of the
    first folder on it, null for files directly in `root`. Hidden files and folders are ignored;
    files that no image reader claims by their suffix are left out, with a notice.

    Raises:
        InputError: there are no class folders, no images, or the classes are split names.
    """
    found = sorted(_walk(root, ""))
    files = [as_text(name) for name in found]
    images, others = _part(files)
    classes = sorted({path.split("/", 1)[0] for path in images if "/" in path})
    if not classes:
        raise _no_classes(root, images, others)
    splits = _splits(classes, images)
    if splits:
        others = [name for name in classes if name not in splits]
        beside = f" beside {quoted(others)}" if others else ""
        raise InputError(
            f"holds the splits {quoted(splits)}{beside}, not classes",
            hint=f"give one split, such as {root / _largest(splits)}",
            file=root,
        )
    labels = [path.split("/", 1)[0] if "/" in path else None for path in images]
    table = pa.table({"image": pa.array(images, pa.string()), "label": pa.array(labels)})
    return table, (*_left_out(root, others), *_not_utf8(root, found))


def _largest(splits: list[str]) -> str:
    """The split to name as an example: the training rows, where there are any."""
    return next((name for name in splits if name.lower().startswith("train")), splits[0])


def _splits(folders: list[str], images: list[str]) -> list[str]:
    """The folders that are splits: all of them by their names, or those that hold class folders.

    A class may be called "train": its images lie in that folder itself, or all in one below it.
    """
    named = [name for name in folders if name.lower() in _SPLITS]
    if len(named) == len(folders):
        return named
    parts = [path.split("/") for path in images]
    below = {name: {part[1] for part in parts if part[0] == name and part[2:]} for name in named}
    flat = {part[0] for part in parts if len(part) == 2}
    return [name for name in named if len(below[name]) > 1 and name not in flat]


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    """Yields relative paths of all files that are not hidden; follows links to folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def _part(files: list[str]) -> tuple[list[str], list[str]]:
    known = tuple(Image.registered_extensions())
    images = [path for path in files if path.lower().endswith(known)]
    others = [path for path in files if not path.lower().endswith(known)]
    return images, others


def _left_out(root: Path, others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    files = counted(len(others), "file")
    return (
        f"{root.resolve().name}: {files} left out that are not images, the first '{others[0]}'",
    )


def _not_utf8(root: Path, found: list[str]) -> tuple[str, ...]:
    odd = [as_text(name) for name in found if not is_utf8(name)]
    if not odd:
        return ()
    files = counted(len(odd), "file name")
    return (
        f"{root.resolve().name}: {files} not in UTF-8, written by their bytes, the first "
        f"'{odd[0]}' (convmv -r -f latin1 -t utf8 --notest renames them)",
    )


def _no_classes(root: Path, images: list[str], others: list[str]) -> InputError:
    tables = [path for path in others if format_of(Path(path))]
    if tables:
        first = min(tables, key=lambda path: (path.count("/"), path))
        hint = f"give the table itself, such as {root / first}"
    elif images:
        hint = "put each image into a folder named after its class, or give a table of labels"
    else:
        hint = "give a folder that holds one folder of images a class, or a table"
    found = "no folders of images" if images else "no images"
    return InputError(f"is a folder with {found} in it", hint=hint, file=root)

"""One table of several files: a folder of shards, or a pattern such as `data/train-*.parquet`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from labelfix.errors import InputError
from labelfix.inputs.formats import format_of
from labelfix.inputs.messages import counted, quoted


def files_of_folder(folder: Path) -> tuple[Path, ...]:
    """Returns the files of the table that a folder holds, in row order; none where it holds none.

    The names tell: `train-00000-of-00002.parquet`, `part-0.csv`, `data-00000-of-00001.arrow` differ
    by numbers alone. Files whose names begin with `_` or `.` are no rows. A folder that holds
    folders of images is no table.

    Raises:
        InputError: shards are missing, or the folder holds several tables.
    """
    _refuse_splits(folder)
    entries = list(folder.iterdir())
    if any(entry.is_dir() and _holds_images(entry) for entry in entries):
        return ()
    tables = sorted(path for path in entries if _is_table(path))
    groups: dict[str, list[Path]] = {}
    for path in tables:
        groups.setdefault(_stem(path), []).append(path)
    shards = {stem: paths for stem, paths in groups.items() if all(map(_is_shard, paths))}
    if not shards:
        return ()
    if len(groups) > 1:
        first = next(iter(shards.values()))[0]
        raise InputError(
            f"holds several tables: {quoted([paths[0].name for paths in groups.values()])}",
            hint=f"give the files of one, in quotes: '{folder / _pattern(first)}'",
            file=folder,
        )
    return _complete(next(iter(shards.values())))


def files_of_pattern(pattern: Path) -> tuple[Path, ...]:
    """Returns the files that a pattern with `*` or `?` in its last part names, in row order.

    Raises:
        InputError: it names no table.
    """
    folder = pattern.parent
    found = sorted(folder.glob(pattern.name)) if folder.is_dir() else []
    tables = [path for path in found if _is_table(path)]
    if not tables:
        raise InputError("names no table", hint="check the pattern and its folder", file=pattern)
    return _complete(tables)


def is_pattern(path: Path) -> bool:
    """Whether a path that does not exist is a pattern."""
    return bool(re.search(r"[*?]", path.name)) and not path.exists()


def _is_table(path: Path) -> bool:
    hidden = path.name.startswith((".", "_"))
    return not hidden and path.is_file() and format_of(path) is not None


def _holds_images(folder: Path) -> bool:
    known = Image.registered_extensions()
    return any(path.suffix.lower() in known for path in folder.iterdir())


def _stem(path: Path) -> str:
    """What the names of a table's shards share: all before the first number, and the format."""
    form = format_of(path)
    return f"{re.split('[0-9]', path.name)[0]} {form.title if form else ''}"


def _is_shard(path: Path) -> bool:
    return bool(re.match(r"[^0-9]*?(^|[-_.])[0-9]", path.name))


def _pattern(path: Path) -> str:
    return f"{re.split('[0-9]', path.name)[0]}*{path.suffix}"


def _complete(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The shards in the order of their numbers.

    Raises:
        InputError: their names say that there are more.
    """
    ordered = sorted(paths, key=_numbers)
    total = re.search(r"-of-([0-9]+)", ordered[0].name)
    if total and int(total[1]) != len(ordered):
        raise InputError(
            f"is one of {int(total[1]):,} files, and {counted(len(ordered), 'file')} are here",
            hint="put all files of the table into one folder",
            file=ordered[0],
        )
    return tuple(ordered)


def _numbers(path: Path) -> tuple[tuple[int, ...], str]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", path.name)[:1]), path.name


def _refuse_splits(folder: Path) -> None:
    """A saved DatasetDict of Hugging Face holds one folder for each split."""
    try:
        splits = json.loads((folder / "dataset_dict.json").read_text())["splits"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    raise InputError(
        f"holds the splits {quoted(splits)}",
        hint=f"give one of them: {folder / str(splits[0])}",
        file=folder,
    )

r"""File names as text and back, where their bytes are not UTF-8 (files from a Latin-1 zip).

A byte that is no UTF-8 is written as `\xe9` in ids and paths, and read back from there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator


def as_text(name: str) -> str:
    r"""Returns a name from the file system as text that any file can hold: `caf\xe9.png`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Whether a name from the file system is UTF-8."""
    return as_text(name) == name


def find_file(root: str, text: str) -> str:
    """Returns the path of the file that a table or `as_text` wrote, whether it exists or not.

    A name that is not there as written is looked for with the bytes that it stands for, and in
    Latin-1: the table may be converted to UTF-8 where the file names are not.

    Args:
        root: the folder that it is relative to.
        text: the path as written.
    """
    path = os.path.join(root, text)
    if text.isascii() and "\\x" not in text:
        return path
    found = (os.path.join(root, name) for name in (text, *_other_names(text)))
    return next((name for name in found if os.path.exists(name)), path)


def _other_names(text: str) -> Iterator[str]:
    escaped = text.encode("utf-8", "surrogateescape")
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), escaped)
    yield os.fsdecode(raw)
    try:
        yield os.fsdecode(text.encode("latin-1"))
    except UnicodeEncodeError:
        return

"""Where an export goes: a folder here, or an address that fsspec opens (s3://, gs://, memory://)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


@dataclass(frozen=True)
class Destination:
    """A folder on some file system.

    Attributes:
        system: fsspec's file system.
        path: the folder's path on it.
    """

    system: Any
    path: str

    @classmethod
    def of(cls, address: str) -> Destination:
        """The folder at a path or an address.

        Raises:
            ValueError: no such kind of address.
            ImportError: the package for this kind of address is missing.
        """
        system, path = fsspec.core.url_to_fs(address)
        return cls(system, path.rstrip("/"))

    @property
    def is_local(self) -> bool:
        return isinstance(self.system, LocalFileSystem)

    def is_empty(self) -> bool:
        """Whether nothing lies there yet."""
        return not self.system.exists(self.path) or (
            self.system.isdir(self.path) and not self.system.ls(self.path, detail=False)
        )

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A new file below the folder, for writing; folders on the way are made."""
        path = f"{self.path}/{name}"
        self.system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        with self.system.open(path, "wb") as file:
            yield file

    def write(self, name: str, content: bytes | str) -> None:
        """A whole small file."""
        with self.open(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

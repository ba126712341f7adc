"""What a long run tells a person: lines, and tasks with a count; the library itself is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int, int, str], None]  # done, total, a short detail


class Reporter(Protocol):
    """Where a run reports."""

    def say(self, line: str) -> None:
        """One line that stays."""
        ...

    def task(self, name: str) -> AbstractContextManager[Advance]:
        """A piece of long work; what it yields is called with (done, total, detail)."""
        ...


class Silent:
    """Reports nothing."""

    def say(self, line: str) -> None:
        pass

    @contextmanager
    def task(self, name: str) -> Iterator[Advance]:
        yield lambda done, total, detail: None


SILENT = Silent()

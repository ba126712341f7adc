"""The error for what a person can correct, and the one for learning that went wrong."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """The input or the usage is wrong: one line with the place, the problem and the hint.

    Args:
        problem: what is wrong, as a short clause ("holds no rows").
        hint: what the person can do about it ("give a table with at least two rows").
        file: the file or folder at fault.
        row: the row at fault, counted from 1 over the data rows (a CSV header is not a row).
        column: the column at fault.

    The command line prints it as one line and exits with status 2.
    """

    def __init__(
        self,
        problem: str,
        *,
        hint: str,
        file: str | Path | None = None,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        place = [
            str(file) if file is not None else "",
            f"row {row}" if row is not None else "",
            f"column '{column}'" if column is not None else "",
        ]
        where = ", ".join(part for part in place if part)
        message = f"{where}: {problem}; {hint}" if where else f"{problem}; {hint}"
        super().__init__(" ".join(message.split()))


class DegenerateLearningError(RuntimeError):
    """Learning produced nothing usable (NaN, collapsed classes, an empty split)."""

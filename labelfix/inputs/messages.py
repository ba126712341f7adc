"""Words that several error messages share: the nearest known name, and short lists of names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def quoted(names: Sequence[str], most: int = 8) -> str:
    """Lists names in quotes, the first `most` of them and then how many more there are."""
    shown = ", ".join(f"'{name}'" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Returns "did you mean 'x'? " for the closest known name, or nothing where none is close."""
    folded = {candidate.strip().casefold(): candidate for candidate in reversed(known)}
    close = difflib.get_close_matches(name.strip().casefold(), list(folded), n=1)
    return f"did you mean '{folded[close[0]]}'? " if close else ""


def counted(number: int, noun: str) -> str:
    """Returns "1 row", "2 rows", "12,000 rows"; "class" becomes "classes"."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"

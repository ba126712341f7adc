"""decisions-….csv, as the review page writes it, read and held against its plan."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from labelfix.errors import InputError

COLUMNS = ("id", "label", "decision", "reviewer", "plan", "position", "seconds", "decided_at")
WORDS = ("label", "unsure", "none", "skip")
REVIEWER = re.compile(r"[A-Za-z0-9._-]{0,32}")


@dataclass(frozen=True, kw_only=True)
class DecisionsFile:
    """The decisions of one file.

    Attributes:
        path: the file.
        table: one row a position and reviewer, of :data:`COLUMNS`, all text but ``position``.
        notices: what a person should know, one line each.
    """

    path: Path
    table: pd.DataFrame
    notices: tuple[str, ...]


def read_decisions(path: Path, plan: pd.DataFrame, plan_id: str, names: list[str]) -> DecisionsFile:
    """Read a decisions file and hold it against its plan.

    Args:
        path: the file; with commas, or with semicolons as Excel writes it.
        plan: plan.parquet: columns id, position, part, inclusion.
        plan_id: the plan that it must be for.
        names: the classes.

    Raises:
        InputError: it is no such file, is for another plan, or a row of it cannot be right.
    """
    found, notices = open_decisions(path)
    missing = [
        name for name in ("id", "label", "decision", "plan", "position") if name not in found
    ]
    if missing:
        raise InputError(
            f"has no column '{missing[0]}'",
            hint="give the file that the review page downloads",
            file=path,
        )
    for name, value in (("reviewer", ""), ("seconds", ""), ("decided_at", "")):
        if name not in found:
            found[name] = value
    _require(found.plan == plan_id, found, path, "plan", f"is for another plan than {plan_id}")
    position = pd.to_numeric(found.position, errors="coerce")
    known = position.isin(plan.position)
    _require(known, found, path, "position", "is no position of the plan")
    found["position"] = position.astype(int)
    _require(found.decision.isin(WORDS), found, path, "decision", f"is none of {', '.join(WORDS)}")
    named = found.decision != "label"
    fits = named | found.label.isin(names)
    if not fits.all():
        row = int((~fits).to_numpy().argmax())
        near = get_close_matches(found.label.iloc[row], names, 1)
        raise InputError(
            f"'{found.label.iloc[row]}' is no class of the run",
            hint=f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(names[:10])}",
            file=path, row=row + 1, column="label",
        )  # fmt: skip
    good = found.reviewer.map(lambda text: bool(REVIEWER.fullmatch(text)))
    _require(good, found, path, "reviewer", "is no name: letters, digits, '.', '_' and '-' only")
    _require(found.decided_at.map(_is_time), found, path, "decided_at", "is no time as ISO 8601")
    ids = plan.set_index("position").id.reindex(found.position).to_numpy()
    changed = int((found.id.to_numpy() != ids).sum())
    if changed:
        notices.append(
            f"{path.name}: {changed} ids differ from the plan's, as a spreadsheet may change "
            "them; the rows are found by their position"
        )
        found["id"] = ids
    for name in ("part", "inclusion"):
        if name in found:
            own = plan.set_index("position")[name].reindex(found.position).astype(str).to_numpy()
            _require(found[name].to_numpy() == own, found, path, name, "was changed")
    keys = ["position", "reviewer"]
    last = found.sort_values("decided_at", kind="stable").drop_duplicates(keys, keep="last")
    if len(last) < len(found):
        notices.append(f"{path.name}: of several decisions on one row the last one counts")
    return DecisionsFile(
        path=path, table=last[list(COLUMNS)].sort_values(keys), notices=tuple(notices)
    )


def open_decisions(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """The file as text, its columns in lower case, and what to say of how it was read."""
    if not path.is_file():
        raise InputError("does not exist", hint="check the path", file=path)
    if not path.stat().st_size:
        raise InputError("is an empty file", hint="download the decisions again", file=path)
    try:
        text = path.read_text("utf-8-sig")
        header = text.split("\n", 1)[0]
        separator = ";" if header.count(";") > header.count(",") else ","
        found = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except (UnicodeDecodeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot be read ({reason})", hint="download the decisions again", file=path
        ) from error
    found.columns = [str(name).strip().lower() for name in found.columns]
    if not len(found):
        raise InputError("holds no decisions", hint="decide some rows first", file=path)
    notices = [f"{path.name}: read with semicolons"] if separator == ";" else []
    return found, notices


def _require(
    holds: pd.Series | np.ndarray, found: pd.DataFrame, path: Path, column: str, problem: str
) -> None:
    """The first row that breaks a rule, as an error."""
    holds = pd.Series(holds, index=found.index)
    if holds.all():
        return
    row = int((~holds).to_numpy().argmax())
    raise InputError(
        f"'{found[column].iloc[row]}' {problem}",
        hint="give the file as the review page of this plan downloaded it",
        file=path,
        row=row + 1,
        column=column,
    )


def _is_time(text: str) -> bool:
    if not text:
        return True
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True

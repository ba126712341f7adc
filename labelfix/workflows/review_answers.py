"""What people decided about a plan's rows: checked, stored, summed up, and folded back in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from labelfix import contract
from labelfix.annotations import Drawn
from labelfix.decide.review_plan import RANDOM, REPEAT, TARGETED
from labelfix.equations.anytime import SHOWN, gain_evidence
from labelfix.errors import InputError
from labelfix.workflows.decisions_file import DecisionsFile, open_decisions, read_decisions

RANDOM_FILE, CHOSEN_FILE, RETIRED_FILE = "checked-random.csv", "checked-chosen.csv", "retired.csv"


@dataclass(frozen=True, kw_only=True)
class ReviewProgress:
    """How far a review is.

    Attributes:
        plan: its id.
        decided, rows: positions decided, and in the plan.
        corrected, broken: among random rows, labels that purify made right, and made wrong.
        evidence: the e-value for a gain, which may be read at any time.
        self_agreement, pair_agreement: shares of rows decided twice alike, by one person and by
            two; None = there are none.
        unsettled: rows on which answers differ and no majority decides.
        notices: what a person should know, one line each.
    """

    plan: str
    decided: int
    rows: int
    corrected: int
    broken: int
    evidence: float
    self_agreement: float | None
    pair_agreement: float | None
    unsettled: int
    notices: tuple[str, ...] = field(default_factory=tuple)

    @property
    def finished(self) -> bool:
        return self.decided >= self.rows

    @property
    def gain_shown(self) -> bool:
        return self.evidence >= SHOWN


def add_decisions(run: Path, files: Sequence[Path]) -> ReviewProgress:
    """Check and store decisions, and say how far the review is.

    Args:
        run: a purify output folder with a plan.
        files: as review pages downloaded them, all of one plan.

    Raises:
        InputError: a file is not usable, its plan is unknown, or was made for another result.
    """
    labels = contract.read_labels(run)
    name = _plan_of(files[0])
    folder = run / "review" / name
    plan = _read_plan(folder, labels, files[0])
    names = list(labels.class_names)
    found = [read_decisions(file, plan, name, names) for file in files]
    for each in found:
        _store(folder, each)
    notices = tuple(line for each in found for line in each.notices)
    progress = _progress(folder, plan, labels, notices)
    _write_checked(run, labels)
    return progress


def _plan_of(file: Path) -> str:
    """The plan that a decisions file names."""
    table, _ = open_decisions(file)
    if "plan" not in table:
        raise InputError(
            "has no column 'plan'", hint="give the file that the review page downloads", file=file
        )
    return str(table.plan.iloc[0])


def _read_plan(folder: Path, labels: contract.Labels, file: Path) -> pd.DataFrame:
    try:
        plan = pd.read_parquet(folder / "plan.parquet")
    except (OSError, ValueError) as error:
        raise InputError(
            f"is for plan '{folder.name}', which this run does not have",
            hint="give the run for which the plan was made",
            file=file,
        ) from error
    rows = plan.row.to_numpy()
    same = rows.max(initial=-1) < len(labels) and (labels.ids[rows] == plan.id.to_numpy()).all()
    names = np.array([*labels.class_names, None], dtype=object)
    if not same or (names[labels.given[rows]] != plan.given_label.to_numpy(object)).any():
        raise InputError(
            "is for a plan that was made for another result",
            hint="make a new plan with labelfix review RUN --budget N",
            file=file,
        )
    return plan


def _store(folder: Path, found: DecisionsFile) -> None:
    """Lay the decisions over those that the same reviewers gave before."""
    for reviewer, table in found.table.groupby("reviewer"):
        file = folder / (f"decisions-{reviewer}.csv" if reviewer else "decisions.csv")
        if file.exists():
            before = pd.read_csv(file, dtype=str, keep_default_na=False)
            before["position"] = before.position.astype(int)
            table = pd.concat([before, table]).drop_duplicates("position", keep="last")
        aside = file.with_name(f".{file.name}.partial")
        table.sort_values("position").to_csv(aside, index=False, lineterminator="\r\n")
        aside.replace(file)


def _decisions_in(folder: Path) -> pd.DataFrame:
    files = sorted(folder.glob("decisions*.csv"))
    tables = [pd.read_csv(file, dtype=str, keep_default_na=False) for file in files]
    found = pd.concat(tables) if tables else pd.DataFrame(columns=["position", "decision"])
    found["position"] = found.position.astype(int)
    return found


def _answers(folder: Path, plan: pd.DataFrame) -> pd.DataFrame:
    """One answer a row of the plan: what the majority said; ``answer`` None = no majority.

    Columns: id, row, part, inclusion, answer (a class, unsure or none), settled.
    """
    said = _decisions_in(folder).merge(plan, on="position", suffixes=("", "_plan"))
    said = said[said.decision != "skip"]
    said["answer"] = np.where(said.decision == "label", said.label, said.decision)
    rows = []
    first = plan[plan.part != REPEAT].set_index("row")
    for row, group in said.groupby("row"):
        counts = group.answer.value_counts()
        settled = len(counts) == 1 or counts.iloc[0] > counts.iloc[1]
        rows.append(
            (plan.id[plan.row == row].iloc[0], row, first.part[row], first.inclusion[row],
             counts.index[0] if settled else None, settled)
        )  # fmt: skip
    columns = ["id", "row", "part", "inclusion", "answer", "settled"]
    return pd.DataFrame(rows, columns=columns)


def _progress(
    folder: Path, plan: pd.DataFrame, labels: contract.Labels, notices: tuple[str, ...]
) -> ReviewProgress:
    said, answers = _decisions_in(folder), _answers(folder, plan)
    code = {name: number for number, name in enumerate(labels.class_names)}
    drawn = answers[(answers.part == RANDOM) & answers.answer.isin(list(code))]
    rows = drawn.row.to_numpy(int)
    right = drawn.answer.map(code).to_numpy(int)
    was, now = labels.given[rows] == right, labels.label[rows] == right
    corrected, broken = int((now & ~was).sum()), int((was & ~now).sum())
    return ReviewProgress(
        plan=folder.name,
        decided=said.position.nunique(),
        rows=len(plan),
        corrected=corrected,
        broken=broken,
        evidence=gain_evidence(corrected, broken),
        self_agreement=_agreement(said.merge(plan[["position", "row"]]), same_person=True),
        pair_agreement=_agreement(said.merge(plan[["position", "row"]]), same_person=False),
        unsettled=int((~answers.settled.astype(bool)).sum()),
        notices=notices,
    )


def _agreement(said: pd.DataFrame, *, same_person: bool) -> float | None:
    """The share of pairs of decisions on one row that are alike."""
    said = said[said.decision != "skip"].assign(
        answer=lambda t: np.where(t.decision == "label", t.label, t.decision)
    )
    alike = pairs = 0
    for _, group in said.groupby("row"):
        values = list(zip(group.reviewer, group.answer, strict=True))
        for place, (person, answer) in enumerate(values):
            for other_person, other in values[place + 1 :]:
                if (person == other_person) is same_person:
                    pairs += 1
                    alike += answer == other
    return alike / pairs if pairs else None


def decided_ids(run: Path) -> list[str]:
    """Ids of all rows that some review of this run has settled."""
    found: list[str] = []
    for name in (RANDOM_FILE, CHOSEN_FILE):
        file = run / "review" / name
        if file.exists():
            found += pd.read_csv(file, dtype=str, keep_default_na=False).id.tolist()
    return found


def reviewed_sets(run: Path) -> dict[Path, Drawn]:
    """The clean sets that a run's review left, and how the rows of each were chosen.

    Raises:
        InputError: nothing was reviewed yet.
    """
    files = {RANDOM_FILE: Drawn.RANDOM, CHOSEN_FILE: Drawn.CHOSEN}
    found = {
        run / "review" / name: drawn
        for name, drawn in files.items()
        if (run / "review" / name).exists() and _has_rows(run / "review" / name)
    }
    if not found:
        raise InputError(
            "holds no reviewed rows",
            hint="add decisions with labelfix review RUN --add FILE, or leave --reviewed out",
            file=run,
        )
    return found


def _has_rows(file: Path) -> bool:
    return len(pd.read_csv(file, dtype=str, keep_default_na=False)) > 0


def _write_checked(run: Path, labels: contract.Labels) -> None:
    """The clean sets that ``purify --reviewed`` reads, from every plan of the run."""
    parts: dict[str, list[pd.DataFrame]] = {RANDOM: [], TARGETED: []}
    retired: list[str] = []
    for folder in sorted((run / "review").iterdir()):
        if not (folder / "plan.parquet").exists():
            continue
        plan = pd.read_parquet(folder / "plan.parquet")
        answers = _answers(folder, plan)
        answers = answers[answers.settled.astype(bool)]
        if len(answers):
            retired += json.loads((folder / "plan.json").read_text())["retired"]
        for part, found in parts.items():
            found.append(answers[answers.part == part])
    names = set(labels.class_names)
    for part, file in ((RANDOM, RANDOM_FILE), (TARGETED, CHOSEN_FILE)):
        table = pd.concat(parts[part]).drop_duplicates("id", keep="last")
        is_class = table.answer.isin(names)
        pd.DataFrame(
            {
                "id": table.id,
                "label": np.where(is_class, table.answer, ""),
                "decision": np.where(is_class, "label", table.answer),
            }
        ).to_csv(run / "review" / file, index=False)
    pd.DataFrame({"id": retired}).drop_duplicates().to_csv(
        run / "review" / RETIRED_FILE, index=False
    )

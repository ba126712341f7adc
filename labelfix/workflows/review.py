"""review: the rows worth a person's time as a page, and what people decided folded back in.

RUN/review/PLAN/plan.parquet, plan.json     what is in the plan and why; not for reviewers
RUN/review/PLAN/review[-REVIEWER].html      the page of each reviewer
RUN/review/PLAN/decisions[-REVIEWER].csv    what was added
RUN/review/checked-random.csv, checked-chosen.csv, retired.csv    what purify --reviewed reads
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from labelfix import contract
from labelfix.decide.review_plan import (
    RANDOM,
    TARGETED,
    Prospect,
    ReviewPlan,
    plan_rows,
    prospects,
    random_rows,
    share_out,
)
from labelfix.errors import InputError
from labelfix.report.purify_report import Shown
from labelfix.report.review_page import ReviewRow, build_review
from labelfix.workflows.decisions_file import REVIEWER
from labelfix.workflows.output_folder import OutputFolder, write_json
from labelfix.workflows.review_answers import decided_ids
from labelfix.workflows.shown_rows import RowViews
from labelfix.workflows.source import Source

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How a plan is made.

    Attributes:
        budget: rows to look at, >= 1.
        random_share: of rows drawn at random, in [0, 1]; None = what the evidence needs.
        reviewers: names, or none: one page for anybody.
        overlap: rows that every reviewer sees.
        seed: of the draw.
    """

    budget: int
    random_share: float | None = None
    reviewers: tuple[str, ...] = ()
    overlap: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise InputError(f"--budget is {self.budget}", hint="use a number from 1 up")
        if self.random_share is not None and not 0 <= self.random_share <= 1:
            raise InputError(
                f"--random-share is {self.random_share}", hint="use a share from 0 to 1"
            )
        for name in self.reviewers:
            if not name or not REVIEWER.fullmatch(name):
                raise InputError(
                    f"--reviewers names '{name}'",
                    hint="use letters, digits, '.', '_' and '-', and commas between names",
                )
        if len(set(self.reviewers)) < len(self.reviewers):
            raise InputError("--reviewers names one twice", hint="name each once")
        if self.overlap and len(self.reviewers) < 2:
            raise InputError("--overlap comes without two --reviewers", hint="name two or more")


@dataclass(frozen=True, kw_only=True)
class MadePlan:
    """A plan that was written: its id, its pages, its parts, and what such plans would bring."""

    plan: str
    pages: list[Path]
    targeted: int
    random: int
    prospects: list[Prospect]


def make_plan(run: Path, settings: PlanSettings, *, only_show: bool = False) -> MadePlan:
    """Choose the rows worth a person's time and write a page for each reviewer.

    Args:
        run: a purify output folder.
        settings: how many rows, how drawn, for whom.
        only_show: write nothing; say what plans would bring.

    Raises:
        InputError: RUN is not usable, the budget is more than there are rows, or no evidence would
            be left.
    """
    labels = contract.read_labels(run)
    state = _State.of(run, labels)
    if settings.budget > len(state.open_rows):
        raise InputError(
            f"--budget is {settings.budget}, and {len(state.open_rows)} rows are left to check",
            hint="use a smaller number",
        )
    drawn = random_rows(
        settings.budget, len(state.audits), state.gain_residual, state.gain, settings.random_share
    )
    if not drawn and not len(state.audits):
        raise InputError(
            "no evidence would be left: no row was checked at random, and --random-share is 0",
            hint="leave --random-share out",
        )
    budgets = sorted({100, 200, 500, 1000, *(settings.budget * n for n in (1, 2, 5))})
    outlook = prospects(
        labels.doubt, state.open_rows, budgets, audits=len(state.audits),
        gain_residual=state.gain_residual, accuracy_residual=state.accuracy_residual,
        gain=state.gain,
    )  # fmt: skip
    plan = plan_rows(
        labels.doubt, state.open_rows, state.audits, budget=settings.budget, drawn=drawn,
        generator=np.random.default_rng(settings.seed),
    )  # fmt: skip
    name = _plan_id(labels, settings)
    pages = [] if only_show else _write_plan(run, labels, plan, name, settings)
    return MadePlan(
        plan=name,
        pages=pages,
        targeted=int((plan.parts == TARGETED).sum()),
        random=int((plan.parts == RANDOM).sum()),
        prospects=outlook,
    )


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is known before a plan: open rows, audits, and how far gains scatter."""

    open_rows: NDArray[np.int64]
    audits: NDArray[np.int64]
    gain: float
    gain_residual: float
    accuracy_residual: float

    @classmethod
    def of(cls, run: Path, labels: contract.Labels) -> _State:
        done = labels.checked | np.isin(labels.ids, decided_ids(run))
        open_rows = np.flatnonzero(~done)
        open_rows = open_rows[_first_of_each(_keys(run, len(labels))[open_rows])]
        rows = np.arange(len(labels))
        held = labels.soft_label[rows, labels.label].astype(np.float64)
        had = labels.given >= 0
        before = np.where(had, labels.soft_label[rows, labels.given.clip(0)], 0).astype(np.float64)
        changed = had & (labels.label != labels.given)
        gain = np.where(changed, held - before, 0.0)
        scatter = np.where(changed, held + before - gain**2, 0.0)
        return cls(
            open_rows=open_rows,
            audits=np.flatnonzero(labels.checked & had),
            gain=float(gain[had].mean()) if had.any() else 0.0,
            gain_residual=float(scatter[had].mean()) if had.any() else 0.25,
            accuracy_residual=float((held * (1 - held)).mean()),
        )


def _keys(run: Path, rows: int) -> NDArray[np.uint64]:
    """The rows' content keys, where the run decoded images; else each row is its own."""
    try:
        found = np.load(OutputFolder(run).stages / "images" / "keys.npy")
    except (OSError, ValueError, EOFError):
        return np.arange(rows, dtype=np.uint64)
    return found[:rows] if len(found) >= rows else np.arange(rows, dtype=np.uint64)


def _first_of_each(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.sort(np.unique(keys, return_index=True)[1])


def _plan_id(labels: contract.Labels, settings: PlanSettings) -> str:
    """The first 8 hexadecimal digits of what the plan depends on."""
    text = json.dumps(
        [labels.metadata.get("fingerprints"), settings.budget, settings.random_share,
         settings.seed, list(settings.reviewers), settings.overlap,
         float(labels.doubt.sum(dtype=np.float64))],
        sort_keys=True,
    )  # fmt: skip
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _write_plan(
    run: Path, labels: contract.Labels, plan: ReviewPlan, name: str, settings: PlanSettings
) -> list[Path]:
    folder = run / "review" / name
    folder.mkdir(parents=True, exist_ok=True)
    reviewers = settings.reviewers or ("",)
    seats = share_out(plan, reviewers, settings.overlap)
    names = np.array([*labels.class_names, None], dtype=object)
    pd.DataFrame(
        {
            "id": labels.ids[plan.rows],
            "row": plan.rows,
            "position": np.arange(len(plan.rows), dtype=np.int32),
            "part": plan.parts,
            "inclusion": plan.inclusion,
            "doubt": labels.doubt[plan.rows],
            "given_label": names[labels.given[plan.rows]],
            "label": names[labels.label[plan.rows]],
        }
    ).to_parquet(folder / "plan.parquet", index=False)
    write_json(
        folder / "plan.json",
        {
            "plan": name, "version": VERSION, "budget": settings.budget, "seed": settings.seed,
            "random": int((plan.parts == RANDOM).sum()),
            "targeted": int((plan.parts == TARGETED).sum()),
            "threshold": plan.threshold if np.isfinite(plan.threshold) else None,
            "rows_left": plan.rows_left, "retired": labels.ids[plan.retired].tolist(),
            "reviewers": list(settings.reviewers), "overlap": settings.overlap,
        },
    )  # fmt: skip
    shown = RowViews.of(OutputFolder(run).labels, labels).show(plan.rows)
    title = Source.of_labels(labels).data or run.resolve().name
    pages = []
    for reviewer, positions in zip(reviewers, seats, strict=True):
        rows = [_page_row(labels, plan, int(place), shown[place]) for place in positions]
        page = build_review(
            title=title, plan=name, reviewer=reviewer, class_names=labels.class_names, rows=rows
        )
        file = folder / (f"review-{reviewer}.html" if reviewer else "review.html")
        file.write_text(page, "utf-8")
        pages.append(file)
    return pages


def _page_row(labels: contract.Labels, plan: ReviewPlan, place: int, shown: Shown) -> ReviewRow:
    """A row of the page: candidates in the classes' order for the chosen part, nothing else."""
    row = int(plan.rows[place])
    candidates, guess = None, None
    if plan.parts[place] == TARGETED:
        best = np.argsort(-labels.soft_label[row], kind="stable")[:2].tolist()
        pair = {int(labels.label[row]), *best, int(labels.given[row])} - {-1}
        candidates, guess = tuple(sorted(pair)), int(labels.label[row])
    return ReviewRow(
        position=place, id=str(labels.ids[row]), shown=shown, candidates=candidates, guess=guess
    )

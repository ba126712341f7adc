"""review.html: the rows of one review plan, for one reviewer, decided by single keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labelfix.report.html import page
from labelfix.report.purify_report import Shown


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """A row to decide.

    Attributes:
        position: its place in the plan, from 0.
        id: its name.
        shown: how a person sees it.
        candidates: class codes that may be shown beside it, or None where the row must be decided
            without any hint (the random part).
        guess: the class that a contact sheet proposes, one of ``candidates``.
    """

    position: int
    id: str
    shown: Shown
    candidates: tuple[int, ...] | None = None
    guess: int | None = None


def build_review(
    *, title: str, plan: str, reviewer: str, class_names: Sequence[str], rows: Sequence[ReviewRow]
) -> str:
    """The review page as one HTML file; it needs neither Python nor a network.

    Args:
        title: the dataset's plain name.
        plan: the plan's id, under which the browser keeps decisions.
        reviewer: who decides, "" = nobody named.
        class_names: ``(K,)``.
        rows: in the order in which they are shown.
    """
    data = {
        "plan": plan,
        "reviewer": reviewer,
        "classes": list(class_names),
        "rows": [
            {
                "position": row.position,
                "id": row.id,
                **row.shown.to_dict(),
                **({"candidates": list(row.candidates)} if row.candidates is not None else {}),
                **({"guess": row.guess} if row.guess is not None else {}),
            }
            for row in rows
        ],
    }
    return page(
        "review.html",
        data=data,
        scripts=("review.js",),
        styles=("base.css", "review.css"),
        title=title,
        plan=plan,
    )

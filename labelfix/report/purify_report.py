"""report.html: what a purify run did, for a person who decides whether to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix.report.figures import (
    class_pairs,
    class_table,
    density,
    histogram,
    matrix_cells,
    rows_to_show,
)
from labelfix.report.html import CHARTS, page
from labelfix.report.sentences import (
    MOST_DUPLICATES,
    Findings,
    Proof,
    RowMap,
    calibration_note,
    duplicates_note,
    far_note,
    map_note,
    shown_note,
    verdict_of,
)

MOST_ROWS = 300  # shown with their pictures
MOST_FAR = 24
BINS = 24
PLOT_STYLE = """:where(.chart-plot) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.chart-plot text),
:where(.chart-plot tspan) {
  white-space: pre;
}"""  # the style element that the charts bring along, for the page's policy


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a person sees a row: a picture as a ``data:`` address, a text, or named values."""

    picture: str | None = None
    text: str | None = None
    fields: tuple[tuple[str, str], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """All that the report says, of N rows and K classes.

    Attributes:
        title: the dataset's plain name.
        class_names: ``(K,)``.
        ids: ``(N,)`` text.
        given, label: ``(N,)`` codes, -1 = none.
        decision: ``(N,)`` names.
        soft_label: ``(N, K)``.
        weight, label_reliability, pseudo_reliability, clid: ``(N,)``, NaN = not scored.
        review_rank: ``(N,)`` from 1.
        noise_rate: share of wrong labels among the given ones, or None.
        transition: ``(K, K)``, ``T[y, given]``.
        proof: the evidence.
        show: how a person sees these rows.
        findings: from the neighbour graph, or None where it is gone.
        row_map: or None where there is none.
        warnings, notices: sentences.
        settings: names and values of what ran.
        command: what does it again.
    """

    title: str
    class_names: tuple[str, ...]
    ids: Sequence[str]
    given: NDArray[np.int32]
    label: NDArray[np.int32]
    decision: NDArray[np.str_]
    soft_label: NDArray[np.float32]
    weight: NDArray[np.float32]
    label_reliability: NDArray[np.float32]
    pseudo_reliability: NDArray[np.float32]
    clid: NDArray[np.float32]
    review_rank: NDArray[np.int32]
    noise_rate: float | None
    transition: NDArray[np.float64]
    proof: Proof
    show: Callable[[NDArray[np.int64]], list[Shown]]
    findings: Findings | None
    row_map: RowMap | None
    warnings: Sequence[str]
    notices: Sequence[str]
    settings: Sequence[tuple[str, str]]
    command: str

    @property
    def doubt(self) -> NDArray[np.float64]:
        """``(N,)``: the chance that the delivered label is wrong."""
        rows = np.arange(len(self.label))
        return np.clip(1 - self.soft_label[rows, self.label].astype(np.float64), 0, 1)


def build_report(found: ReportData) -> str:
    """The report as one HTML page."""
    rows = _chosen(found)
    far = found.findings.far_rows[:MOST_FAR] if found.findings else np.empty(0, np.int64)
    shown = found.show(np.concatenate([rows, far]))
    cards = [_card(found, int(row), shown[place]) for place, row in enumerate(np.append(rows, far))]
    data = {
        "classes": list(found.class_names),
        "transition": matrix_cells(found.transition),
        "changes": class_pairs(found.given, found.label, len(found.class_names)),
        "calibration": [list(each) for each in found.proof.calibration],
        "calibration_note": calibration_note(found.proof),
        "weights": histogram(found.weight),
        "reliabilities": density(found.label_reliability, found.pseudo_reliability, BINS),
        "reliability_bins": BINS,
        "rows": cards[: len(rows)],
        "far": cards[len(rows) :],
        "map": _map(found),
    }
    return page(
        "report.html",
        data=data,
        scripts=(CHARTS, "report.js"),
        styles=("base.css", "report.css"),
        inline_styles=(PLOT_STYLE,),
        title=found.title,
        size=f"{len(found.label):,} rows, {len(found.class_names)} classes",
        verdict=verdict_of(found.proof),
        tiles=_tiles(found),
        warnings=found.warnings,
        class_rows=class_table(found.given, found.label, found.soft_label, found.class_names),
        shown_note=shown_note(len(rows), len(found.label)),
        map_note=map_note(found.row_map, len(found.label)),
        has_map=found.row_map is not None,
        duplicates=_duplicates(found),
        duplicates_note=duplicates_note(found.findings),
        far_note=far_note(found.findings),
        command=found.command,
        settings=found.settings,
        notices=found.notices,
    )


def _chosen(found: ReportData) -> NDArray[np.int64]:
    """The rows to show, none that a person has checked already."""
    done = found.decision == "checked"
    classes = len(found.class_names)
    return rows_to_show(
        np.where(done, -np.inf, -found.review_rank.astype(np.float64)),
        np.where(done, -np.inf, found.doubt),
        (found.given >= 0) & (found.label != found.given) & ~done,
        (found.given.astype(np.int64) + 1) * classes + found.label,
        MOST_ROWS,
    )


def _card(found: ReportData, row: int, shown: Shown) -> dict[str, Any]:
    soft_K, given = found.soft_label[row], int(found.given[row])
    alpha, clid = float(found.label_reliability[row]), float(found.clid[row])
    below = found.clid < clid if not np.isnan(clid) else None
    return {
        "id": str(found.ids[row]),
        "given": given,
        "label": int(found.label[row]),
        "decision": str(found.decision[row]),
        "probability": _rounded(soft_K[found.label[row]]),
        "given_probability": _rounded(soft_K[given]) if given >= 0 else None,
        "alpha": None if np.isnan(alpha) else round(alpha, 3),
        "clid_rank": None if below is None else round(float(below.mean()), 3),
        "rank": int(found.review_rank[row]),
        "doubt": _rounded(found.doubt[row]),
        **shown.to_dict(),
    }


def _rounded(value: float) -> float:
    return round(min(1.0, max(0.0, float(value))), 4)


def _tiles(found: ReportData) -> list[dict[str, str]]:
    count = {name: int((found.decision == name).sum()) for name in np.unique(found.decision)}
    changed = int(((found.given >= 0) & (found.label != found.given)).sum())
    rate = "unknown" if found.noise_rate is None else f"{found.noise_rate:.1%}"
    had = max(1, int((found.given >= 0).sum()))
    tiles = [
        ("Labels changed", f"{changed:,}", f"{changed / had:.1%} of those given"),
        ("Worth a look", f"{count.get('review', 0):,}", "kept, likelier wrong than right"),
        ("Estimated noise", rate, "wrong among the given labels"),
        ("Labels filled", f"{count.get('fill', 0):,}", "rows that had none"),
        ("Checked", f"{count.get('checked', 0):,}", "by a person"),
        ("Doubt left", f"{found.doubt.mean():.1%}", "mean chance that a label is wrong"),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in tiles]


def _map(found: ReportData) -> dict[str, Any] | None:
    if found.row_map is None:
        return None
    rows, places = found.row_map.rows, found.row_map.places
    given = found.given[rows]
    held = found.soft_label[rows, np.maximum(given, 0)]
    return {
        "x": np.round(places[:, 0], 4).tolist(),
        "y": np.round(places[:, 1], 4).tolist(),
        "label": found.label[rows].tolist(),
        "suspicious": [int(value) for value in (given >= 0) & (held < 0.5)],
        "id": [str(found.ids[row]) for row in rows],
    }


def _duplicates(found: ReportData) -> list[Mapping[str, str]]:
    if found.findings is None:
        return []
    pairs, distances = found.findings.pairs, found.findings.distances
    order = np.argsort(distances, kind="stable")[:MOST_DUPLICATES]
    return [
        _pair(found, int(pairs[place, 0]), int(pairs[place, 1]), float(distances[place]))
        for place in order
    ]


def _pair(found: ReportData, first: int, second: int, distance: float) -> Mapping[str, str]:
    def name(code: int) -> str:
        return "none" if code < 0 else found.class_names[code]

    now = {name(found.label[first]), name(found.label[second])}
    return {
        "first": str(found.ids[first]), "first_given": name(found.given[first]),
        "second": str(found.ids[second]), "second_given": name(found.given[second]),
        "now": " and ".join(sorted(now)), "distance": f"{distance:.2g}",
    }  # fmt: skip

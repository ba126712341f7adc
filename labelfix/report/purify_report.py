"""report.html: what a purify run did, for a person who decides whether to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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

MOST_ROWS = 300  # shown with their pictures
MOST_FAR = 24
MOST_DUPLICATES = 100
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

EvidenceKind = Literal["random", "word", "self"]
SOURCES = {
    "random": (
        "measured on random rows",
        "Rows drawn at random were checked by a person and judged without their own labels.",
    ),
    "word": (
        "measured, random on your word",
        "The checked rows were taken as a random draw because you said so. If they were chosen, "
        "these figures say nothing.",
    ),
    "self": (
        "self-estimated",
        "No row that was drawn at random has been checked. These are the model's own estimates.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a person sees a row: a picture as a ``data:`` address, a text, or named values."""

    picture: str | None = None
    text: str | None = None
    fields: tuple[tuple[str, str], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, each in [-1, 1]; None = unknown."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The evidence as the report says it.

    Attributes:
        kind: on what it rests, a key of ``SOURCES``.
        rows: how many rows were measured.
        before, after, gain: label accuracy, and its change.
        calibration: (mean probability said, share right, rows) of each bin; empty = not measured.
        calibration_error: the expected gap between the two.
    """

    kind: EvidenceKind
    rows: int
    before: Estimate
    after: Estimate
    gain: Estimate
    calibration: tuple[tuple[float, float, int], ...] = ()
    calibration_error: Estimate = field(default_factory=lambda: Estimate(value=None))


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """Some rows on a plane: row numbers ``(M,)`` and places ``(M, 2)`` in [0, 1]."""

    rows: NDArray[np.int64]
    places: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Near-duplicates and far rows; see :mod:`labelfix.decide.neighbourhood`."""

    pairs: NDArray[np.int64]
    distances: NDArray[np.float32]
    duplicate_threshold: float
    far_rows: NDArray[np.int64]
    far_distances: NDArray[np.float32]
    far_threshold: float


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
        "calibration_note": _calibration_note(found.proof),
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
        verdict=_verdict(found.proof),
        tiles=_tiles(found),
        warnings=found.warnings,
        class_rows=class_table(found.given, found.label, found.soft_label, found.class_names),
        shown_note=_shown_note(len(rows), len(found.label)),
        map_note=_map_note(found.row_map, len(found.label)),
        has_map=found.row_map is not None,
        duplicates=_duplicates(found),
        duplicates_note=_duplicates_note(found.findings),
        far_note=_far_note(found.findings),
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


def _verdict(proof: Proof) -> dict[str, str]:
    """The first screen: is the dataset better, by how much, how sure, and on what grounds."""
    source, meaning = SOURCES[proof.kind]
    before, after, gain = proof.before.value, proof.after.value, proof.gain
    if before is None or after is None or gain.value is None:
        return {
            "kind": "open", "headline": "Nothing could be measured.",
            "detail": "No row had a label to compare with.", "source": source, "meaning": meaning,
        }  # fmt: skip
    change = f"{before:.1%} of the labels were right, {after:.1%} are now"
    if gain.low is None or gain.high is None:
        return {
            "kind": "open", "headline": f"Probably {_points(gain.value)}.",
            "detail": f"{change}, by the model's own estimate.",
            "source": source, "meaning": meaning,
        }  # fmt: skip
    kind, headline = "open", "No difference could be shown."
    if gain.low > 0:
        kind, headline = "better", f"The labels got better: {_points(gain.value)}."
    elif gain.high < 0:
        kind, headline = (
            "worse",
            f"The labels got worse: {_points(gain.value)}. Keep the given ones.",
        )
    interval = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f} points with 95 % confidence"
    detail = f"{change}; {interval}, measured on {proof.rows} checked rows."
    return {
        "kind": kind, "headline": headline, "detail": detail, "source": source, "meaning": meaning
    }  # fmt: skip


def _points(gain: float) -> str:
    return f"{100 * gain:+.1f} points"


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


def _calibration_note(proof: Proof) -> str:
    error = proof.calibration_error
    if not proof.calibration or error.value is None:
        return "A point is a group of rows: how sure the soft label is, and how often it is right."
    interval = "" if error.low is None else f" ({error.low:.3f} to {error.high:.3f})"
    return f"On checked rows. Mean gap between said and right: {error.value:.3f}{interval}."


def _shown_note(shown: int, rows: int) -> str:
    part = "All rows." if shown >= rows else f"{shown} of {rows:,} rows are here:"
    kinds = (
        "the most suspicious given labels, the most doubtful new ones, and some of every change."
    )
    return part if shown >= rows else f"{part} {kinds}"


def _map_note(row_map: RowMap | None, rows: int) -> str:
    if row_map is None:
        return "There is no map: the features of this run are gone, or its rows are too few."
    part = f"{len(row_map.rows):,} rows drawn at random. " if len(row_map.rows) < rows else ""
    return (
        f"{part}Rows that look alike lie side by side (t-SNE). Colour is the new label; a ring "
        "marks a given label that looks wrong. Click a point for its id."
    )


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


def _duplicates_note(findings: Findings | None) -> str:
    if findings is None:
        return "The neighbour graph of this run is gone; purify again to see them."
    if not len(findings.pairs):
        return "None: no two rows that are nearly the same were given different labels."
    listed = min(len(findings.pairs), MOST_DUPLICATES)
    return (
        f"{len(findings.pairs):,} pairs, the closest {listed} here; all of them stand in "
        f"near_duplicates.parquet. Nearly the same means a cosine distance of at most "
        f"{findings.duplicate_threshold:.2g}, far below what is usual between nearest rows here."
    )


def _far_note(findings: Findings | None) -> str:
    if findings is None:
        return "The neighbour graph of this run is gone; purify again to see them."
    if not len(findings.far_rows):
        return "None: no row lies far from all others."
    return (
        f"{len(findings.far_rows):,} rows lie far from all others (mean cosine distance to the ten "
        f"nearest above {findings.far_threshold:.2g}); the farthest are here, all stand in "
        "far_rows.parquet."
    )

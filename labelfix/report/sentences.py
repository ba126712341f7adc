"""The report's sentences: is the dataset better, by how much, how sure, on what grounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MOST_DUPLICATES = 100  # pairs in the page

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


def verdict_of(proof: Proof) -> dict[str, str]:
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


def calibration_note(proof: Proof) -> str:
    error = proof.calibration_error
    if not proof.calibration or error.value is None:
        return "A point is a group of rows: how sure the soft label is, and how often it is right."
    interval = "" if error.low is None else f" ({error.low:.3f} to {error.high:.3f})"
    return f"On checked rows. Mean gap between said and right: {error.value:.3f}{interval}."


def shown_note(shown: int, rows: int) -> str:
    part = "All rows." if shown >= rows else f"{shown} of {rows:,} rows are here:"
    kinds = (
        "the most suspicious given labels, the most doubtful new ones, and some of every change."
    )
    return part if shown >= rows else f"{part} {kinds}"


def map_note(row_map: RowMap | None, rows: int) -> str:
    if row_map is None:
        return "There is no map: the features of this run are gone, or its rows are too few."
    part = f"{len(row_map.rows):,} rows drawn at random. " if len(row_map.rows) < rows else ""
    return (
        f"{part}Rows that look alike lie side by side (t-SNE). Colour is the new label; a ring "
        "marks a given label that looks wrong. Click a point for its id."
    )


def duplicates_note(findings: Findings | None) -> str:
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


def far_note(findings: Findings | None) -> str:
    if findings is None:
        return "The neighbour graph of this run is gone; purify again to see them."
    if not len(findings.far_rows):
        return "None: no row lies far from all others."
    return (
        f"{len(findings.far_rows):,} rows lie far from all others (mean cosine distance to the ten "
        f"nearest above {findings.far_threshold:.2g}); the farthest are here, all stand in "
        "far_rows.parquet."
    )

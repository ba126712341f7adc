"""The evidence: how right the corrected labels are, measured on audited rows, with intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest

from labelfix.decide.no_clean_set import SelfEstimate
from labelfix.equations.calibration import calibration_interval
from labelfix.equations.intervals import paired_difference


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An estimate with its 95 % interval; NaN where nothing could be measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """How right the corrected labels are, on the checked rows.

    Attributes:
        audited: True: measured on audited rows. False: the posterior's own opinion, as no row that
            has a label was checked.
        rows: rows measured.
        label_accuracy_before, label_accuracy_after: share of right labels.
        label_accuracy_gain: their difference in [-1, 1], with the interval of a paired one: it is
            the labels corrected less those broken, so an interval above 0 shows a gain.
        change_precision: share of the changes that end at the right label.
        change_recall: share of the wrong labels that end at the right one.
        calibration_error: expected gap between the soft label's confidence and its accuracy, less
            what chance adds to it on so few rows.
    """

    audited: bool
    rows: int
    label_accuracy_before: Figure
    label_accuracy_after: Figure
    label_accuracy_gain: Figure
    change_precision: Figure
    change_recall: Figure
    calibration_error: Figure

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    soft_VK: NDArray[np.float64],
    label: NDArray[np.int32],
    given: NDArray[np.int32],
    right: NDArray[np.int32],
) -> Evidence:
    """The evidence on audited rows (those that had a label), with 95 % intervals."""
    had = given >= 0
    soft_VK, label, given, right = soft_VK[had], label[had], given[had], right[had]
    was_right, is_right, changed = given == right, label == right, label != given
    confidence, hit = soft_VK.max(1), soft_VK.argmax(1) == right
    return Evidence(
        audited=True,
        rows=int(had.sum()),
        label_accuracy_before=_share(was_right),
        label_accuracy_after=_share(is_right),
        label_accuracy_gain=_gain(was_right, is_right),
        change_precision=_share(is_right[changed]),
        change_recall=_share(is_right[~was_right]),
        calibration_error=_calibration(confidence, hit),
    )


def self_estimated(figures: SelfEstimate) -> Evidence:
    """The posterior's own opinion in the same form; no intervals, since nothing was measured."""

    def figure(value: float) -> Figure:
        return Figure(value=value, low=float("nan"), high=float("nan"))

    return Evidence(
        audited=False,
        rows=figures.rows,
        label_accuracy_before=figure(figures.label_accuracy_before),
        label_accuracy_after=figure(figures.label_accuracy_after),
        label_accuracy_gain=figure(figures.label_accuracy_after - figures.label_accuracy_before),
        change_precision=figure(figures.change_precision),
        change_recall=figure(figures.change_recall),
        calibration_error=figure(figures.calibration_error),
    )


def _share(hits: NDArray[np.bool_]) -> Figure:
    if not len(hits):
        return Figure(value=float("nan"), low=0.0, high=1.0)
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    return Figure(value=float(hits.mean()), low=float(interval.low), high=float(interval.high))


def _gain(was_right: NDArray[np.bool_], is_right: NDArray[np.bool_]) -> Figure:
    corrected, broken = int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum())
    value, low, high = paired_difference(corrected, broken, len(is_right))
    return Figure(value=value, low=low, high=high)


def _calibration(confidence: NDArray[np.float64], hit: NDArray[np.bool_]) -> Figure:
    value, low, high = calibration_interval(
        torch.from_numpy(confidence), torch.from_numpy(hit.astype(np.float64))
    )
    return Figure(value=value, low=low, high=high)

"""The evidence's figures by hand, its intervals against known values, and its honesty."""

import math

import numpy as np
import pytest
from made_predictions import run

from labelfix.decide.evidence import measure
from labelfix.equations.intervals import paired_difference

WILSON = {  # (hits, rows): the interval from the formula, in double precision
    (0, 10): (0.0, 0.2775327998628892),
    (10, 10): (0.7224672001371107, 1.0),
    (5, 10): (0.236593090512564, 0.7634069094874361),
    (81, 263): (0.2552885198782742, 0.36620957698280004),  # Newcombe 1998: 0.2553 to 0.3662
    (1, 1): (0.20654931437723745, 1.0),
    (0, 1): (0.0, 0.7934506856227626),
    (297, 300): (0.9710165066376601, 0.9965933815622847),
    (49_000, 50_000): (0.9787354864649165, 0.9811907631919041),
}


def evidence_of(hits, rows):
    """Rows of two classes, of which ``hits`` end right; all had a wrong label."""
    right, given = np.ones(rows, dtype=np.int32), np.zeros(rows, dtype=np.int32)
    label = (np.arange(rows) < hits).astype(np.int32)
    return measure(np.eye(2)[label], label, given, right)


@pytest.mark.parametrize(("hits", "rows"), WILSON)
def test_shares_have_wilsons_interval(hits, rows):
    share = evidence_of(hits, rows).label_accuracy_after
    assert share.value == hits / rows
    assert (share.low, share.high) == pytest.approx(WILSON[hits, rows], abs=1e-14, rel=0)


def test_a_share_of_no_rows_is_unknown():
    share = evidence_of(0, 3).change_precision  # nothing was changed
    assert math.isnan(share.value)
    assert (share.low, share.high) == (0.0, 1.0)


def test_none_and_all_lie_within_their_intervals():
    for rows in (1, 7, 300, 1000, 49_999):
        assert evidence_of(0, rows).label_accuracy_after.low == 0
        assert evidence_of(rows, rows).label_accuracy_after.high == 1


def test_evidence_figures_by_hand():
    right = np.array([0, 0, 1, 1, 0, 1], dtype=np.int32)
    given = np.array([0, 1, 1, 0, 1, -1], dtype=np.int32)  # the last had no label: not measured
    label = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)  # mends two, breaks one, misses one
    soft = np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.4, 0.6], [0.5, 0.5]])
    found = measure(soft, label, given, right)
    assert found.audited
    assert found.rows == 5
    assert found.label_accuracy_before.value == pytest.approx(2 / 5)
    assert found.label_accuracy_after.value == pytest.approx(3 / 5)
    gain = found.label_accuracy_gain  # paired: two mended, one broken
    assert (gain.value, gain.low, gain.high) == pytest.approx(paired_difference(2, 1, 5))
    assert gain.value == pytest.approx(1 / 5)
    assert found.change_precision.value == pytest.approx(2 / 3)
    assert found.change_recall.value == pytest.approx(2 / 3)
    assert found.calibration_error.value < 0.4  # the mean gap is 0.36, most of it chance
    for name in (
        "label_accuracy_before", "label_accuracy_after", "change_precision", "calibration_error"
    ):  # fmt: skip
        figure = getattr(found, name)
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_evidence_is_honest():
    """What the checked rows say is what the others show."""
    right, given, checked, found = run(rows=4000, checked=800, noise=0.3)
    left, evidence = checked < 0, found.evidence
    assert evidence.label_accuracy_before.value == (given == right)[~left].mean()
    assert evidence.label_accuracy_after.low < (found.labels == right)[left].mean()
    assert (found.labels == right)[left].mean() < evidence.label_accuracy_after.high
    changed = left & (found.labels != given)
    now_right = (found.labels == right)[changed].mean()
    assert evidence.change_precision.low - 0.03 < now_right < evidence.change_precision.high + 0.03
    assert evidence.calibration_error.value < 0.06

"""The evidence's intervals against known values."""

import math

import numpy as np
import pytest

from labelfix.decide.evidence import measure

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

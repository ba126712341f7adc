"""How much likelier a label must be before it replaces the given one."""

import numpy as np
import pytest

from labelfix.decide.threshold import NEVER, PRIOR_ROWS, change_threshold, margins


def audited(*changes):
    """Rows given 0 of three classes: (claimed margin, the right label); 1 is the likelier one."""
    claimed, right = np.array([change[0] for change in changes]), [r for _, r in changes]
    soft = np.stack([0.5 - claimed / 2, 0.5 + claimed / 2, 0 * claimed], 1)
    return soft, np.zeros(len(changes), np.int32), np.array(right, np.int32)


def test_margins_by_hand():
    soft = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    assert margins(soft, np.array([0, 0], np.int32)) == pytest.approx([0, 0.5])


def test_half_of_a_claim_is_believed_before_any_change_was_seen():
    empty = np.empty((0, 3)), np.empty(0, np.int32), np.empty(0, np.int32)
    assert change_threshold(*empty) == 0.5
    kept = np.array([[0.9, 0.1, 0.0]]), np.array([0], np.int32), np.array([0], np.int32)
    no_label = np.array([[0.1, 0.9, 0.0]]), np.array([-1], np.int32), np.array([1], np.int32)
    assert change_threshold(*kept) == change_threshold(*no_label) == 0.5


def test_the_told_noise_rate_counts_where_no_row_is_audited():
    no_label = np.array([[0.1, 0.9, 0.0]]), np.array([-1], np.int32), np.array([1], np.int32)
    assert change_threshold(*no_label, estimated_rate=0.4) == pytest.approx(0.2 / 1.2)
    assert change_threshold(*no_label, estimated_rate=0.6) == 0
    kept = np.array([[0.9, 0.1, 0.0]]), np.array([0], np.int32), np.array([0], np.int32)
    assert change_threshold(*kept, estimated_rate=0.6) == 0.5


def test_one_change_by_hand():
    """(1 - m, m) = (0.75, 0.25) mended, beside priors at (1, 0) and (0, 1); half was wrong."""
    ends = np.array([0.75, 0.25])
    low, high = np.linalg.solve(
        np.outer(ends, ends) + PRIOR_ROWS * np.eye(2), ends + PRIOR_ROWS * np.array([0, 1])
    )
    assert low > 0
    assert high > low
    assert change_threshold(*audited((0.25, 1))) == 0
    rest = [np.tile([[1.0, 0.0, 0.0]], (9, 1)), np.zeros(9, np.int32), np.zeros(9, np.int32)]
    found = [np.concatenate(parts) for parts in zip(audited((0.25, 1)), rest, strict=True)]
    low, high = np.linalg.solve(
        np.outer(ends, ends) + PRIOR_ROWS * np.eye(2), ends + PRIOR_ROWS * np.array([2 / 11 - 1, 1])
    )
    assert change_threshold(*found) == pytest.approx(-low / (high - low))


def test_what_changes_brought_decides():
    mends = [(m, 1) for m in np.linspace(0.05, 0.95, 40)]
    breaks = [(m, 0) for m in np.linspace(0.05, 0.95, 40)]
    assert change_threshold(*audited(*mends)) == 0
    assert change_threshold(*audited(*breaks)) == NEVER
    unsure_break = [(m, int(m > 0.7)) for m in np.linspace(0.05, 0.95, 200)]
    assert change_threshold(*audited(*unsure_break)) == pytest.approx(0.7, abs=0.05)
    sure_break = [(m, int(m < 0.5)) for m in np.linspace(0.05, 0.95, 200)]
    assert change_threshold(*audited(*sure_break)) == NEVER


def test_wrong_before_and_after_counts_for_nothing():
    idle = [(0.4, 2)] * 100
    assert 0 <= change_threshold(*audited(*idle)) <= 0.5

"""Anytime-valid statements: by hand, and how often peeking claims what is not there."""

import numpy as np
import pytest
from scipy.integrate import quad

from labelfix.equations.anytime import SHOWN, confidence_sequence, gain_evidence


@pytest.mark.parametrize(("corrected", "broken"), [(0, 0), (1, 0), (5, 0), (3, 4), (30, 10)])
def test_the_e_value_is_a_mean_likelihood_ratio(corrected, broken):
    rows = corrected + broken
    expected = 2 * quad(lambda p: 2**rows * p**corrected * (1 - p) ** broken, 0.5, 1)[0]
    assert gain_evidence(corrected, broken) == pytest.approx(expected, rel=1e-8)


def test_peeking_after_every_row_seldom_claims_a_gain_that_is_not_there():
    random, claims = np.random.default_rng(0), 0
    for _ in range(300):
        corrected = np.cumsum(random.integers(0, 2, 200))
        rows = np.arange(1, 201)
        claims += any(
            gain_evidence(int(w), int(n - w)) >= SHOWN for w, n in zip(corrected, rows, strict=True)
        )
    assert claims <= 0.05 * 300


def test_a_real_gain_is_shown():
    assert gain_evidence(8, 0) > SHOWN
    assert gain_evidence(40, 40) < 1


def test_the_sequence_holds_at_every_number_of_rows():
    random, missed = np.random.default_rng(1), 0
    for _ in range(60):
        values = (random.random(120) < 0.8).astype(float)
        inside = [
            low <= 0.8 <= high
            for low, high in (confidence_sequence(values[:n]) for n in range(10, 121, 10))
        ]
        missed += not all(inside)
    assert missed <= 3


def test_the_sequence_narrows_and_knows_nothing_of_no_rows():
    values = (np.random.default_rng(2).random(400) < 0.9).astype(float)
    assert confidence_sequence(values[:0]) == (0.0, 1.0)
    widths = [np.diff(confidence_sequence(values[:n]))[0] for n in (20, 100, 400)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 2 * (2 * 1.96 * np.sqrt(0.09 / 400))

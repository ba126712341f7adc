"""Intervals against known values, and their coverage."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from labelfix.equations.intervals import bootstrap_interval, wilson_interval


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (10, 10), (5, 10), (81, 263), (1, 1), (0, 1)])
def test_wilson_equals_scipys(hits, rows):
    expected = binomtest(hits, rows).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, rows) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_equals_the_published_example():
    """81 of 263: Newcombe 1998, method 3."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_solves_the_score_equation():
    low, high = wilson_interval(30, 100)
    for bound in (low, high):
        assert abs(0.3 - bound) / math.sqrt(bound * (1 - bound) / 100) == pytest.approx(
            1.959964, 1e-6
        )


def test_wilson_without_rows_knows_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_covers_the_truth_in_95_of_100_draws():
    hits = np.random.default_rng(0).binomial(80, 0.9, 3000)
    bounds = np.array([wilson_interval(int(h), 80) for h in hits])
    assert 0.93 < ((bounds[:, 0] <= 0.9) & (bounds[:, 1] >= 0.9)).mean() < 0.975


def test_bootstrap_of_a_mean_is_the_textbook_interval():
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), 400, draws=2000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_bootstrap_is_determined_and_never_negative():
    values = np.array([-1.0, 0.0, 0.5])

    def mean(rows):
        return float(values[rows].mean())

    assert bootstrap_interval(mean, 3) == bootstrap_interval(mean, 3)
    assert bootstrap_interval(mean, 3, seed=1) != bootstrap_interval(mean, 3, seed=2)
    assert bootstrap_interval(mean, 3)[0] >= 0


def test_bootstrap_without_rows():
    assert all(math.isnan(bound) for bound in bootstrap_interval(lambda rows: 0.0, 0))

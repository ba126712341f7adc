"""Intervals against known values, and their coverage."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from labelfix.equations.intervals import wilson_interval


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


@pytest.mark.parametrize("rows", [1, 7, 300, 1000, 49_999])
def test_all_or_nothing_is_within_the_interval(rows):
    assert wilson_interval(0, rows)[0] == 0
    assert wilson_interval(rows, rows)[1] == 1


def test_wilson_without_rows_knows_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_covers_the_truth_in_95_of_100_draws():
    hits = np.random.default_rng(0).binomial(80, 0.9, 3000)
    bounds = np.array([wilson_interval(int(h), 80) for h in hits])
    assert 0.93 < ((bounds[:, 0] <= 0.9) & (bounds[:, 1] >= 0.9)).mean() < 0.975

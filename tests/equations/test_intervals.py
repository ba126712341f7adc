"""The interval of a paired difference, by hand, and how often it holds."""

import math

import numpy as np
import pytest

from labelfix.equations.intervals import paired_difference


def test_the_paired_interval_by_hand_and_its_coverage():
    difference, low, high = paired_difference(10, 4, 100)
    assert difference == pytest.approx(0.06)
    first, second = 11 / 102, 5 / 102
    half = 1.959964 * math.sqrt((first + second - (first - second) ** 2) / 102)
    assert (low, high) == pytest.approx((6 / 102 - half, 6 / 102 + half))
    random = np.random.default_rng(0)
    counts = random.multinomial(80, [0.12, 0.05, 0.83], size=2000)
    inside = [
        (low <= 0.07 <= high)
        for won, lost, _ in counts
        for _, low, high in [paired_difference(int(won), int(lost), 80)]
    ]
    assert np.mean(inside) > 0.94

"""A fall on the checked rows, and when it counts."""

import numpy as np
import torch

from labelfix.retrain.checked_accuracy import CheckedAccuracy
from labelfix.training.devices import make_fabric


def closed(guard, right, wrong, **watched):
    """The guard after an epoch in which so many of its checked rows were told right and wrong."""
    rows = torch.arange(right + wrong)
    guard.count(rows, torch.where(rows < right, 0, 1))
    guard.close_epoch(make_fabric("cpu", 1, 1, "32-true"), **watched)
    return bool(guard.fell)


def test_a_fall_is_two_standard_errors_below_the_best_epoch_and_stays():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=1)
    assert not closed(guard, 100, 100)
    assert not closed(guard, 160, 40)
    # the standard error of a difference is (0.8 * 0.2 / 200 + 0.72 * 0.28 / 200) ** 0.5 = 0.0425
    assert not closed(guard, 144, 56)
    assert closed(guard, 142, 58)
    assert closed(guard, 190, 10)


def test_only_epochs_in_which_nets_teach_themselves_can_fall():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=1)
    assert not closed(guard, 160, 40, watched=False)
    assert not closed(guard, 100, 100, watched=False)
    assert closed(guard, 142, 58)  # the best epoch counts all the same


def test_two_nets_are_no_more_rows_and_unchecked_rows_tell_nothing():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=2)
    closed(guard, 160, 40)
    assert not closed(guard, 142, 58)
    guard = CheckedAccuracy(np.full(200, -1, np.int32), nets=1)
    assert not closed(guard, 160, 40)
    assert not closed(guard, 0, 200)

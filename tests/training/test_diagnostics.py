"""What a training's history says of learning that goes wrong."""

import json
from dataclasses import replace

import pytest
from bilevel_tasks import LOOP, quick, task_of

from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.training.config import EpochReport
from labelfix.training.diagnostics import TrainingLog, diagnose_folds


def history(*metrics):
    return [
        EpochReport(epoch=epoch, epochs=len(metrics) - 1, metrics=values, seconds=0.0)
        for epoch, values in enumerate(metrics)
    ]


def falling(**last):
    steps = [{"upper_loss": value, "teacher_moved": 0.1} for value in (2.0, 1.5, 1.0, 0.9)]
    return history(*steps[:-1], steps[-1] | last)


def test_nothing_is_said_where_all_is_well():
    assert diagnose_folds([falling(), falling(barrier_open=0.5)]) == []


def test_lines_name_the_sign_and_the_folds():
    (still,) = diagnose_folds([falling(teacher_moved=0.0), falling()])
    assert still.startswith("the teacher never moved")
    assert still.endswith("(in 1 of 2 folds)")
    (shut,) = diagnose_folds([falling(barrier_open=0.0)] * 2)
    assert shut.startswith("the barrier stayed at zero")
    (rose,) = diagnose_folds([falling(upper_loss=1.9)])
    assert rose.startswith("the upper loss rose")


@pytest.mark.parametrize(
    ("losses", "rises"),
    [
        ((0.00774, 0.00740, 0.00678, 0.00741), True),  # CLID, on its way to noisy labels
        ((0.00774, 0.00740, 0.00700, 0.00678), False),
        ((2.3, 1e3, 6e9, 1.3e8), True),  # never below where it began
        ((2.3, 0.9, 0.50, 0.55), False),
        ((2.3, 2.301, 2.299, 2.301), False),  # goes nowhere
        ((2.3, 1e3, 1e3), False),  # too short to say
    ],
)
def test_a_rise_is_measured_in_the_loss_s_own_range(losses, rises):
    found = diagnose_folds([history(*({"upper_loss": value} for value in losses))])
    assert bool(found) == rises


def test_a_teacher_that_never_moves_is_named(blobs):
    frozen = quick("mlc", teacher_lr=1e-30)
    found = cross_fit(task_of(blobs(rows=150)), frozen, replace(LOOP, epochs=2))
    assert [line[:23] for line in found.training_log.diagnostics] == ["the teacher never moved"]


def test_a_log_is_what_json_can_hold():
    log = replace(TrainingLog.of([falling()]), diagnostics=["a line"], chosen=[2, 0])
    assert log.folds[0][0] == {"upper_loss": 2.0, "teacher_moved": 0.1}
    assert TrainingLog(**json.loads(json.dumps(log.to_dict()))) == log

"""Which settings a method takes for a task, and which are refused."""

from dataclasses import replace

import pytest
from bilevel_tasks import task_of

from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.fold_data import FeatureRows
from labelfix.predictors.bilevel.registry import METHODS, method_for, sized


def test_methods_take_the_upper_loss_that_is_possible():
    assert method_for("mw-net", clean=True).upper_loss == "ce-clean"
    assert method_for("mw-net", clean=False).upper_loss == "clid"
    assert method_for("vri", "mae", clean=True).upper_loss == "mae"
    assert method_for("clid", "clid-sparse", clean=False).upper_loss == "clid-sparse"
    assert method_for("mlc", clean=True).needs == ("clean",)
    assert method_for("clid", clean=True).needs == ()


def test_emlc_takes_five_student_steps_to_one_of_the_teacher_on_images(blobs):
    made = blobs(rows=150)
    task = task_of(made)
    on_images = replace(task, frozen=FeatureRows(made.features))
    for some, steps in ((task, 1), (on_images, 5)):
        method, _ = sized(METHODS["emlc"], some)
        assert method.config.student_steps == steps


def test_small_sets_are_passed_more_often(blobs):
    _, epochs = sized(METHODS["mlc"], task_of(blobs(rows=100)))
    _, fewer = sized(METHODS["mlc"], task_of(blobs(rows=3000)))
    assert epochs > fewer > 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", 0), ("lr", 0), ("warm_up", 1.0), ("optimizer", "rprop"), ("tolerance", -1)],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        BilevelConfig(**{name: value})

"""Which methods run, and what becomes of learning that gave nothing."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import labelfix
from labelfix.annotations import Annotations
from labelfix.equations import corruption
from labelfix.errors import DegenerateLearningError
from labelfix.predictors.learning import Learning, Predictions
from labelfix.predictors.registry import without_collapsed
from labelfix.training.config import LoopConfig
from labelfix.training.diagnostics import collapse_of
from labelfix.training.progress import SILENT
from labelfix.workflows.samples import LearningRows

LABELS = np.array([0, 1, 2, 3, -1], np.int32)


def left_of(logs):
    """The names of what is left where collapsed predictions are left out."""
    nothing, folds = np.full(4, -1, np.int32), np.zeros(4, np.int8)
    learning = Learning(
        features=np.zeros((4, 1), np.float32),
        graph=None,
        annotations=Annotations.of(LABELS[:4], nothing, folds, 4),
        loop=LoopConfig(epochs=1),
    )
    found = Predictions(log_probabilities=logs, auxiliary=[])
    return without_collapsed(found, learning).log_probabilities


@pytest.mark.parametrize("predicted", [[0, 1, 0, 1, 0], [3, 2, 1, 0, 0]])
def test_half_of_the_classes_is_enough(predicted):
    assert collapse_of(np.eye(4)[predicted], LABELS) is None


@pytest.mark.parametrize("method", ["dmlp", "clid"])
def test_features_that_carry_nothing_change_nothing(blobs, method):
    made = blobs(classes=4)
    made.given[:280] = 0  # of 300: to predict 0 everywhere is no collapse
    made.features[:] *= 1e-3 * np.random.default_rng(0).random((300, 1))  # no class, no copies
    made.features[:, 1:] = 0
    audited = {row: int(made.given[row]) for row in range(240, 300)} if method == "dmlp" else {}
    found = labelfix.purify(made.features, made.given, audited=audited, method=method, device="cpu")
    assert (found.labels == made.given).mean() > 0.99


def test_one_class_for_many_is_a_collapse():
    always_0 = np.log(np.tile([0.9, 0.1], (1000, 1)))
    half, rare = np.arange(1000) % 2, (np.arange(1000) % 100 == 0).astype(np.int64)
    assert "collapsed onto 1 of 2 classes" in collapse_of(always_0, half)
    assert collapse_of(always_0, rare) is None


def test_a_collapsed_student_takes_its_teacher_along():
    good, bad = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]
    found = {"mlc": bad, "mlc-teacher": good}
    with pytest.raises(DegenerateLearningError, match="mlc: predictions collapsed"):
        left_of(found)
    left = left_of(found | {"vri": good})
    assert list(left) == ["vri"]


def test_predictions_that_are_not_finite_cannot_be_used():
    assert "no longer finite" in collapse_of(np.full((5, 4), np.nan), LABELS)


def test_a_collapsed_prediction_is_said_and_left_out(monkeypatch):
    said = []
    monkeypatch.setattr(type(SILENT), "say", lambda self, line: said.append(line))
    good, bad = np.eye(4, dtype=np.float32), np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]
    left = left_of({"bad": bad, "good": good})
    assert list(left) == ["good"]
    assert len(said) == 1
    assert said[0].startswith("left out: bad: predictions collapsed onto 1 of 4 classes")
    with pytest.raises(DegenerateLearningError, match="bad: predictions collapsed onto 1 of 4"):
        left_of({"bad": bad})


def test_where_most_labels_are_wrong_the_checked_rows_still_teach():
    features, right = (part[:600] for part in load_digits(return_X_y=True))
    random = np.random.default_rng(0)
    given = corruption.symmetric(right.astype(np.int32), 0.8, 10, random)
    known, rest = np.split(random.permutation(600), [100])
    audited = dict(zip(known.tolist(), right[known].tolist(), strict=True))
    found = labelfix.purify(features, given, audited=audited, device="cpu")
    alone = LogisticRegression(max_iter=1000).fit(features[known], right[known])
    share = (np.asarray(found.labels)[rest] == right[rest]).mean()
    assert share > alone.score(features[rest], right[rest]) - 0.03


def test_folds_balance_the_right_label_and_leave_the_given_to_chance():
    random = np.random.default_rng(0)
    right = np.arange(500, dtype=np.int32) % 5
    given = np.where(random.random(500) < 0.4, random.integers(0, 5, 500), right).astype(np.int32)
    checked = np.where(np.arange(500) < 250, right, -1).astype(np.int32)
    rows = LearningRows.of(
        np.zeros((500, 2), np.float32), np.arange(500, dtype=np.uint64), given, checked,
        classes=5, seed=0,
    )  # fmt: skip
    fold = rows.annotations.folds

    def counts(where):
        return np.array([(where & (fold == each)).sum() for each in range(5)])

    for code in range(5):
        assert np.ptp(counts(checked == code)) <= 1
        assert np.ptp(counts((checked < 0) & (given == code))) <= 1
    confused = [
        np.ptp(counts((checked == right) & (checked == y) & (given == z)))
        for y in range(5)
        for z in range(5)
    ]
    assert max(confused) > 1


@pytest.mark.parametrize("stray", [1.7e9, 12345.67, "time"])
def test_a_column_in_another_unit_takes_nothing_away(blobs, stray):
    made = blobs(rows=400, classes=3)
    column = np.full(400, stray if stray != "time" else 0.0)
    if stray == "time":
        column = 1.7e9 + 1e8 * np.random.default_rng(1).random(400)
    features = np.column_stack([made.features, column]).astype(np.float32)
    audited = {row: int(made.right[row]) for row in range(45)}
    found = labelfix.purify(features, made.given, audited=audited, method="dmlp", device="cpu")
    assert (found.labels == made.right).mean() > (made.given == made.right).mean() + 0.15


def test_a_handful_of_rows_and_two_checked(blobs):
    made = blobs(rows=12, classes=2)
    audited = {row: int(made.right[row]) for row in range(2)}
    found = labelfix.purify(made.features, made.given, audited=audited, device="cpu")
    assert len(found.labels) == 12

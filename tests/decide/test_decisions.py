"""What decide() decides: never worse, all kinds, the same bytes."""

import math

import numpy as np
import pytest
from made_predictions import case, noted, run

from labelfix.contract import DECISIONS, Decision, decision
from labelfix.decide.decisions import DecideConfig, decide
from labelfix.decide.pooling import fit_pool
from labelfix.decide.threshold import NEVER


def names_of(found, given, checked):
    """What labels.parquet will call each decision."""
    return decision(given, found.labels, found.soft_labels, checked >= 0)


@pytest.mark.parametrize("quality", [0.0, 1.0, 3.0])
def test_right_labels_stay(quality):
    right, given, checked, found = run(noise=0.0, quality=quality)
    assert (found.labels == right).mean() >= (given == right).mean() - 0.005
    assert (names_of(found, given, checked) == Decision.CORRECT).sum() <= 3


def test_few_checked_rows_suffice_where_errors_go_one_way():
    right, _, checked, folds, logs = case(rows=3000, classes=10, quality=4.0, checked=60)
    random = np.random.default_rng(1)
    given = np.where(random.random(3000) < 0.1, (right + 1) % 10, right).astype(np.int32)
    left = checked < 0
    found = decide({"dmlp": [logs]}, noted(given, checked, folds))
    pool = fit_pool([logs[~left]], noted(given, right, folds).part(~left))  # even spread
    plain = pool.posterior([logs], given).argmax(1)
    best = found.soft_labels.argmax(1)
    assert (best != right)[left].mean() < (plain != right)[left].mean() / 2


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("quality", [1.0, 2.5])
def test_labels_never_get_worse(noise, quality):
    right, given, checked, found = run(noise=noise, quality=quality, rows=1500)
    left = checked < 0
    assert (found.labels == right)[left].mean() >= (given == right)[left].mean() - 0.01


def test_every_decision_means_what_it_says():
    right, given, checked, found = run(noise=0.35, missing=40, quality=2.0)
    names = names_of(found, given, checked)
    counts = np.bincount(names, minlength=5)
    assert (counts > 0).all()
    labels, best = found.labels, found.soft_labels.argmax(1)
    of_given = found.soft_labels[np.arange(len(given)), given]
    for code, holds in {
        Decision.KEEP: (labels == given) & (of_given >= 0.5),
        Decision.CORRECT: (labels != given) & (given >= 0) & (labels == best),
        Decision.REVIEW: (labels == given) & (of_given < 0.5),
        Decision.FILL: (given < 0) & (labels == best),
        Decision.CHECKED: checked >= 0,
    }.items():
        rows = names == code
        assert holds[rows].all(), DECISIONS[code]
    assert ((names == Decision.FILL) == (given < 0) & (checked < 0)).all()
    assert ((names == Decision.CHECKED) == (checked >= 0)).all()
    corrected = names == Decision.CORRECT
    assert (labels == right)[corrected].mean() > 0.7


def test_checked_rows_take_the_checked_label():
    right, _, checked, found = run()
    rows = checked >= 0
    assert (found.labels[rows] == right[rows]).all()
    assert (found.soft_labels[rows] == np.eye(4)[right[rows]]).all()


def test_soft_labels_keep_the_contract():
    *_, found = run(missing=30)
    assert found.soft_labels.dtype == np.float32
    assert np.abs(found.soft_labels.sum(1, dtype=np.float64) - 1).max() < 1e-4


def test_min_precision_holds_changes_back():
    _, given, checked, free = run(noise=0.35)
    _, _, _, strict = run(noise=0.35, config=DecideConfig(min_precision=0.95))
    changed = names_of(strict, given, checked) == Decision.CORRECT
    assert 0 < changed.sum() < (names_of(free, given, checked) == Decision.CORRECT).sum()
    assert strict.soft_labels.max(1)[changed].min() >= 0.95
    _, _, _, never = run(noise=0.35, config=DecideConfig(min_precision=1.0))
    changed = names_of(never, given, checked) == Decision.CORRECT
    assert not (changed & (never.soft_labels.max(1) < 1)).any()


def test_precision_asked_for_holds_changes_back():
    _, given, checked, bold = run(noise=0.35)
    _, _, _, timid = run(noise=0.35, config=DecideConfig(min_precision=0.95))
    bold, timid = (names_of(found, given, checked) for found in (bold, timid))
    assert (timid == Decision.CORRECT).sum() < (bold == Decision.CORRECT).sum()
    assert (timid == Decision.REVIEW).sum() > (bold == Decision.REVIEW).sum()


def test_changes_that_did_harm_close_the_gate():
    """Every row was given 0. Right is 0 in two folds of four, so the rest always says: mostly 1."""
    folds = (np.arange(440) % 4).astype(np.int8)
    right = (folds < 2).astype(np.int32)
    given = np.zeros(440, dtype=np.int32)
    given[430:] = -1
    checked = np.where(np.arange(440) < 400, right, -1).astype(np.int32)
    worthless = np.log(np.tile([0.5, 0.5], (440, 1)))
    found = decide({"dmlp": [worthless]}, noted(given, checked, folds))
    assert found.change_threshold == NEVER
    names = names_of(found, given, checked)
    assert not (names == Decision.CORRECT).any()
    left = (checked < 0) & (given >= 0)
    assert (found.labels[left] == given[left]).all()
    assert (names == Decision.FILL).sum() == 10
    evidence = found.evidence
    assert evidence.label_accuracy_after.value == evidence.label_accuracy_before.value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_worthless_predictions_change_next_to_nothing(seed):
    right, given, checked, found = run(quality=0.0, noise=0.2, rows=1000, seed=seed)
    left = checked < 0
    assert (found.labels == right)[left].mean() >= (given == right)[left].mean() - 0.01
    if found.change_threshold == NEVER:
        assert (found.labels[left] == given[left]).all()


def test_fills_need_no_precision():
    right, given, checked, folds, logs = case(missing=50)
    found = decide({"dmlp": [logs]}, noted(given, checked, folds), DecideConfig(min_precision=1.0))
    names = names_of(found, given, checked)
    assert not (names == Decision.CORRECT).any()
    filled = names == Decision.FILL
    assert filled.sum() == 50
    assert (found.labels == right)[filled].mean() > 0.6


def test_one_checked_row_is_enough_to_run():
    right, given, _, folds, logs = case()
    checked = np.full(len(right), -1, np.int32)
    checked[7] = right[7]
    found = decide({"dmlp": [logs]}, noted(given, checked, folds))
    assert found.evidence.rows == 1
    assert np.isfinite(found.soft_labels).all()


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_without_audited_rows_all_given_labels_tell_the_noise(noise):
    right, given, _, folds, logs = case(rows=4000, noise=noise, quality=4.0)
    given[:150] = -1  # checked rows that nobody had labelled
    checked = np.where(np.arange(len(right)) < 150, right, -1).astype(np.int32)
    found, left = decide({"dmlp": [logs]}, noted(given, checked, folds)), checked < 0
    assert 1 - found.transition.diagonal() == pytest.approx([noise] * 4, abs=0.04)
    after, before = (found.labels == right)[left].mean(), (given == right)[left].mean()
    assert after >= before - 0.003
    assert noise < 0.1 or after > before + 0.05
    evidence = found.evidence
    assert not evidence.audited
    assert math.isnan(evidence.label_accuracy_after.low)
    assert evidence.label_accuracy_after.value == pytest.approx(after, abs=0.03)


def test_the_same_input_gives_the_same_bytes():
    (_, _, _, once), (_, _, _, again) = run(), run()
    assert once.soft_labels.tobytes() == again.soft_labels.tobytes()
    assert once.evidence == again.evidence


@pytest.mark.parametrize(("name", "value"), [("min_precision", -0.1), ("min_precision", 1.1)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        DecideConfig(**{name: value})

"""Checked rows that somebody chose lend their labels, and do no harm to the others."""

from dataclasses import replace

import numpy as np
import pytest
from made_predictions import case, noted

from labelfix.annotations import Drawn
from labelfix.decide.audits import random_audits
from labelfix.decide.decisions import decide

WAYS = {
    "only wrong": lambda wrong, random: np.flatnonzero(wrong)[:120],
    "only right": lambda wrong, random: np.flatnonzero(~wrong)[:120],
    "half wrong": lambda wrong, random: np.concatenate(
        [np.flatnonzero(wrong)[:60], np.flatnonzero(~wrong)[:60]]
    ),
}


def chosen_rows(way, noise, seed=0):
    right, given, _, folds, logs = case(rows=2000, noise=noise, quality=3.0, checked=0, seed=seed)
    rows = WAYS[way](given != right, np.random.default_rng(seed))
    clean = np.full(len(right), -1, np.int32)
    clean[rows] = right[rows]
    notes = noted(given, clean, folds)
    return right, given, rows, notes, logs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_no_way_of_choosing_makes_the_other_labels_worse(way, noise):
    right, given, rows, notes, logs = chosen_rows(way, noise)
    notes = replace(notes, drawn=np.full(len(right), Drawn.CHOSEN, np.int8))
    found = decide({"dmlp": [logs]}, notes)
    others = np.setdiff1d(np.arange(len(right)), rows)
    before, after = (given == right)[others].mean(), (found.labels == right)[others].mean()
    assert after >= before - 0.003
    assert (found.labels[rows] == right[rows]).all()
    assert np.allclose(found.soft_labels[rows].max(1), 1)
    assert not found.evidence.audited
    assert (found.sampling.chosen, found.sampling.counted) == (len(rows), 0)


def test_taken_for_a_random_draw_they_would_do_harm():
    right, given, rows, notes, logs = chosen_rows("only wrong", 0.1)
    others = np.setdiff1d(np.arange(len(right)), rows)
    notes = replace(notes, drawn=np.full(len(right), Drawn.RANDOM, np.int8))
    found = decide({"dmlp": [logs]}, notes)
    assert found.sampling.on_word
    assert (found.labels == right)[others].mean() < (given == right)[others].mean() - 0.05


def test_a_list_of_corrections_is_recognised_without_a_word():
    right, given, rows, notes, logs = chosen_rows("only wrong", 0.1)
    others = np.setdiff1d(np.arange(len(right)), rows)
    found = decide({"dmlp": [logs]}, notes)
    assert found.sampling.chosen == len(rows)
    assert not found.evidence.audited
    assert (found.labels == right)[others].mean() >= (given == right)[others].mean() - 0.003


def test_chosen_rows_beside_random_ones_change_no_figure():
    right, given, _, folds, logs = case(rows=1500, noise=0.3, checked=150)
    clean = np.where(np.arange(1500) < 150, right, -1).astype(np.int32)
    alone = decide({"dmlp": [logs]}, noted(given, clean, folds))
    wrong = np.flatnonzero((given != right) & (clean < 0))[:80]
    more = clean.copy()
    more[wrong] = right[wrong]
    drawn = np.where(np.isin(np.arange(1500), wrong), Drawn.CHOSEN, Drawn.UNKNOWN).astype(np.int8)
    both = decide({"dmlp": [logs]}, replace(noted(given, more, folds), drawn=drawn))
    assert both.evidence == alone.evidence
    assert both.change_threshold == alone.change_threshold
    assert (both.labels[wrong] == right[wrong]).all()
    others = np.setdiff1d(np.arange(1500), wrong)
    assert np.array_equal(both.labels[others], alone.labels[others])


def test_verified_rows_without_a_given_label_always_count():
    right, given, _, folds, _ = case(rows=50, checked=10)
    given[:10] = -1
    notes = noted(given, np.where(np.arange(50) < 10, right, -1), folds)
    notes = replace(notes, drawn=np.full(50, Drawn.CHOSEN, np.int8))
    audits, report = random_audits(notes)
    assert audits.is_clean.sum() == 10
    assert report.chosen == 0

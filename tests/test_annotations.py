"""Annotations: what is known of each row, in part and without a fold."""

import numpy as np
import pytest

from labelfix.annotations import Annotations, Answer, Drawn

MADE = Annotations.of(
    np.array([0, 1, -1, 2, -1], np.int32),
    np.array([-1, 2, 0, -1, -1], np.int32),
    np.array([0, 1, 0, 1, 2], np.int8),
    3,
)


def test_what_is_known_of_a_row():
    assert MADE.best_known.tolist() == [0, 2, 0, 2, -1]
    assert MADE.audited.tolist() == [False, True, False, False, False]
    assert MADE.unverified_given.tolist() == [0, -1, -1, 2, -1]
    assert np.isnan(MADE.probability).all()


def test_a_hidden_fold_shows_no_label():
    seen = MADE.hiding(1)
    assert seen.given.tolist() == [0, -1, -1, -1, -1]
    assert seen.clean.tolist() == [-1, -1, 0, -1, -1]
    assert MADE.given.tolist() == [0, 1, -1, 2, -1]


def test_a_part_keeps_rows_together():
    part = MADE.part(np.array([3, 1]))
    assert (part.given.tolist(), part.clean.tolist(), part.folds.tolist()) == (
        [2, 1],
        [-1, 2],
        [1, 1],
    )


def test_answers_that_name_no_class_go_along():
    answers = np.array([Answer.NONE, 2, 0, Answer.WRONG, Answer.UNSURE], np.int32)
    drawn = np.array([Drawn.RANDOM] * 3 + [Drawn.CHOSEN] * 2, np.int8)
    more = Annotations.of(MADE.given, MADE.clean, MADE.folds, 3, answers=answers, drawn=drawn)
    assert more.refuted.tolist() == [True, False, False, True, False]
    assert more.part(np.array([3, 4])).answers.tolist() == [Answer.WRONG, Answer.UNSURE]
    assert more.part(np.array([2, 3])).drawn.tolist() == [Drawn.RANDOM, Drawn.CHOSEN]
    assert more.hiding(0).answers.tolist() == [-1, 2, -1, Answer.WRONG, Answer.UNSURE]
    assert MADE.answers.tolist() == MADE.clean.tolist()
    assert set(MADE.drawn) == {Drawn.UNKNOWN}


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="differ in length"):
        Annotations.of(MADE.given, MADE.clean[:3], MADE.folds, 3)

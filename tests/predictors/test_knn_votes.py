"""The neighbours' votes: by hand, and blind to the folds that must be hidden."""

import numpy as np
import pytest

from labelfix.features.neighbours import Neighbours, nearest
from labelfix.predictors.knn_votes import DOUBT, neighbour_votes, purified_votes

INF = np.inf


def graph(rows, similarities):
    return Neighbours(
        rows=np.array(rows, np.int32), similarities=np.array(similarities, np.float32)
    )


def test_votes_by_hand():
    made = graph([[1, 2, 3]] * 4, [[0.5, 0.5, 0.5], [0.9, 0.8, 0.7], [0, 0, 0], [1, -INF, -INF]])
    labels = np.array([0, 1, 1, 2], np.int32)
    found = np.exp(neighbour_votes(made, labels, np.array([0, 1, 1, 2], np.int8), 3))
    mixed = (1 - DOUBT) * np.array([0, 2 / 3, 1 / 3]) + DOUBT / 3
    np.testing.assert_allclose(found[0], mixed, rtol=1e-5)
    third = (1 - DOUBT) * np.array([0, 0, 1]) + DOUBT / 3  # rows 1 and 2 share a fold
    np.testing.assert_allclose(found[1:3], [third, third], rtol=1e-5)


def test_nearer_rows_count_for_more():
    made = graph([[1, 2]] * 3, [[0.9, 0.8]] * 3)
    labels, folds = np.array([0, 1, 2], np.int32), np.array([0, 1, 2], np.int8)
    found = np.exp(neighbour_votes(made, labels, folds, 3, temperature=0.5))
    near, far = np.exp(np.array([0.9, 0.8]) / 0.5) / np.exp(np.array([0.9, 0.8]) / 0.5).sum()
    np.testing.assert_allclose(
        found[0], (1 - DOUBT) * np.array([0, near, far]) + DOUBT / 3, rtol=1e-5
    )


def test_nobody_to_ask_is_no_vote():
    made = graph([[1], [0]], [[0.5], [-INF]])
    found = neighbour_votes(made, np.array([-1, -1], np.int32), np.array([0, 1], np.int8), 4)
    np.testing.assert_allclose(found, -np.log(4), rtol=1e-6)


@pytest.mark.parametrize("hidden", [-1, 3])
def test_hidden_folds_have_no_vote(blobs, hidden):
    made = blobs()
    near = nearest(made.features)
    before = neighbour_votes(near, made.given, made.folds, 3, hidden=hidden)
    changed = made.given.copy()
    unseen = (made.folds == 2) | (made.folds == hidden)
    changed[unseen] = (changed[unseen] + 1) % 3
    after = neighbour_votes(near, changed, made.folds, 3, hidden=hidden)
    own = made.folds == 2
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~unseen], after[~unseen])
    assert np.allclose(np.exp(before).sum(1), 1, atol=1e-5)


def test_neighbours_of_wrong_labels_outvote_them(blobs):
    made = blobs(noise=0.3)
    votes = neighbour_votes(nearest(made.features), made.given, made.folds, 3)
    assert (votes.argmax(1) == made.right).mean() > (made.given == made.right).mean() + 0.1


def test_purified_votes_by_hand(targets_of):
    made = graph([[1, 2], [0, 2], [0, 1]], [[0.7, 0.7]] * 3)
    folds = np.array([0, 1, 1], np.int8)
    soft = np.zeros((2, 3, 2))
    soft[0] = [[1, 0], [0.2, 0.8], [0.6, 0.4]]  # what hides fold 0: row 0 hears this
    soft[1] = [[0.9, 0.1], [0, 1], [0, 1]]  # rows 1 and 2 hear row 0 of this, not each other
    found = np.exp(purified_votes(made, targets_of(soft, folds)))
    votes = np.array([[0.4, 0.6], [0.9, 0.1], [0.9, 0.1]])
    np.testing.assert_allclose(found, (1 - DOUBT) * votes + DOUBT / 2, rtol=1e-5)


def test_purified_votes_see_nothing_of_the_hidden_fold(blobs, targets_of):
    made = blobs()
    near, random = nearest(made.features), np.random.default_rng(0)
    soft = random.dirichlet(np.ones(3), (5, len(made.given)))
    before = purified_votes(near, targets_of(soft, made.folds))
    soft[[0, 1, 3, 4]] = soft[[0, 1, 3, 4], ::-1]  # all that did not hide fold 2
    soft[2, made.folds == 2] = 1 / 3
    after, own = purified_votes(near, targets_of(soft, made.folds)), made.folds == 2
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~own], after[~own])


def test_purified_votes_are_righter_than_those_of_noisy_labels(blobs, targets_of):
    made = blobs(noise=0.5)
    near = nearest(made.features)
    one_hot = 0.2 * np.eye(3)[made.given] + 0.8 * np.eye(3)[made.right]
    found = purified_votes(near, targets_of(np.tile(one_hot, (5, 1, 1)), made.folds))
    plain = neighbour_votes(near, made.given, made.folds, 3)
    assert (found.argmax(1) == made.right).mean() > (plain.argmax(1) == made.right).mean() + 0.05

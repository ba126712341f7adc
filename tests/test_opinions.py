"""The neighbourhood's opinion: by hand, and blind to the folds that must be hidden."""

import numpy as np
import pytest

from labelfix.methods.neighbours import Neighbours, nearest
from labelfix.methods.opinions import DOUBT, neighbour_opinions

INF = np.inf


def graph(rows, similarities):
    return Neighbours(
        rows=np.array(rows, np.int32), similarities=np.array(similarities, np.float32)
    )


def test_votes_by_hand():
    made = graph([[1, 2, 3]] * 4, [[0.5, 0.5, 0.5], [0.9, 0.8, 0.7], [0, 0, 0], [1, -INF, -INF]])
    labels = np.array([0, 1, 1, 2], np.int32)
    found = np.exp(
        neighbour_opinions(made, labels, np.array([0, 1, 1, 2], np.int8), 3, temperatures=[0.05])
    )
    mixed = (1 - DOUBT) * np.array([0, 2 / 3, 1 / 3]) + DOUBT / 3
    np.testing.assert_allclose(found[0], mixed, rtol=1e-5)
    third = (1 - DOUBT) * np.array([0, 0, 1]) + DOUBT / 3  # rows 1 and 2 share a fold
    np.testing.assert_allclose(found[1:3], [third, third], rtol=1e-5)


def test_nearer_rows_count_for_more():
    made = graph([[1, 2]] * 3, [[0.9, 0.8]] * 3)
    labels, folds = np.array([0, 1, 2], np.int32), np.array([0, 1, 2], np.int8)
    found = np.exp(neighbour_opinions(made, labels, folds, 3, temperatures=[0.5]))
    near, far = np.exp(np.array([0.9, 0.8]) / 0.5) / np.exp(np.array([0.9, 0.8]) / 0.5).sum()
    np.testing.assert_allclose(
        found[0], (1 - DOUBT) * np.array([0, near, far]) + DOUBT / 3, rtol=1e-5
    )


def test_nobody_to_ask_is_no_opinion():
    made = graph([[1], [0]], [[0.5], [-INF]])
    found = neighbour_opinions(made, np.array([-1, -1], np.int32), np.array([0, 1], np.int8), 4)
    np.testing.assert_allclose(found, -np.log(4), rtol=1e-6)


@pytest.mark.parametrize("hidden", [-1, 3])
def test_hidden_folds_have_no_vote(blobs, hidden):
    made = blobs()
    near = nearest(made.features)
    before = neighbour_opinions(near, made.given, made.folds, 3, hidden=hidden)
    changed = made.given.copy()
    unseen = (made.folds == 2) | (made.folds == hidden)
    changed[unseen] = (changed[unseen] + 1) % 3
    after = neighbour_opinions(near, changed, made.folds, 3, hidden=hidden)
    own = made.folds == 2
    assert np.array_equal(before[own], after[own])
    assert not np.array_equal(before[~unseen], after[~unseen])
    assert np.allclose(np.exp(before).sum(1), 1, atol=1e-5)


def test_neighbours_of_wrong_labels_outvote_them(blobs):
    made = blobs(noise=0.3)
    opinion = neighbour_opinions(nearest(made.features), made.given, made.folds, 3)
    assert (opinion.argmax(1) == made.right).mean() > (made.given == made.right).mean() + 0.1


def test_noise_calls_for_more_voters():
    """Ring of rows, each near its two sides: alone they suffice for clean labels, not for noisy."""
    random = np.random.default_rng(0)
    rows, near = 2000, 20
    right = (np.arange(rows) // 100 % 2).astype(np.int32)
    steps = np.array([*range(1, near + 1), *range(-near, 0)])
    made = graph(
        (np.arange(rows)[:, None] + steps) % rows,
        np.tile(1 - 0.01 * np.abs(steps), (rows, 1)),
    )
    folds = random.integers(0, 5, rows).astype(np.int8)
    noisy = np.where(random.random(rows) < 0.4, 1 - right, right).astype(np.int32)
    for labels, least in ((right, 0.95), (noisy, 0.75)):
        free = neighbour_opinions(made, labels, folds, 2)
        assert (free.argmax(1) == right).mean() > least
    tight = neighbour_opinions(made, noisy, folds, 2, temperatures=[0.02])
    assert (free.argmax(1) == right).mean() > (tight.argmax(1) == right).mean() + 0.05

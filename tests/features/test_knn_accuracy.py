"""The kNN vote against a naive loop."""

import numpy as np
import pytest

from labelfix.features.knn_accuracy import knn_accuracy


def naive(queries, labels, bank, bank_labels, k, temperature=0.1, alone=False):
    right = 0
    for i, query in enumerate(queries):
        similar = [q @ query / (np.linalg.norm(q) * np.linalg.norm(query)) for q in bank]
        nearest = [j for j in np.argsort(similar)[::-1] if not (alone and i == j)][:k]
        votes = np.zeros(bank_labels.max() + 1)
        for j in nearest:
            votes[bank_labels[j]] += np.exp(similar[j] / temperature)
        right += votes.argmax() == labels[i]
    return right / len(queries)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    return rng.normal(size=(60, 5)) + np.eye(4, 5)[labels] * 1.5, labels


@pytest.mark.parametrize("k", [1, 5, 20])
def test_leave_one_out(data, k):
    features, labels = data
    expected = naive(features, labels, features, labels, k, alone=True)
    assert knn_accuracy(features, labels, k=k) == pytest.approx(expected)


def test_rows_may_ask_as_they_do_not_vote(data):
    features, labels = data
    views = features[:, ::-1]
    expected = naive(views, labels, features, labels, 5, alone=True)
    assert knn_accuracy(features, labels, k=5, views=views) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 7, 500])
def test_bank(data, k):
    features, labels = data
    expected = naive(features[:20], labels[:20], features[20:], labels[20:], k)
    found = knn_accuracy(
        features[:20], labels[:20], k=k, bank=features[20:], bank_labels=labels[20:]
    )
    assert found == pytest.approx(expected)


def test_duplicates_do_not_vote_for_themselves():
    features = np.ones((4, 3), np.float16)
    assert knn_accuracy(features, np.array([0, 0, 0, 1]), k=3) == 0.75


def test_nothing_to_ask():
    with pytest.raises(ValueError, match="no neighbours"):
        knn_accuracy(np.ones((1, 3)), np.zeros(1, int))
    with pytest.raises(ValueError, match="length"):
        knn_accuracy(np.ones((2, 3)), np.zeros(3, int))

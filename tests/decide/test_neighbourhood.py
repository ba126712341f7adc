"""Near-duplicates and far rows: found where they are planted, and nowhere else."""

import numpy as np
import pytest

from labelfix.decide.neighbourhood import neighbourhood
from labelfix.features.neighbours import nearest


def spread(rows=600, columns=16, seed=0):
    random = np.random.default_rng(seed)
    centres = 4 * random.normal(size=(5, columns))
    return (centres[np.arange(rows) % 5] + random.normal(size=(rows, columns))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_is(seed):
    found = neighbourhood(nearest(spread(seed=seed)))
    assert len(found.pairs) == 0
    assert found.far.sum() <= 1


def test_planted_copies_and_strangers_are_found():
    features = spread()
    features[10] = features[20]
    features[11] = features[21] * 1.0001
    features[30] = 60 * np.eye(16)[3] * -1
    found = neighbourhood(nearest(features))
    assert found.pairs.tolist() == [[10, 20], [11, 21]]
    assert (found.pair_distances <= found.duplicate_threshold).all()
    assert found.far[30]
    assert found.far.sum() == 1


def test_the_unit_of_the_features_changes_nothing():
    features = spread()
    features[10] = features[20]
    one, other = (neighbourhood(nearest(factor * features)) for factor in (1, 1000))
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.far, other.far)


def test_few_rows_are_left_alone():
    found = neighbourhood(nearest(spread(rows=6)))
    assert not found.far.any()

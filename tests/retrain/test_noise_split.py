"""The split by two Gaussians, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from labelfix.retrain import noise_split


def two_bumps(rows=400, seed=0):
    random = np.random.default_rng(seed)
    right = random.random(rows) < 0.6
    low, high = random.gamma(2, 0.1, rows), 2 + random.normal(0, 0.4, rows)
    return np.where(right, low, high).astype(np.float32), right


def test_the_split_is_scikit_learns_mixture():
    losses, right = two_bumps()
    found = noise_split.clean_probability(losses)
    scaled = ((losses - losses.min()) / (losses.max() - losses.min())).astype(np.float64)[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(scaled)
    expected = mixture.predict_proba(scaled)[:, mixture.means_.argmin()]
    assert np.allclose(found, expected, atol=1e-6)
    assert ((found > 0.5) == right).mean() > 0.97
    assert noise_split.noise_rate_of(losses) == pytest.approx((~right).mean(), abs=0.03)


@pytest.mark.parametrize("losses", [np.zeros(0), np.full(9, 0.7), np.array([0.1, 0.9])])
def test_where_nothing_tells_labels_apart_all_are_kept(losses):
    assert (noise_split.clean_probability(losses.astype(np.float32)) == 1).all()


def test_a_split_keeps_some_of_every_class():
    losses = np.array([0.1, 0.2, 3.0, 2.5, 2.9, 0.3], dtype=np.float32)
    classes = np.array([0, 0, 1, 1, 1, 0])
    probability = np.array([0.9, 0.8, 0.1, 0.2, 0.1, 0.4], dtype=np.float32)
    rows = (probability, losses, classes)
    taken, forced = noise_split.labelled_part(*rows, threshold=0.5, least=0.1)
    assert taken.tolist() == [True, True, False, True, False, False]  # row 3: class 1's best
    assert forced
    _, forced = noise_split.labelled_part(*rows, threshold=0.15, least=0.1)
    assert not forced

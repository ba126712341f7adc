"""The kernel classifier against scikit-learn's, and blind to hidden labels."""

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel

from labelfix.features import standardise as designs
from labelfix.features.standardise import Design
from labelfix.predictors import kernel_ridge as kernels
from labelfix.predictors.kernel_ridge import TEMPERATURE, KernelColumns, KernelRidge


def fitted(made, labels=None):
    known = np.where(made.checked >= 0, made.checked, made.given) if labels is None else labels
    return KernelRidge(KernelColumns(Design.of(made.features), 40), known, made.folds, 3)


def by_scikit(columns, targets, learns, ridge):
    """Log-probabilities of all rows, by a ridge regression on some of them."""
    model = Ridge(alpha=ridge, fit_intercept=False).fit(columns[learns], targets[learns])
    return torch.from_numpy(model.predict(columns) / TEMPERATURE).log_softmax(1).numpy()


def columns_of(made):
    """The columns, with landmarks drawn as the class draws them."""
    x = Design.of(made.features).net_rows(slice(None)).numpy()[:, :-1]
    landmarks = x[np.sort(np.random.default_rng(0).permutation(len(x))[:40])]
    return rbf_kernel(x, landmarks, gamma=1 / x.shape[1]).astype(np.float64)


def test_nested_equals_training_without_both_folds(blobs, monkeypatch):
    made = blobs(missing=30)
    monkeypatch.setattr(kernels, "RIDGES", [0.7])
    found, columns = fitted(made).nested(), columns_of(made)
    known = np.where(made.checked >= 0, made.checked, made.given)
    targets = np.eye(3)[known] - 1 / 3
    for hidden in range(5):
        for own in range(5):
            learns = (known >= 0) & (made.folds != hidden) & (made.folds != own)
            expected = by_scikit(columns, targets, learns, 0.7)[made.folds == own]
            np.testing.assert_allclose(found[hidden, made.folds == own], expected, atol=2e-4)


def test_retrained_equals_training_on_the_targets_without_the_fold(blobs, targets_of, monkeypatch):
    made = blobs(missing=30)
    monkeypatch.setattr(kernels, "RIDGES", [0.7])
    soft = np.random.default_rng(0).dirichlet(np.ones(3), (5, 300)).astype(np.float32)
    found, columns = fitted(made).retrained(targets_of(soft, made.folds)), columns_of(made)
    known = np.where(made.checked >= 0, made.checked, made.given)
    for fold in range(5):
        learns = (known >= 0) & (made.folds != fold)
        expected = by_scikit(columns, soft[fold] - 1 / 3, learns, 0.7)[made.folds == fold]
        np.testing.assert_allclose(found[made.folds == fold], expected, atol=2e-4)


def test_no_fit_sees_a_hidden_label(blobs):
    made = blobs()
    known = made.given.copy()
    before = fitted(made, known).nested()
    known[made.folds == 2] = (known[made.folds == 2] + 1) % 3
    after = fitted(made, known).nested()
    assert np.array_equal(before[2], after[2])
    assert not np.array_equal(before[0, made.folds == 1], after[0, made.folds == 1])


def test_blocks_that_are_not_held_give_the_same(blobs, monkeypatch):
    made = blobs()
    held = fitted(made).nested()
    monkeypatch.setattr(designs, "HELD_BYTES", 0)
    monkeypatch.setattr(designs, "BLOCK_ROWS", 64)
    np.testing.assert_allclose(fitted(made).nested(), held, atol=1e-4)


def test_it_learns_what_no_linear_model_can():
    random = np.random.default_rng(0)
    x = random.normal(size=(800, 2)).astype(np.float32)
    right = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    given = np.where(random.random(800) < 0.3, 1 - right, right).astype(np.int32)
    folds = (np.arange(800) % 5).astype(np.int8)
    found = KernelRidge(KernelColumns(Design.of(x)), given, folds, 2).nested()
    assert (found[folds, np.arange(800)].argmax(1) == right).mean() > 0.8
    assert (given == right).mean() < 0.75


def test_noisy_labels_ask_for_a_stronger_ridge(blobs):
    weak, strong = (fitted(blobs(noise=noise, checked=0)).ridge_G for noise in (0.0, 0.6))
    assert (strong > weak).all()


def test_own_is_what_is_nested_in_the_own_fold(blobs):
    made = blobs()
    found = fitted(made)
    own = found.nested()[made.folds, np.arange(300)]
    assert np.array_equal(found.own(), own)


def test_no_label_at_all_is_no_vote(blobs):
    made = blobs()
    found = fitted(made, np.full(300, -1, np.int32)).nested()
    np.testing.assert_allclose(found, -np.log(3), rtol=1e-6)

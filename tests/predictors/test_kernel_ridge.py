"""Ridge regression against linear algebra, and the kernel classifier against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel
from tensors import draw, relative

from labelfix.equations.ridge import (
    Spectrum,
    gaussian_columns,
    generalised_cross_validation,
    least_gcv,
    ridge_solve,
    ridge_spectrum,
)
from labelfix.features import standardise as designs
from labelfix.features.standardise import Design
from labelfix.predictors import kernel_ridge as kernels
from labelfix.predictors.kernel_ridge import TEMPERATURE, KernelColumns, KernelRidge


@pytest.mark.parametrize("ridge", [1e-3, 1.0, 50.0])
def test_ridge_solve_equals_a_linear_solve(ridge):
    features, moments = draw(2, 30, 7), draw(2, 4, 7, seed=1)
    gram = features.mT @ features
    shifted = gram + ridge * torch.eye(7, dtype=torch.float64)
    expected = torch.linalg.solve(shifted, moments.mT).mT
    assert relative(ridge_solve(moments, ridge_spectrum(gram), ridge), expected) < 1e-10


def test_ridge_of_each_fold_counts_for_that_fold():
    features, moments = draw(2, 30, 7), draw(2, 4, 7, seed=1)
    spectrum = ridge_spectrum(features.mT @ features)
    found = ridge_solve(moments, spectrum, torch.tensor([0.1, 9.0], dtype=torch.float64))
    for fold, ridge in enumerate((0.1, 9.0)):
        own = Spectrum(spectrum.values_D[fold], spectrum.vectors_DD[fold])
        alone = ridge_solve(moments[fold], own, ridge)
        assert torch.allclose(found[fold], alone, rtol=1e-12)


def test_spectrum_of_a_rank_deficient_gram_is_not_negative():
    features = draw(3, 6).float()
    assert (ridge_spectrum(features.T @ features)[0] >= 0).all()


@pytest.mark.parametrize("ridge", [0.01, 1.0, 30.0])
def test_gcv_equals_the_hat_matrix_formula(ridge):
    rows, features, targets = 25, draw(25, 5), draw(3, 25, seed=1)
    gram = features.T @ features
    hat = features @ torch.linalg.inv(gram + ridge * torch.eye(5, dtype=torch.float64)) @ features.T
    left = torch.eye(rows, dtype=torch.float64) - hat
    expected = (left @ targets.T).square().sum() / left.trace() ** 2
    found = generalised_cross_validation(
        targets @ features,
        targets.square().sum(),
        torch.tensor(float(rows)),
        ridge_spectrum(gram),
        ridge,
    )
    assert float(found) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("fails", ["nan", "error"])
def test_where_float32_fails_the_spectrum_comes_from_float64(fails, monkeypatch):
    features = torch.randn(12, 30)
    gram, solve = features.T @ features, torch.linalg.eigh

    def broken(matrix):
        if matrix.dtype == torch.float64:
            return solve(matrix)
        if fails == "error":
            raise torch.linalg.LinAlgError("did not converge")
        values, vectors = solve(matrix)
        return values.index_fill(0, torch.tensor([3]), torch.nan), vectors

    monkeypatch.setattr(torch.linalg, "eigh", broken)
    values, vectors = ridge_spectrum(gram)
    assert values.dtype == vectors.dtype == torch.float32
    torch.testing.assert_close((vectors * values) @ vectors.T, gram, rtol=1e-4, atol=1e-4)


def test_gcv_prefers_a_strong_ridge_for_noise_and_a_weak_one_for_signal():
    features = draw(40, 20)
    spectrum, rows = ridge_spectrum(features.T @ features), torch.tensor(40.0)

    def score(targets, ridge):
        energy = targets.square().sum()
        return float(
            generalised_cross_validation(targets @ features, energy, rows, spectrum, ridge)
        )

    noise, signal = draw(1, 40, seed=5), (features @ draw(20, 1, seed=6)).T
    assert score(noise, 1e3) < score(noise, 1e-3)
    assert score(signal, 1e-3) < score(signal, 1e3)


def test_gaussian_columns_equal_the_formula():
    x, z = draw(7, 3), draw(4, 3, seed=1)
    expected = rbf_kernel(x.numpy(), z.numpy(), gamma=1 / 2.5)
    np.testing.assert_allclose(gaussian_columns(x, z, 2.5), expected, rtol=1e-10)


# --- the kernel classifier ------------------------------------------------------------------


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
    monkeypatch.setattr(designs, "RESIDENT_BYTES", 0)
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


def test_the_least_score_wins_for_each_fit_and_the_first_where_there_is_none():
    features, targets = draw(2, 40, 6), draw(2, 3, 40, seed=1)
    fit = (
        targets @ features, targets.square().sum((1, 2)), torch.tensor([40.0, 40.0]),
        ridge_spectrum(features.mT @ features),
    )  # fmt: skip
    ridges = torch.tensor([[9.0, 1.0], [1e-3, 30.0], [0.5, 1e3]], dtype=torch.float64)
    scores = torch.stack([generalised_cross_validation(*fit, each) for each in ridges])
    found = least_gcv(*fit, ridges)
    assert torch.equal(found, ridges[scores.argmin(0), torch.arange(2)])
    nothing = (fit[0], fit[1], torch.zeros(2), *fit[3:])
    assert torch.equal(least_gcv(*nothing, ridges), ridges[0])

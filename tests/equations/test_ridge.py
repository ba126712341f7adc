"""Ridge regression against linear algebra and scikit-learn."""

import numpy as np
import pytest
import torch
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

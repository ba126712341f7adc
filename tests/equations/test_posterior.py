"""The posterior's equations by hand, and against what made the data."""

import math

import numpy as np
import pytest
import torch
from made_predictions import prediction

from labelfix.equations import posterior as eq


def test_transition_by_hand():
    right = torch.tensor([0, 0, 0, 1, 1, 1])
    given = torch.tensor([0, 0, 1, 1, 1, -1])  # five labelled rows, one of them wrong
    found = eq.transition_matrix(right, given, 2, prior_rows=2.0)
    rate = 1.5 / 6
    expected = [
        [(2 + 2 * (1 - rate)) / 5, (1 + 2 * rate) / 5],
        [2 * rate / 4, (2 + 2 * (1 - rate)) / 4],
    ]
    assert found.tolist() == [pytest.approx(row, rel=1e-12) for row in expected]


def test_transition_rows_sum_to_one_also_for_unseen_classes():
    found = eq.transition_matrix(torch.tensor([0, 2]), torch.tensor([1, 2]), 4)
    assert torch.allclose(found.sum(1), torch.ones(4, dtype=torch.float64))
    assert (found > 0).all()
    nothing = torch.tensor([], dtype=torch.int64)
    empty = eq.transition_matrix(nothing, nothing, 3)
    assert torch.allclose(empty.diagonal(), torch.full((3,), 0.5, dtype=torch.float64))


def test_transition_approaches_the_truth_with_many_rows():
    random = np.random.default_rng(0)
    truth = np.array([[0.7, 0.3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.4, 0.6]])
    right = random.integers(0, 3, 30_000)
    given = (random.random((30_000, 1)) > truth[right].cumsum(1)).sum(1)
    found = eq.transition_matrix(torch.from_numpy(right), torch.from_numpy(given), 3)
    assert np.allclose(found, truth, atol=0.02)


def test_the_prior_of_a_transition_follows_the_spread():
    nothing = torch.tensor([], dtype=torch.int64)
    error_transition = torch.tensor(
        [[0.0, 0.9, 0.1], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64
    )
    found = eq.transition_matrix(
        nothing, nothing, 3, error_transition
    )  # no row: a rate of one half
    assert torch.allclose(found, 0.5 * torch.eye(3, dtype=torch.float64) + 0.5 * error_transition)


def test_rate_and_spread_have_priors_of_their_own():
    right, given = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 2, 1])
    error_transition = torch.tensor(
        [[0, 0.9, 0.1], [0.5, 0, 0.5], [0.2, 0.8, 0]], dtype=torch.float64
    )
    found = eq.transition_matrix(
        right, given, 3, error_transition, rate=0.1, prior_rows=2, rate_rows=5, transition_rows=8
    )
    pooled = (2 + 0.1 * 5) / (5 + 5)
    rate = (2 + 2 * pooled) / (4 + 2)
    went = torch.tensor([0, (1 + 8 * 0.9) / 10, (1 + 8 * 0.1) / 10], dtype=torch.float64)
    assert torch.allclose(found[0, 1:], rate * went[1:], rtol=1e-12)
    assert float(found[0, 0]) == pytest.approx(1 - rate)
    assert torch.allclose(found[2, :2], pooled * error_transition[2, :2], rtol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(3, dtype=torch.float64))


def test_no_noise_at_all_is_no_division_by_zero():
    right = torch.arange(3)
    found = eq.transition_matrix(right, right, 3, rate=0.0)
    assert torch.equal(found, torch.eye(3, dtype=torch.float64))


def test_one_pass_of_the_spread_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    given = torch.tensor([1, 1, 0])
    assert np.allclose(eq.error_transition(p, given, passes=1), [[0, 1], [1, 0]])
    three = torch.cat([p, p[:, :1]], 1) / (1 + p[:, :1])  # a third class that nobody gave
    shape = eq.error_transition(three, given, prior_rows=1.0, passes=1)
    start = 0.8 * np.eye(3) + 0.1 * (1 - np.eye(3))
    counts = np.zeros((3, 3))
    for row, code in zip(three.numpy(), given.tolist(), strict=True):
        counts[:, code] += row * start[:, code] / (row * start[:, code]).sum()
    rate = (counts.sum() - counts.trace() + 0.5) / (counts.sum() + 1)
    wrong = (counts + rate / 2) * (1 - np.eye(3))
    assert np.allclose(shape, wrong / wrong.sum(1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("quality", [2.0, 4.0])
def test_the_spread_finds_where_wrong_labels_go_without_a_checked_row(quality):
    random = np.random.default_rng(0)
    right = random.integers(0, 4, 8000)
    given = np.where(random.random(8000) < 0.2, (right + 1) % 4, right)
    p = torch.from_numpy(prediction(right, 4, quality)).double().exp()
    found = eq.error_transition(p, torch.from_numpy(given))
    assert (found[range(4), [1, 2, 3, 0]] > 0.9).all()
    assert torch.equal(found.diagonal(), torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(found.sum(1), torch.ones(4, dtype=torch.float64))


def test_likelihood_of_given_takes_the_column():
    transition = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    found = eq.log_likelihood_of_given(transition, torch.tensor([0, 1, -1]))
    assert torch.allclose(found, torch.tensor([[0.9, 0.3], [0.1, 0.7], [1.0, 1.0]]).log())


def test_pool_equals_the_formula():
    logs = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], dtype=torch.float64).log()
    other = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64).log()
    transition = torch.tensor(
        [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64
    )
    given = torch.tensor([2, -1])
    weights = torch.tensor([0.9, 0.4, 0.7, 1.3], dtype=torch.float64)
    terms = eq.pool_terms([logs, other], eq.log_likelihood_of_given(transition, given), given)
    assert terms.shape == (2, 3, 4)
    found = eq.pool(weights, terms)
    for row in range(2):
        scores = [0.9 * float(logs[row, y]) + 0.4 * float(other[row, y]) for y in range(3)]
        if given[row] >= 0:
            scores = [
                score + 0.7 * math.log(transition[y, given[row]]) + 1.3 * (y == given[row])
                for y, score in enumerate(scores)
            ]
        total = sum(math.exp(score) for score in scores)
        assert found[row].tolist() == pytest.approx([math.exp(s) / total for s in scores])


def test_log_likelihood_gradient_and_hessian():
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(7, 4, 3, dtype=torch.float64, generator=generator)
    right = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    weights = torch.randn(3, dtype=torch.float64, generator=generator).requires_grad_()

    def value(w):
        return eq.pool_log_likelihood(w, terms, right)[0]

    _, gradient, hessian = eq.pool_log_likelihood(weights.detach(), terms, right)
    (expected,) = torch.autograd.grad(value(weights), weights)
    assert torch.allclose(gradient, expected, rtol=1e-10)
    assert torch.allclose(
        hessian, torch.autograd.functional.hessian(value, weights.detach()), rtol=1e-9, atol=1e-10
    )
    assert (torch.linalg.eigvalsh(hessian) <= 1e-12).all()


def test_the_rate_of_errors_needs_calibration_only():
    random = np.random.default_rng(0)
    right = random.integers(0, 4, 8000)
    given = np.where(random.random(8000) < 0.25, (right + 1) % 4, right)
    scores = random.normal(size=(8000, 4)) * 1.5
    scores[np.arange(8000), right] += 1.5 * 1.5  # calibrated: shift = squared spread
    p, codes = torch.from_numpy(scores).softmax(1), torch.from_numpy(given)
    error_transition = eq.error_transition(p, codes)
    assert eq.rate_of_errors(p, codes, error_transition) == pytest.approx(0.25, abs=0.03)
    assert eq.rate_of_errors(p, torch.from_numpy(right), error_transition) < 0.01

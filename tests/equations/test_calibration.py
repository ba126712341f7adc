"""The temperature recovers a known one; the calibration error by hand."""

import math

import pytest
import torch

from labelfix.equations.calibration import (
    calibration_interval,
    expected_calibration_error,
    fit_temperature,
)
from labelfix.equations.cross_entropy import divergence, label_loss, weighted_soft_cross_entropy


@pytest.mark.parametrize("truth", [0.3, 1.0, 2.5, 7.0])
def test_temperature_recovers_a_known_one(truth):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 4, dtype=torch.float64, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(truth * logits, labels) == pytest.approx(truth, rel=0.05)


def test_temperature_is_at_the_least_loss():
    generator = torch.Generator().manual_seed(1)
    logits, labels = torch.randn(50, 3, generator=generator).double(), torch.arange(50) % 3
    logits[torch.arange(50), labels] += 1.0

    def loss(t):
        return float(torch.nn.functional.cross_entropy(logits / t, labels))

    best = fit_temperature(logits, labels)
    assert loss(best) <= min(loss(t / 50) for t in range(5, 1000))
    around = [loss(best * 2.0**step) for step in (-1e-4, 1e-4)]
    assert loss(best) < min(around)


def test_temperature_stays_within_its_bounds():
    logits = torch.tensor([[0.5, 0.0], [0.0, 0.5]])
    always, never = torch.tensor([0, 1]), torch.tensor([1, 0])
    assert fit_temperature(logits, always) == pytest.approx(0.05, rel=0.01)
    assert fit_temperature(logits, never) == pytest.approx(20, rel=0.01)


def test_calibration_error_by_hand():
    confidence = torch.tensor([0.9, 0.6, 0.8, 0.7])
    right = torch.tensor([1, 0, 1, 1])
    # two bins of two: {.6, .7} holds one hit in two, {.8, .9} two in two
    expected = (2 * abs(0.65 - 0.5) + 2 * abs(0.85 - 1.0)) / 4
    assert expected_calibration_error(confidence, right, bins=2) == pytest.approx(expected)
    # fewer rows than bins: one row a bin
    assert expected_calibration_error(confidence, right) == pytest.approx(
        (0.1 + 0.6 + 0.2 + 0.3) / 4
    )


def test_calibration_error_of_a_calibrated_predictor_is_small():
    generator = torch.Generator().manual_seed(0)
    confidence = 0.5 + 0.5 * torch.rand(50_000, generator=generator)
    right = torch.rand(50_000, generator=generator) < confidence
    assert expected_calibration_error(confidence, right) < 0.01
    assert expected_calibration_error(torch.ones(100), torch.zeros(100)) == 1.0


def test_calibration_error_of_nothing():
    assert math.isnan(expected_calibration_error(torch.empty(0), torch.empty(0)))


def test_weighted_soft_cross_entropy_by_hand_and_gradient():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]], dtype=torch.float64)
    soft = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    weight = torch.tensor([1.0, 3.0], dtype=torch.float64)
    expected = (math.log(2) + 3 * math.log(4 / 3)) / 4
    found = weighted_soft_cross_entropy(logits, soft, weight)
    assert float(found) == pytest.approx(expected, rel=1e-12)
    alone = weighted_soft_cross_entropy(logits[:1], soft[:1], weight[:1])
    hidden = weighted_soft_cross_entropy(logits, soft, torch.tensor([5.0, 0.0]).double())
    assert float(hidden) == pytest.approx(float(alone))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: weighted_soft_cross_entropy(z, soft, weight), (logits,)
    )


def test_the_loss_of_a_soft_label_is_that_of_its_best_class():
    logits = torch.tensor([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]).log()
    soft = torch.tensor([[0.1, 0.5, 0.4], [0.9, 0.1, 0.0]])
    assert divergence(logits, soft).tolist() == pytest.approx(
        [
            0.1 * math.log(0.1 / 0.2) + 0.5 * math.log(0.5 / 0.3) + 0.4 * math.log(0.4 / 0.5),
            0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.2),
        ]
    )
    assert label_loss(logits, soft).tolist() == pytest.approx([-math.log(0.3), -math.log(0.7)])


@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_the_interval_of_the_calibration_error_holds_the_true_one(gap):
    generator = torch.Generator().manual_seed(0)
    held, values = 0, []
    for _ in range(30):
        confidence = 0.3 + 0.7 * torch.rand(300, generator=generator)
        hit = torch.rand(300, generator=generator) < (confidence - gap).clamp_min(0)
        value, low, high = calibration_interval(confidence, hit, draws=50)
        assert 0 <= low <= value <= high <= 1
        held += low <= gap <= high
        values.append(value)
    assert held >= 26
    assert sum(values) / 30 == pytest.approx(gap, abs=0.025)  # uncorrected: 0.09 and 0.11


def test_the_interval_is_determined_and_knows_nothing_of_nothing():
    confidence, hit = torch.linspace(0.3, 1, 40), torch.arange(40) % 3 > 0
    assert calibration_interval(confidence, hit) == calibration_interval(confidence, hit)
    assert all(math.isnan(end) for end in calibration_interval(torch.empty(0), torch.empty(0)))

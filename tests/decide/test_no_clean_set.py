"""Judging without checked rows: the transition from anchors, careful changes, honest wording."""

import numpy as np
import pytest
import torch

from labelfix.decide import no_clean_set
from labelfix.equations.posterior import log_likelihood_of_given

CLASSES = 4


def world(rows=6000, noise=0.3, accuracy=0.8, kind="symmetric", seed=0):
    """Right labels, given labels, and a calibrated out-of-fold prediction of known accuracy."""
    random = np.random.default_rng(seed)
    right = random.integers(0, CLASSES, rows)
    jump = random.integers(1, CLASSES, rows) if kind == "symmetric" else 1
    given = np.where(random.random(rows) < noise, (right + jump) % CLASSES, right)
    signal = 1.9 * accuracy * np.eye(CLASSES)[right] + 0.75 * random.normal(size=(rows, CLASSES))
    logits = signal * 1.9 * accuracy / 0.75**2  # Bayes: the log-likelihood ratio of the signal
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return right, given.astype(np.int32), logs.astype(np.float32)


def decide(pool, predictions, given):
    soft = pool.posterior(predictions, given)
    return soft, soft.argmax(1).astype(np.int32)


@pytest.mark.parametrize("kind", ["symmetric", "next"])
@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_labels_get_better(noise, kind):
    right, given, logs = world(noise=noise, kind=kind)
    _, labels = decide(no_clean_set.estimate([logs], given), [logs], given)
    assert (labels == right).mean() > (given == right).mean() + 0.2 * noise


def test_no_harm_where_no_label_is_wrong():
    right, given, logs = world(noise=0.0)
    _, labels = decide(no_clean_set.estimate([logs], given), [logs], given)
    assert (labels != right).mean() < 0.003


def test_transition_is_near_the_true_one():
    _, given, logs = world(rows=20_000, noise=0.3, kind="next")
    transition = no_clean_set.estimate([logs], given).transition
    expected = 0.7 * torch.eye(CLASSES) + 0.3 * torch.eye(CLASSES).roll(1, 1)
    assert torch.allclose(transition.sum(1), torch.ones(CLASSES, dtype=torch.float64))
    assert float((transition - expected).abs().max()) < 0.06


def test_sharpness_is_found_through_the_noise():
    """A prediction that was flattened is sharpened to what it was, in spite of noisy labels."""
    _, given, logs = world(rows=20_000)
    pool = no_clean_set.estimate([(0.5 * logs).astype(np.float32)], given)
    assert float(pool.weights[0]) == pytest.approx(2.0, rel=0.15)


def test_weights_are_a_maximum_of_the_likelihood():
    _, given, logs = world(rows=3000)
    pool = no_clean_set.estimate([logs], given)
    likelihood = log_likelihood_of_given(pool.transition, torch.from_numpy(given.astype(np.int64)))

    def value(factor):
        weighted = torch.from_numpy(logs.astype(np.float64)) * pool.weights[0] * factor
        return float((weighted.log_softmax(1) + likelihood).logsumexp(1).mean())

    assert value(1.0) >= max(value(0.9), value(1.1))


def test_a_prediction_that_knows_nothing_counts_for_nothing():
    _, given, logs = world()
    guess = np.random.default_rng(1).normal(size=logs.shape).astype(np.float32)
    pool = no_clean_set.estimate([logs, guess], given)
    assert float(pool.weights[1]) < 0.1 * float(pool.weights[0])


def test_rows_without_label_do_not_count_and_are_filled():
    right, given, logs = world()
    hidden = given.copy()
    hidden[:500] = -1
    pool = no_clean_set.estimate([logs], hidden)
    alone = no_clean_set.estimate([logs[500:]], given[500:])
    assert torch.allclose(pool.transition, alone.transition)
    _, labels = decide(pool, [logs], hidden)
    assert (labels[:500] == right[:500]).mean() > 0.7


def test_self_estimate_is_near_the_truth_where_the_prediction_is_calibrated():
    right, given, logs = world(rows=20_000)
    pool = no_clean_set.estimate([logs], given)
    soft, labels = decide(pool, [logs], given)
    found = no_clean_set.self_estimate(pool, [logs], soft, labels, given)
    changed, wrong = labels != given, given != right
    assert found.rows == len(given)
    assert found.label_accuracy_before == pytest.approx((given == right).mean(), abs=0.04)
    assert found.label_accuracy_after == pytest.approx((labels == right).mean(), abs=0.04)
    assert found.change_precision == pytest.approx((labels == right)[changed].mean(), abs=0.05)
    assert found.change_recall == pytest.approx((labels == right)[wrong].mean(), abs=0.08)
    assert found.calibration_error < 0.03


def test_self_estimate_of_nothing_is_nan():
    _, given, logs = world(rows=100)
    none = np.full_like(given, -1)
    pool = no_clean_set.estimate([logs], none)
    soft, labels = decide(pool, [logs], none)
    found = no_clean_set.self_estimate(pool, [logs], soft, labels, none)
    assert found.rows == 0
    assert np.isnan([found.label_accuracy_before, found.change_precision]).all()

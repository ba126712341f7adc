"""A fitted pool is at its optimum, calibrated, and better than what it pools."""

import numpy as np
import torch
from made_predictions import case, noted, prediction

from labelfix.decide.pooling import fit_pool
from labelfix.equations import posterior as eq


def penalised(weights, logs, given, right, folds):
    """What a pool of one prediction maximises, written out."""
    total = 0.0
    for row in range(len(given)):
        others = torch.from_numpy(folds != folds[row])
        transition = eq.transition_matrix(
            torch.from_numpy(right)[others].long(), torch.from_numpy(given)[others].long(), 4
        )
        agrees = torch.eye(4, dtype=torch.float64)[given[row]]
        terms = torch.from_numpy(logs[row]).double(), transition[:, given[row]].log(), agrees
        total += float((torch.stack(terms, 1) @ weights).log_softmax(0)[right[row]])
    centre = torch.tensor([1.0, 0.75, 0.5], dtype=torch.float64)
    precision = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    return total - float(0.5 * (precision * (weights - centre) ** 2).sum())


def test_a_fitted_pool_is_at_its_optimum():
    right, given, _, folds, logs = case(rows=80)
    pool = fit_pool([logs], noted(given, right, folds))
    assert np.isfinite(pool.weights.numpy()).all()
    for step in 1e-3 * torch.eye(3, dtype=torch.float64):  # the penalised likelihood falls all ways
        for away in (pool.weights + step, pool.weights - step):
            assert penalised(away, logs, given, right, folds) < penalised(
                pool.weights, logs, given, right, folds
            )
    assert torch.allclose(pool.transition.sum(1), torch.ones(4, dtype=torch.float64))


def test_a_good_prediction_weighs_more_than_a_worthless_one():
    right, given, _, folds, logs = case(rows=1500)
    noise = prediction(right, 4, 0.0, seed=9)
    weights = fit_pool([logs, noise], noted(given, right, folds)).weights
    assert float(weights[0]) > 0.5
    assert abs(float(weights[1])) < 0.3


def test_the_pool_is_calibrated_and_beats_both_predictions():
    right, given, _, folds, logs = case(rows=4000, quality=1.5)
    half = slice(0, 2000)
    pool = fit_pool([logs[half]], noted(given, right, folds).part(half))
    rest = slice(2000, None)
    q = pool.posterior([logs[rest]], given[rest])
    assert np.allclose(q.sum(1), 1)
    hit = q.argmax(1) == right[rest]
    assert hit.mean() > (given[rest] == right[rest]).mean() + 0.03
    assert hit.mean() > (logs[rest].argmax(1) == right[rest]).mean() + 0.03
    assert abs(q.max(1).mean() - hit.mean()) < 0.03


def test_a_row_without_label_gets_the_predictions_best():
    right, given, _, folds, logs = case()
    pool = fit_pool([logs], noted(given, right, folds))
    q = pool.posterior([logs[:3]], np.array([-1, -1, 0], dtype=np.int32))
    assert (q[:2].argmax(1) == logs[:2].argmax(1)).all()

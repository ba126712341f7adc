"""DMLP-Naive: nothing of a fold reaches the net that predicts it, and its predictions help."""

import numpy as np
import pytest
import torch

from labelfix.annotations import Annotations
from labelfix.decide.decisions import decide
from labelfix.decide.soft_targets import FoldTargets, fold_targets
from labelfix.features.standardise import Design
from labelfix.predictors import dmlp, dmlp_naive
from labelfix.training.config import LoopConfig

QUICK = dmlp_naive.FoldMLPConfig(hidden=16, steps=(60, 60))
LOOP = LoopConfig(epochs=1, device="cpu")


def targets(made, given, checked):
    notes = Annotations.of(given, checked, made.folds, 3)
    logs = dmlp.nested(made.features, notes, chosen=[1] * 5)
    return logs, fold_targets([[each] for each in logs], notes)


def test_nothing_of_a_fold_reaches_its_targets_or_its_net(blobs):
    made = blobs()
    given, checked = made.given.copy(), made.checked.copy()
    inside = made.folds == 2
    given[inside] = (given[inside] + 1) % 3
    checked[inside & (checked >= 0)] = 0
    (_, before), (_, after) = targets(made, made.given, made.checked), targets(made, given, checked)
    visible = ~inside
    assert np.array_equal(before.soft_GNK[2, visible], after.soft_GNK[2, visible])
    assert np.array_equal(before.transition_GKK[2], after.transition_GKK[2])
    nets = [
        dmlp_naive.fit_fold_mlps(made.features, each, config=QUICK, loop=LOOP)
        for each in (before, after)
    ]
    assert np.array_equal(nets[0][inside], nets[1][inside])
    assert not np.array_equal(nets[0][visible], nets[1][visible])


def test_nested_predictions_are_distributions_and_the_own_fold_says_nothing(blobs):
    made = blobs()
    logs, found = targets(made, made.given, made.checked)
    soft = found.soft_GNK
    assert np.allclose(np.exp(logs).sum(-1), 1, atol=1e-5)
    assert np.allclose(soft.sum(-1), 1, atol=1e-5)
    for fold in range(5):
        assert np.allclose(logs[fold, made.folds == fold], -np.log(3))


def test_checked_rows_of_other_folds_are_targets_as_they_are(blobs):
    made = blobs()
    _, found = targets(made, made.given, made.checked)
    soft = found.soft_GNK
    rows = np.flatnonzero((made.checked >= 0) & (made.folds != 0))
    assert (found.given[rows] == -1).all()
    assert np.array_equal(soft[0, rows].argmax(1), made.checked[rows])
    assert np.array_equal(soft[0, rows].max(1), np.ones(len(rows)))


def test_the_net_bends_where_a_line_cannot(blobs):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 2)).astype(np.float32)
    right = (x[:, 0] * x[:, 1] > 0).astype(np.int32)  # no line separates the classes
    folds = (np.arange(600) % 5).astype(np.int8)
    config = dmlp_naive.FoldMLPConfig(hidden=64, noise=0.1, steps=(400, 400))
    logs = dmlp_naive.fit_fold_mlps(x, exact(right, folds), config=config, loop=LOOP)
    assert (logs.argmax(1) == right).mean() > 0.9
    again = dmlp_naive.fit_fold_mlps(x, exact(right, folds), config=config, loop=LOOP)
    assert np.array_equal(logs, again)


def exact(right, folds, transition=None, given=None):
    """Targets that name the right labels, or with ``given`` nothing but the given ones."""
    classes = int(right.max()) + 1
    soft = np.eye(classes)[right] if given is None else np.full((len(right), classes), 1 / classes)
    if given is None:
        given = np.full(len(right), -1)
    matrix = np.eye(classes) if transition is None else transition
    return FoldTargets(
        soft_GNK=np.broadcast_to(soft, (5, *soft.shape)).astype(np.float32),
        transition_GKK=np.broadcast_to(matrix, (5, classes, classes)).astype(np.float32),
        given=given.astype(np.int32),
        folds=folds,
    )


def test_given_labels_teach_the_right_ones_through_the_noise():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(1200, 2)).astype(np.float32)
    right = (x[:, 0] > 0).astype(np.int32)
    swapped = np.array([[0.1, 0.9], [0.9, 0.1]])  # most labels are the other class
    given = np.where(generator.random(1200) < 0.9, 1 - right, right)
    targets = exact(right, (np.arange(1200) % 5).astype(np.int8), swapped, given)
    config = dmlp_naive.FoldMLPConfig(hidden=32, steps=(300, 300), forward_share=1.0)
    assert (
        dmlp_naive.fit_fold_mlps(x, targets, config=config, loop=LOOP).argmax(1) == right
    ).mean() > 0.95


def test_net_rows_keep_relative_variances_within_bounds():
    generator = np.random.default_rng(0)
    rows = Design.of(generator.normal(size=(5000, 3)) * [1.0, 2.0, 4.0]).net_rows(slice(None))
    std = rows[:, :3].std(0)
    assert torch.allclose(std / std[0], torch.tensor([1.0, 2.0, 4.0]), rtol=0.05)
    assert float(std.square().mean()) == pytest.approx(1, rel=0.01)
    mixed = generator.normal(size=(5000, 3)) * [1.0, 1000.0, 1.0]
    std = Design.of(mixed).net_rows(slice(None))[:, :3].std(0)
    assert float(std[1] / std[0]) == pytest.approx(4, rel=0.05)


def test_the_better_prediction_is_believed(blobs):
    made = blobs(noise=0.4)
    good = np.log(np.eye(3)[made.right] * 0.9 + 0.1 / 3)
    poor = np.full((len(made.right), 3), -np.log(3))
    found = decide({"poor": [poor], "good": [good]}, made.annotations)
    assert found.predictor == "good"
    assert found.predictor_losses["good"] < found.predictor_losses["poor"]

"""GLC out of fold: transitions from other folds' verified rows, and nets that learn by them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import make_blobs

from labelfix.annotations import Annotations
from labelfix.features.neighbours import nearest
from labelfix.features.standardise import Design
from labelfix.predictors import glc
from labelfix.predictors.dmlp_naive import FoldMLPConfig, predict_own_folds, train_fold_mlps
from labelfix.predictors.learning import Learning
from labelfix.predictors.registry import run_method
from labelfix.training.config import LoopConfig

QUICK = FoldMLPConfig(hidden=16, noise=0.3, steps=(200, 200))
LOOP = LoopConfig(epochs=1, device="cpu", precision="32-true")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(glc, "DEFAULTS", QUICK)


def asymmetric(rate=0.45):
    """Labels that only go from one class to the next."""
    made = make_blobs(rows=600, noise=0.0, checked=90, spread=4.0)
    flipped = np.random.default_rng(1).random(600) < rate
    made.given[flipped] = (made.right[flipped] + 1) % 3
    return made


def learning_of(made, **changes):
    arrays = {"given": made.given, "clean": made.checked} | changes
    notes = Annotations.of(arrays["given"], arrays["clean"], made.folds, 3)
    return Learning(
        features=made.features, graph=nearest(made.features), annotations=notes, loop=LOOP
    )


def test_labels_that_go_one_way_are_seen_through():
    made = asymmetric()
    found = run_method("glc", learning_of(made))
    logs, free = found.log_probabilities["glc"], made.checked < 0
    assert (logs.argmax(1) == made.right)[free].mean() > 0.93
    assert (made.given == made.right)[free].mean() < 0.6
    assert np.allclose(np.exp(logs).sum(1), 1, atol=1e-4)
    assert len(found.auxiliary) == 2  # votes and kernel


def test_nothing_of_a_fold_reaches_its_prediction():
    made = asymmetric()
    inside = made.folds == 2
    given, clean = made.given.copy(), made.checked.copy()
    given[inside] = (given[inside] + 1) % 3
    clean[inside & (clean >= 0)] = 0
    one, two = (
        glc.run_glc(learning).log_probabilities["glc"]
        for learning in (learning_of(made), learning_of(made, given=given, clean=clean))
    )
    assert np.array_equal(one[inside], two[inside])
    assert not np.array_equal(one[~inside], two[~inside])


def test_transitions_are_means_over_other_folds_verified_rows():
    made = asymmetric()
    notes, design = learning_of(made).annotations, Design.of(made.features)
    nets = train_fold_mlps(design, glc.targets_as_given(notes), config=QUICK, loop=LOOP)
    found = glc.transitions(nets, design, notes)
    with torch.no_grad():
        p_GNK = nets(design.net_rows(np.arange(600))).softmax(-1).numpy()
    for fold in range(5):
        for code in range(3):
            rows = [
                row for row in range(600)
                if made.checked[row] == code and made.folds[row] != fold
            ]  # fmt: skip
            expected = sum(p_GNK[fold, row] for row in rows) / len(rows)
            assert np.allclose(found[fold, code], np.maximum(expected, glc.LEAST), atol=1e-5)
    kept = (made.given == made.right)[made.checked < 0].mean()
    assert np.diagonal(found.mean(0)).mean() == pytest.approx(kept, abs=0.12)


def test_first_nets_learn_given_labels_alone_and_second_ones_both():
    made = make_blobs(rows=60, checked=20, missing=10)
    notes = learning_of(made).annotations
    first = glc.targets_as_given(notes)
    assert (first.soft_GNK[:, made.checked >= 0] == 0).all()
    assert (first.soft_GNK[:, made.given < 0] == 0).all()
    plain = (made.checked < 0) & (made.given >= 0)
    assert (first.soft_GNK[0, plain].argmax(1) == made.given[plain]).all()
    second = glc.targets_through(notes, np.repeat(np.eye(3, dtype=np.float32)[None], 5, axis=0))
    assert (second.soft_GNK[0, :20].argmax(1) == made.checked[:20]).all()
    assert (second.soft_GNK[0, 20:] == 0).all()
    assert (second.given == np.where(made.checked >= 0, -1, made.given)).all()


def test_each_row_is_predicted_by_the_net_of_its_fold():
    made = make_blobs(rows=60)
    notes, design = learning_of(made).annotations, Design.of(made.features)
    config = replace(QUICK, steps=(20, 20))
    nets = train_fold_mlps(design, glc.targets_as_given(notes), config=config, loop=LOOP)
    found = predict_own_folds(nets, made.features, made.folds)
    with torch.no_grad():
        logs_GNK = nets(design.net_rows(np.arange(60))).log_softmax(-1).numpy()
    for row in range(60):
        assert np.allclose(found[row], logs_GNK[made.folds[row], row], atol=1e-5)

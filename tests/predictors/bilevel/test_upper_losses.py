"""Upper losses: the rows they choose, and when meta steps rest."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bilevel_tasks import LOOP, quick, task_of, trainer_of
from builders import step_of

from labelfix.predictors.bilevel import upper_losses
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FoldRows
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig


@pytest.mark.parametrize("upper", UPPER_LOSSES)
def test_every_upper_loss_steers_a_weight_net(blobs, upper):
    made = blobs(rows=300, noise=0.3, spread=5.0)
    method = replace(quick("mw-net", meta_rows=60, meta_batch=30), upper_loss=upper)
    found = cross_fit(task_of(made), method, LOOP)
    assert (found.log_probabilities.argmax(1) == made.right).mean() > 0.85
    assert all(fold[-1]["teacher_moved"] > 0 for fold in found.training_log.folds)


def test_noisy_meta_sets_hold_the_classes_in_equal_shares(blobs):
    made = blobs(rows=300, noise=0.2, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    rows = UPPER_LOSSES["ce-noisy"].build(data, ObjectiveConfig(rows=60)).rows.numpy()
    assert np.bincount(made.given[rows]).tolist() == [20, 20, 20]
    assert (made.folds[rows] != 0).all()


def test_small_losses_are_the_rows_of_right_labels(blobs):
    made = blobs(rows=300, noise=0.3, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    noisy = data.noisy_rows.numpy()
    wrong = made.given[noisy] != made.right[noisy]
    losses = np.where(wrong, 3.0, 0.1) + np.random.default_rng(0).normal(0, 0.1, len(noisy))
    upper = UPPER_LOSSES["small-loss"].build(data, ObjectiveConfig(rows=60))
    chosen = upper.choose_again(losses.astype(np.float32)).numpy()
    assert (made.given[chosen] == made.right[chosen]).all()
    assert len(chosen) == 60


def test_equal_losses_do_not_stop_the_choice(blobs):
    data = FoldRows(task_of(blobs(checked=0)), 0, torch.device("cpu"), clean_apart=False)
    upper = UPPER_LOSSES["small-loss"].build(data, ObjectiveConfig(rows=60))
    assert len(upper.choose_again(np.ones(len(data.noisy_rows), np.float32))) == 60


def test_a_hard_class_has_its_share_of_small_losses(blobs):
    made = blobs(rows=300, noise=0.3, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    losses = np.where(data.noisy_labels == 2, 9.0, 0.0) + np.random.default_rng(0).random(
        len(data.noisy_rows)
    )
    chosen = UPPER_LOSSES["small-loss"].build(data, ObjectiveConfig(rows=60)).choose_again(losses)
    assert np.bincount(made.given[chosen.numpy()]).tolist() == [20, 20, 20]
    taken = np.isin(data.noisy_rows.numpy(), chosen.numpy()) & (data.noisy_labels == 2)
    others = ~taken & (data.noisy_labels == 2)
    assert losses[taken].max() < losses[others].min()


def test_mean_absolute_error():
    batch = type("Batch", (), {"labels": torch.tensor([0, 1])})
    logits = torch.tensor([[0.3, 0.7], [0.5, 0.5]]).log()
    assert float(upper_losses.mean_absolute_error(logits, batch)) == pytest.approx(1.4 / 2 + 0.5)


def test_meta_steps_stop_when_the_upper_loss_has_settled(blobs):
    made = blobs(rows=200)
    task = task_of(made)
    method = replace(quick("mw-net", tolerance=0.9), upper_loss="clid")
    moved = []
    trainer = trainer_of(task, method)
    trainer.move_teacher = lambda gradient: moved.append(epoch)
    for epoch in range(6):
        step = step_of(epoch, epochs=6)
        trainer.step(trainer.epoch_rows(step)[:32], step)
    assert moved == [0, 1, 2]  # no epoch fell by nine tenths; two in a row end it


def test_clid_rests_first_and_then_teaches_every_fifth_step(blobs):
    trainer = trainer_of(task_of(blobs(rows=200)), quick("clid", warm_up=0.5))
    steps, moved = [], []
    step = trainer.student.step
    trainer.student.step = lambda gradient: steps.append(1) or step(gradient)
    trainer.move_teacher = lambda gradient: moved.append(epoch)
    for epoch in range(4):
        here = step_of(epoch, epochs=4)
        trainer.step(trainer.epoch_rows(here)[:60], here)
    assert len(steps) == 20
    assert moved == [2, 3]

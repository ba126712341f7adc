"""HRP: reliabilities and their memory, replaced labels, gates that sink."""

from functools import partial

import numpy as np
import pytest
import torch
from builders import make_blobs, step_of
from retrain_problems import accuracy, built, loop, problem_of

from labelfix.predictors.bilevel import upper_losses
from labelfix.retrain import hrp
from labelfix.retrain.registry import METHODS, retrain, settings_of
from labelfix.training.config import EpochReport
from labelfix.training.devices import make_fabric
from labelfix.training.loop import train


def test_the_files_reliabilities_are_the_memorys_start():
    blobs = make_blobs(rows=60)
    priors = np.linspace(0, 1, 60).astype(np.float32)
    priors[5] = np.nan
    task = problem_of(blobs, label_reliability=priors)
    method = hrp.HRP(make_fabric("cpu", 1, 1, "32-true"), task, hrp.HRPConfig())
    start = method.memory.label_2N
    assert torch.equal(start[0], start[1])
    assert float(start[0, 5]) == 1
    known = np.arange(60) != 5
    assert np.allclose(start[0, known], priors[known] / np.nanmean(priors), atol=1e-6)
    assert (method.memory.pseudo_2N == 1).all()


def test_reliabilities_are_measured_every_other_step_and_kept_a_row():
    method = built("hrp", make_blobs(rows=120), memory=0.5)
    rows = torch.arange(40)
    before = method.memory.label_2N.clone()
    method.step(rows, step_of(2))
    first = method.memory.label_2N.clone()
    assert not torch.equal(first[:, :40], before[:, :40])
    assert torch.equal(first[:, 40:], before[:, 40:])
    # half of the start, 1, and half of B alpha, whose mean is 1 where any row helps
    assert first[:, :40].mean(1).tolist() == pytest.approx([1, 1], abs=1e-4)
    method.step(rows, step_of(2, step=1, steps=2))
    assert torch.equal(method.memory.label_2N, first)


@pytest.mark.parametrize("soft", [False, True])
def test_sure_predictions_replace_labels_after_the_ramp_unless_labels_are_soft(soft):
    blobs = make_blobs(rows=60)
    method = built("hrp", blobs, sure=0.0)  # every prediction is sure
    labels_NK = np.eye(3, dtype=np.float32)[blobs.given]
    if soft:
        labels_NK = 0.9 * labels_NK + np.float32(0.1 / 3)
        task = problem_of(blobs, soft_labels=labels_NK)
        method = hrp.HRP(make_fabric("cpu", 1, 1, "32-true"), task, hrp.HRPConfig(sure=0.0))
    rows = torch.arange(60)
    x_BD = method.data.source.test_batch(rows)
    targets = {}
    for epoch in (0, 2):
        targets[epoch] = method._advise(0, rows, x_BD, False, step_of(epoch)).targets_BK
    own_B = method.plain[0].eval()(x_BD).argmax(1)
    assert torch.equal(targets[0], torch.from_numpy(labels_NK))
    expected = torch.from_numpy(labels_NK) if soft else torch.eye(3)[own_B]
    assert torch.equal(targets[2], expected)


def test_without_checked_rows_hrp_follows_clid():
    blobs = make_blobs(rows=120, checked=0)
    method = built("hrp", blobs)
    assert method.objective.meta.objective.loss is not upper_losses.cross_entropy
    student = method.students[0]
    _, direction = method.objective.gradient(student, student.parameters, torch.Generator())
    assert any(value.abs().sum() > 0 for value in direction.values())
    assert {name for name, _ in method.plain[0].named_parameters()} == set(direction)


def test_helpful_labels_have_the_higher_reliability():
    blobs = make_blobs(rows=240, noise=0.4, checked=60)
    task = problem_of(blobs)
    trained = train(
        partial(METHODS["hrp"].build, problem=task, config=settings_of("hrp", ())), loop(8)
    )
    memory = trained.modules["memory"]["label_2N"].mean(0).numpy()
    right = blobs.given == blobs.right
    assert memory[right].mean() > 1.3 * memory[~right].mean()


def test_gates_at_their_lower_bound_are_mended_said_and_do_not_stop_learning():
    blobs, nothing = make_blobs(rows=240, noise=0.3, checked=40), np.zeros(240, np.float32)
    task = problem_of(blobs, label_reliability=nothing, pseudo_reliability=nothing)
    found = retrain("hrp", task, settings_of("hrp", ["meta_every=1000000"]), loop=loop(12))
    assert "in 12 of 12 epochs most reliabilities sank" in hrp.diagnose_gates(found.history)[0]
    assert accuracy(found.net, blobs) > 0.85
    measured = retrain("hrp", task, settings_of("hrp", ()), loop=loop(12))
    assert not hrp.diagnose_gates(measured.history)  # a few measurements, and they have risen


@pytest.mark.parametrize("soft", [False, True])
def test_hrp_watches_only_while_it_relabels(soft):
    blobs = make_blobs(rows=60, checked=60)
    labels_NK = np.eye(3, dtype=np.float32)[blobs.given]
    task = problem_of(
        blobs, soft_labels=0.9 * labels_NK + np.float32(0.1 / 3) if soft else labels_NK
    )
    method = hrp.HRP(make_fabric("cpu", 1, 1, "32-true"), task, hrp.HRPConfig())
    right_N = torch.from_numpy(task.targets.clean).long()
    fell = []
    # of three epochs: the ramp is over in the second
    for epoch, told in enumerate((right_N, (right_N + 1) % 3, (right_N + 1) % 3)):
        method.checked.count(torch.arange(60), told)
        method.epoch_rows(step_of(epoch + 1))
        fell.append(bool(method.checked.fell))
    assert fell == [False, not soft, not soft]


def test_predictions_that_got_worse_on_checked_rows_replace_no_labels():
    blobs = make_blobs(rows=60)
    method = built("hrp", blobs, sure=0.0)
    rows = torch.arange(60)
    x_BD = method.data.source.test_batch(rows)
    method.checked.fell.fill_(1)
    told = method._advise(0, rows, x_BD, False, step_of(2))
    assert torch.equal(told.targets_BK, torch.eye(3)[torch.from_numpy(blobs.given).long()])
    reports = [
        EpochReport(epoch=e, epochs=4, metrics={"fell": float(e > 2)}, seconds=0) for e in range(5)
    ]
    assert (
        "after epoch 2 of 4 predictions replaced no more labels" in hrp.diagnose_gates(reports)[0]
    )


def test_hrp_says_that_gates_sank():
    reports = [
        EpochReport(epoch=e, epochs=2, metrics={"starved": f}, seconds=0)
        for e, f in enumerate((0, 0.9, 0.1))
    ]
    assert "in 1 of 2 epochs" in hrp.diagnose_gates(reports)[0]

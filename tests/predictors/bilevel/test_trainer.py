"""A trainer of one fold: what it learns, never sees, resumes, and keeps alike in two processes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from bilevel_tasks import LOOP, quick, task_of

from labelfix.errors import DegenerateLearningError
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FeatureRows, FoldRows
from labelfix.predictors.bilevel.registry import METHODS
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.training.config import LoopConfig
from labelfix.training.loop import train

LABEL_CORRECTORS = ("mlc", "mlc-d", "emlc", "ebomlc")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_blobs_with_noisy_and_missing_labels(blobs, name):
    made = blobs(rows=300, noise=0.3, missing=20, spread=5.0)
    method, total = quick(name), []
    found = cross_fit(task_of(made), method, LOOP, on_epoch=lambda *a: total.append(a[:2]))
    assert (found.log_probabilities.argmax(1) == made.right).mean() > 0.9
    assert np.allclose(np.exp(found.log_probabilities.astype(float)).sum(1), 1, atol=1e-4)
    assert total[-1] == (20, 20)
    assert (found.corrected is not None) == (name in LABEL_CORRECTORS)
    if found.corrected is not None:
        assert np.allclose(np.exp(found.corrected.astype(float)).sum(1), 1, atol=1e-4)
        none = made.given < 0
        assert np.array_equal(found.corrected[none], found.log_probabilities[none])
    assert len(found.training_log.folds) == 5
    assert len(found.training_log.folds[0]) == 5


@pytest.mark.parametrize("name", ["mlc", "clid"])
def test_a_fold_never_sees_its_own_labels(blobs, name):
    made = blobs(rows=150)
    own = made.folds == 2
    other = replace(made, given=made.given.copy(), checked=made.checked.copy())
    other.given[own] = (other.given[own] + 1) % 3
    other.checked[own] = np.where(other.checked[own] >= 0, (other.checked[own] + 1) % 3, -1)
    one, two = (
        cross_fit(task_of(rows), quick(name), replace(LOOP, epochs=2)) for rows in (made, other)
    )
    assert np.array_equal(one.log_probabilities[own], two.log_probabilities[own])
    assert not np.array_equal(one.log_probabilities[~own], two.log_probabilities[~own])


def test_checked_rows_are_never_noisy_rows_too(blobs):
    made = blobs(rows=150, missing=10)
    data = FoldRows(task_of(made), 1, torch.device("cpu"), clean_apart=True)
    noisy, clean = set(data.noisy_rows.tolist()), set(data.clean_rows.tolist())
    outside = made.folds != 1
    assert not noisy & clean
    assert clean == set(np.flatnonzero(outside & (made.checked >= 0)).tolist())
    assert noisy == set(np.flatnonzero(outside & (made.checked < 0) & (made.given >= 0)).tolist())
    assert (data.labels_N[data.clean_rows].numpy() == made.checked[data.clean_rows.numpy()]).all()
    together = FoldRows(task_of(made), 1, torch.device("cpu"), clean_apart=False)
    assert set(together.noisy_rows.tolist()) == noisy | clean


def test_a_teacher_reads_a_checked_row_s_label_as_it_was_given(blobs):
    made = blobs(rows=150, noise=0.5, missing=30)
    made.checked[:] = np.where(np.arange(150) % 2 == 0, made.right, -1)
    task = task_of(made)
    data = FoldRows(task, 1, torch.device("cpu"), clean_apart=True)
    batch = data.batch(data.clean_rows, None)
    given = made.given[data.clean_rows.numpy()]
    assert (batch.labels.numpy() == made.right[data.clean_rows.numpy()]).all()
    assert (batch.given.numpy() == np.where(given >= 0, given, batch.labels.numpy())).all()
    assert (batch.given != batch.labels).any()
    noisy = data.batch(data.noisy_rows, None)
    assert (noisy.given == noisy.labels).all()
    logs_BK = torch.zeros(len(data.clean_rows), 3)
    torch.manual_seed(0)
    for name in LABEL_CORRECTORS:
        teacher = METHODS[name].make_teacher(task)
        found, same = (
            teacher.corrected(rows, logs_BK) for rows in (batch, replace(batch, labels=batch.given))
        )
        assert torch.equal(found, same)
        assert not torch.equal(
            found, teacher.corrected(replace(batch, given=batch.labels), logs_BK)
        )


def test_a_fold_without_noisy_rows_is_refused(blobs):
    made = blobs(rows=60, checked=60)
    with pytest.raises(DegenerateLearningError, match="fold 0: no row with an unchecked label"):
        FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=True)


def test_a_fold_without_checked_rows_is_refused(blobs):
    made = blobs(rows=60, checked=2)
    made.folds[:2] = 0
    with pytest.raises(DegenerateLearningError, match="fold 0: no checked row is left"):
        FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=True)


def test_images_need_two_checked_rows_in_a_fold(blobs):
    """Batch normalisation has no statistics of one."""
    made = blobs(rows=60, checked=2)
    made.folds[0], made.folds[1] = 0, 1
    task = task_of(made)
    assert len(FoldRows(task, 0, torch.device("cpu"), clean_apart=True).clean_rows) == 1
    apart = replace(task, frozen=FeatureRows(made.features))
    assert apart.images
    with pytest.raises(DegenerateLearningError, match="fold 0: only one checked row is left"):
        FoldRows(apart, 0, torch.device("cpu"), clean_apart=True)


def test_equal_seeds_give_equal_bits(blobs):
    task = task_of(blobs(rows=150))
    one, two, three = (
        cross_fit(task, quick("emlc"), replace(LOOP, epochs=2, seed=seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(one.log_probabilities, two.log_probabilities)
    assert np.array_equal(one.corrected, two.corrected)
    assert not np.array_equal(one.log_probabilities, three.log_probabilities)


class Stops(FoldTrainer):
    """Is interrupted at a step."""

    left = 0

    def step(self, rows, context):
        Stops.left -= 1
        if not Stops.left:
            raise KeyboardInterrupt
        return super().step(rows, context)


@pytest.mark.parametrize(("name", "upper"), [("mlc", "ce-clean"), ("mw-net", "small-loss")])
def test_a_resumed_run_equals_an_uninterrupted_one(blobs, tmp_path, name, upper):
    task, method = task_of(blobs(rows=150)), replace(quick(name, tolerance=0.5), upper_loss=upper)
    loop = LoopConfig(epochs=4, batch_size=32, device="cpu", precision="32-true",
                      checkpoint_seconds=0)  # fmt: skip
    build = partial(_build, task=task, method=method)
    whole = train(partial(build, cls=FoldTrainer), loop)
    Stops.left = 6
    with pytest.raises(KeyboardInterrupt):
        train(partial(build, cls=Stops), loop, checkpoint=tmp_path / "a.pt")
    resumed = train(partial(build, cls=FoldTrainer), loop, checkpoint=tmp_path / "a.pt")
    for module, state in whole.modules.items():
        for key, value in state.items():
            assert torch.equal(value, resumed.modules[module][key]), (module, key)
    assert [r.metrics for r in whole.history] == [r.metrics for r in resumed.history]


def _build(fabric, *, task, method, cls):
    return cls(fabric, task=task, method=method, fold=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlc", "ebomlc"])
def test_two_processes_keep_one_teacher(blobs, tmp_path, name):
    """Both processes see half of every batch, and end with the same weights."""
    task, method = task_of(blobs(rows=150)), quick(name)
    loop = LoopConfig(epochs=2, batch_size=32, device="cpu", precision="32-true", devices=2)
    build = partial(_build, task=task, method=method, cls=Agreeing)
    trained = train(build, loop, checkpoint=tmp_path / "a.pt")
    assert trained.history[-1].metrics["teacher_moved"] > 0
    assert trained.history[-1].metrics["apart"] == 0


class Agreeing(FoldTrainer):
    """Reports how far the processes' weights are from each other."""

    def step(self, rows, context):
        metrics = super().step(rows, context)
        parts = [*self.student.parameters.values(), *self.teacher_parameters]
        flat = torch.cat([part.detach().flatten() for part in parts])
        mean = self.fabric.all_reduce(flat.clone(), reduce_op="mean")
        return metrics | {"apart": (flat - mean).abs().max()}

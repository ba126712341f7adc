"""The bilevel methods at work: folds, upper losses, snapshots, alarms, resumption."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from builders import step_of
from lightning_fabric import Fabric
from sklearn.datasets import load_digits
from torch import nn

from labelfix.decide import no_clean_set
from labelfix.errors import DegenerateLearningError
from labelfix.nets.autoaugment import auto_augment
from labelfix.predictors.bilevel import upper_losses
from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.cross_fit import cross_fit
from labelfix.predictors.bilevel.fold_data import FeatureNet, FeatureRows, FoldRows, FoldTask
from labelfix.predictors.bilevel.registry import METHODS, method_for, sized
from labelfix.predictors.bilevel.snapshots import Snapshots
from labelfix.predictors.bilevel.trainer import FoldTrainer
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, MetaSet
from labelfix.training.config import EpochReport, LoopConfig
from labelfix.training.diagnostics import alarms
from labelfix.training.loop import train

LOOP = LoopConfig(epochs=4, device="cpu", precision="32-true")
QUICK = {"optimizer": "adamw", "lr": 1e-2, "batch": 32, "teacher_lr": 1e-3}
LABEL_CORRECTORS = ("mlc", "mlc-d", "emlc", "ebomlc")


def task_of(made, *, hidden=16, noise=0.3):
    rows = FeatureRows(made.features, noise=noise)
    return FoldTask(
        source=rows, frozen=rows, given=made.given, checked=made.checked, folds=made.folds,
        classes=3, make_student=partial(FeatureNet, rows.columns, 3, hidden),
    )  # fmt: skip


def quick(name, **changes):
    plan = METHODS[name]
    return replace(plan, config=replace(plan.config, **QUICK | changes))


def trainer_of(task, plan, fold=0, fabric=None):
    return FoldTrainer(fabric or Fabric(accelerator="cpu", devices=1), task=task, plan=plan,
                   fold=fold)  # fmt: skip


# --- methods --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_method_learns_blobs_with_noisy_and_missing_labels(blobs, name):
    made = blobs(rows=300, noise=0.3, missing=20, spread=5.0)
    plan, total = quick(name), []
    found = cross_fit(task_of(made), plan, LOOP, on_epoch=lambda *a: total.append(a[:2]))
    assert (found.log_probabilities.argmax(1) == made.right).mean() > 0.9
    assert np.allclose(np.exp(found.log_probabilities.astype(float)).sum(1), 1, atol=1e-4)
    assert total[-1] == (20, 20)
    assert (found.corrected is not None) == (name in LABEL_CORRECTORS)
    if found.corrected is not None:
        assert np.allclose(np.exp(found.corrected.astype(float)).sum(1), 1, atol=1e-4)
        none = made.given < 0
        assert np.array_equal(found.corrected[none], found.log_probabilities[none])
    assert len(found.training_log["folds"]) == 5
    assert len(found.training_log["folds"][0]) == 5


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
    noisy, clean = set(data.noisy.tolist()), set(data.clean.tolist())
    outside = made.folds != 1
    assert not noisy & clean
    assert clean == set(np.flatnonzero(outside & (made.checked >= 0)).tolist())
    assert noisy == set(np.flatnonzero(outside & (made.checked < 0) & (made.given >= 0)).tolist())
    assert (data.labels_N[data.clean].numpy() == made.checked[data.clean.numpy()]).all()
    together = FoldRows(task_of(made), 1, torch.device("cpu"), clean_apart=False)
    assert set(together.noisy.tolist()) == noisy | clean


def test_a_teacher_reads_a_checked_row_s_label_as_it_was_given(blobs):
    made = blobs(rows=150, noise=0.5, missing=30)
    made.checked[:] = np.where(np.arange(150) % 2 == 0, made.right, -1)
    task = task_of(made)
    data = FoldRows(task, 1, torch.device("cpu"), clean_apart=True)
    batch = data.batch(data.clean, None)
    given = made.given[data.clean.numpy()]
    assert (batch.labels.numpy() == made.right[data.clean.numpy()]).all()
    assert (batch.given.numpy() == np.where(given >= 0, given, batch.labels.numpy())).all()
    assert (batch.given != batch.labels).any()
    noisy = data.batch(data.noisy, None)
    assert (noisy.given == noisy.labels).all()
    logs_BK = torch.zeros(len(data.clean), 3)
    torch.manual_seed(0)
    for name in LABEL_CORRECTORS:
        teacher = METHODS[name].make_teacher(task)
        found, told = (
            teacher.corrected(rows, logs_BK) for rows in (batch, replace(batch, labels=batch.given))
        )
        assert torch.equal(found, told)
        assert not torch.equal(
            found, teacher.corrected(replace(batch, given=batch.labels), logs_BK)
        )


def test_a_fold_without_noisy_rows_is_an_alarm(blobs):
    made = blobs(rows=60, checked=60)
    with pytest.raises(DegenerateLearningError, match="fold 0: no row with an unchecked label"):
        FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=True)


def test_a_fold_without_checked_rows_is_an_alarm(blobs):
    made = blobs(rows=60, checked=2)
    made.folds[:2] = 0
    with pytest.raises(DegenerateLearningError, match="fold 0: no checked row is left"):
        FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=True)


def test_images_need_two_checked_rows_in_a_fold(blobs):
    """Batch normalisation has no statistics of one."""
    made = blobs(rows=60, checked=2)
    made.folds[0], made.folds[1] = 0, 1
    task = task_of(made)
    assert len(FoldRows(task, 0, torch.device("cpu"), clean_apart=True).clean) == 1
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
    task, plan = task_of(blobs(rows=150)), replace(quick(name, tolerance=0.5), upper=upper)
    loop = LoopConfig(epochs=4, batch_size=32, device="cpu", precision="32-true",
                      checkpoint_seconds=0)  # fmt: skip
    build = partial(_build, task=task, plan=plan)
    whole = train(partial(build, cls=FoldTrainer), loop)
    Stops.left = 6
    with pytest.raises(KeyboardInterrupt):
        train(partial(build, cls=Stops), loop, checkpoint=tmp_path / "a.pt")
    resumed = train(partial(build, cls=FoldTrainer), loop, checkpoint=tmp_path / "a.pt")
    for module, state in whole.modules.items():
        for key, value in state.items():
            assert torch.equal(value, resumed.modules[module][key]), (module, key)
    assert [r.metrics for r in whole.history] == [r.metrics for r in resumed.history]


def _build(fabric, *, task, plan, cls):
    return cls(fabric, task=task, plan=plan, fold=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlc", "ebomlc"])
def test_two_processes_keep_one_teacher(blobs, tmp_path, name):
    """Both processes see half of every batch, and end with the same weights."""
    task, plan = task_of(blobs(rows=150)), quick(name)
    loop = LoopConfig(epochs=2, batch_size=32, device="cpu", precision="32-true", devices=2)
    build = partial(_build, task=task, plan=plan, cls=Agreeing)
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


# --- upper losses ---------------------------------------------------------------------------


@pytest.mark.parametrize("upper", UPPER_LOSSES)
def test_every_upper_loss_steers_a_weight_net(blobs, upper):
    made = blobs(rows=300, noise=0.3, spread=5.0)
    plan = replace(quick("mw-net", meta_rows=60, meta_batch=30), upper=upper)
    found = cross_fit(task_of(made), plan, LOOP)
    assert (found.log_probabilities.argmax(1) == made.right).mean() > 0.85
    assert all(fold[-1]["teacher_moved"] > 0 for fold in found.training_log["folds"])


def test_noisy_meta_sets_hold_the_classes_in_equal_shares(blobs):
    made = blobs(rows=300, noise=0.2, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    rows = UPPER_LOSSES["ce-noisy"](data, MetaSet(rows=60)).rows.numpy()
    assert np.bincount(made.given[rows]).tolist() == [20, 20, 20]
    assert (made.folds[rows] != 0).all()


def test_small_losses_are_the_rows_of_right_labels(blobs):
    made = blobs(rows=300, noise=0.3, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    noisy = data.noisy.numpy()
    wrong = made.given[noisy] != made.right[noisy]
    losses = np.where(wrong, 3.0, 0.1) + np.random.default_rng(0).normal(0, 0.1, len(noisy))
    upper = UPPER_LOSSES["small-loss"](data, MetaSet(rows=60))
    chosen = upper.choose_again(losses.astype(np.float32)).numpy()
    assert (made.given[chosen] == made.right[chosen]).all()
    assert len(chosen) == 60


def test_equal_losses_do_not_stop_the_choice(blobs):
    data = FoldRows(task_of(blobs(checked=0)), 0, torch.device("cpu"), clean_apart=False)
    upper = UPPER_LOSSES["small-loss"](data, MetaSet(rows=60))
    assert len(upper.choose_again(np.ones(len(data.noisy), np.float32))) == 60


def test_a_hard_class_has_its_share_of_small_losses(blobs):
    made = blobs(rows=300, noise=0.3, checked=0)
    data = FoldRows(task_of(made), 0, torch.device("cpu"), clean_apart=False)
    losses = np.where(data.noisy_labels == 2, 9.0, 0.0) + np.random.default_rng(0).random(
        len(data.noisy)
    )
    chosen = UPPER_LOSSES["small-loss"](data, MetaSet(rows=60)).choose_again(losses)
    assert np.bincount(made.given[chosen.numpy()]).tolist() == [20, 20, 20]
    taken = np.isin(data.noisy.numpy(), chosen.numpy()) & (data.noisy_labels == 2)
    others = ~taken & (data.noisy_labels == 2)
    assert losses[taken].max() < losses[others].min()


def test_mean_absolute_error():
    batch = type("Batch", (), {"labels": torch.tensor([0, 1])})
    logits = torch.tensor([[0.3, 0.7], [0.5, 0.5]]).log()
    assert float(upper_losses.mean_absolute_error(logits, batch)) == pytest.approx(1.4 / 2 + 0.5)


def test_meta_steps_stop_when_the_upper_loss_has_settled(blobs):
    made = blobs(rows=200)
    task = task_of(made)
    plan = replace(quick("mw-net", tolerance=0.9), upper="clid")
    moved = []
    trainer = trainer_of(task, plan)
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


# --- settings -------------------------------------------------------------------------------


def test_plans_take_the_upper_loss_that_is_possible():
    assert method_for("mw-net", checked=True).upper == "ce-clean"
    assert method_for("mw-net", checked=False).upper == "clid"
    assert method_for("vri", "mae", checked=True).upper == "mae"
    assert method_for("clid", "clid-sparse", checked=False).upper == "clid-sparse"
    assert method_for("mlc", checked=True).needs_checked
    assert not method_for("clid", checked=True).needs_checked


def test_emlc_takes_five_student_steps_to_one_of_the_teacher_on_images(blobs):
    made = blobs(rows=150)
    task = task_of(made)
    on_images = replace(task, frozen=FeatureRows(made.features))
    for some, steps in ((task, 1), (on_images, 5)):
        plan, _ = sized(METHODS["emlc"], some)
        assert plan.config.student_steps == steps


def test_small_sets_are_passed_more_often(blobs):
    _, epochs = sized(METHODS["mlc"], task_of(blobs(rows=100)))
    _, fewer = sized(METHODS["mlc"], task_of(blobs(rows=3000)))
    assert epochs > fewer > 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch", 0), ("lr", 0), ("warm_up", 1.0), ("optimizer", "rprop"), ("tolerance", -1)],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        BilevelConfig(**{name: value})


# --- snapshots ------------------------------------------------------------------------------


def test_snapshots_keep_the_lowest_scores_and_average_them():
    net = nn.Linear(2, 2)
    kept = Snapshots(net, 2)
    with pytest.raises(ValueError, match="no snapshot"):
        kept(torch.ones(1, 2))
    states = []
    for score in (3.0, 1.0, 2.0, 5.0):
        with torch.no_grad():
            net.weight.normal_(generator=torch.Generator().manual_seed(int(score)))
        states.append((score, net.weight.detach().clone()))
        assert kept.offer(net, score) == (score != 5.0)
    assert sorted(kept.scores.tolist()) == [1.0, 2.0]
    x = torch.ones(1, 2)
    expected = sum((x @ w.T + net.bias).softmax(1) for s, w in states if s in (1.0, 2.0)) / 2
    assert torch.allclose(kept(x), expected)
    assert not kept.offer(net, float("nan"))


def test_snapshots_are_chosen_by_the_upper_loss(blobs):
    trainer = trainer_of(task_of(blobs(rows=150)), quick("mlc"))
    assert len(trainer.snapshots.nets) == 5
    offered = []
    trainer.snapshots.offer = lambda net, score: offered.append(score)
    with torch.no_grad():
        reported = [trainer.evaluate(epoch)["upper_loss"] for epoch in range(3)]
    assert offered == reported[1:]


# --- alarms ---------------------------------------------------------------------------------


def history(*metrics):
    return [
        EpochReport(epoch=epoch, epochs=len(metrics) - 1, metrics=values, seconds=0.0)
        for epoch, values in enumerate(metrics)
    ]


def falling(**last):
    steps = [{"upper_loss": value, "teacher_moved": 0.1} for value in (2.0, 1.5, 1.0, 0.9)]
    return history(*steps[:-1], steps[-1] | last)


def test_no_alarm_where_all_is_well():
    assert alarms([falling(), falling(barrier_open=0.5)]) == []


def test_alarms_name_the_sign_and_the_folds():
    (still,) = alarms([falling(teacher_moved=0.0), falling()])
    assert still.startswith("the teacher never moved")
    assert still.endswith("(in 1 of 2 folds)")
    (shut,) = alarms([falling(barrier_open=0.0)] * 2)
    assert shut.startswith("the barrier stayed at zero")
    (rose,) = alarms([falling(upper_loss=1.9)])
    assert rose.startswith("the upper loss rose")


@pytest.mark.parametrize(
    ("losses", "rises"),
    [
        ((0.00774, 0.00740, 0.00678, 0.00741), True),  # CLID, on its way to noisy labels
        ((0.00774, 0.00740, 0.00700, 0.00678), False),
        ((2.3, 1e3, 6e9, 1.3e8), True),  # never below where it began
        ((2.3, 0.9, 0.50, 0.55), False),
        ((2.3, 2.301, 2.299, 2.301), False),  # goes nowhere
        ((2.3, 1e3, 1e3), False),  # too short to say
    ],
)
def test_a_rise_is_measured_in_the_loss_s_own_range(losses, rises):
    told = alarms([history(*({"upper_loss": value} for value in losses))])
    assert bool(told) == rises


def test_a_teacher_that_never_moves_is_told(blobs):
    frozen = quick("mlc", teacher_lr=1e-30)
    found = cross_fit(task_of(blobs(rows=150)), frozen, replace(LOOP, epochs=2))
    assert [line[:23] for line in found.training_log["alarms"]] == ["the teacher never moved"]


# --- AutoAugment ----------------------------------------------------------------------------


def test_auto_augment_is_drawn_from_its_generator():
    images = torch.randint(0, 256, (12, 8, 8, 3), dtype=torch.uint8)
    state = torch.get_rng_state()
    one, two = (auto_augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, two)
    assert one.shape == (12, 3, 8, 8)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert not torch.equal(one, auto_augment(images, torch.Generator().manual_seed(4)))


# --- CLID-MU ----------------------------------------------------------------------------------


def digits(noise):
    features, right = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    flipped = random.random(len(right)) < noise
    given = np.where(flipped, (right + random.integers(1, 10, len(right))) % 10, right)
    rows = FeatureRows(features.astype(np.float32), noise=0.7)
    task = FoldTask(
        source=rows, frozen=rows, given=given.astype(np.int32),
        checked=np.full(len(right), -1, np.int32),
        folds=(random.permutation(len(right)) % 5).astype(np.int8), classes=10,
        make_student=partial(FeatureNet, rows.columns, 10, 64),
    )  # fmt: skip
    return task, right


@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.95), (0.4, 0.9)])
def test_clid_on_digits(noise, least):
    task, right = digits(noise)
    plan, _ = sized(METHODS["clid"], task)
    plan = replace(plan, config=replace(plan.config, lr=0.01))
    found = cross_fit(task, plan, replace(LOOP, epochs=6))
    assert (found.log_probabilities.argmax(1) == right).mean() > least
    if not noise:  # right labels stay as they are
        given, predictions = task.given, [found.log_probabilities]
        soft = no_clean_set.estimate(predictions, given).posterior(predictions, given)
        assert (soft.argmax(1) != given).mean() < 0.003


def test_the_weight_net_learns_to_distrust_rows_of_high_loss(blobs):
    made = blobs(rows=300, noise=0.3)
    trainer = trainer_of(task_of(made), quick("clid", student_steps=1, teacher_lr=0.02))
    for epoch in range(4):
        step = step_of(epoch, epochs=4)
        for rows in trainer.epoch_rows(step).split(32):
            trainer.step(rows, step)
    easy, hard = trainer.teacher(torch.tensor([0.1, 3.0])).tolist()
    assert hard < 0.7 * easy


def test_feature_rows_keep_relative_scales_within_bounds(blobs):
    features = blobs().features * np.array([0.001, 1, 1, 1, 1, 2, 3, 1000], dtype=np.float32)
    features[:, 1] = 7.0  # constant
    rows = FeatureRows(features, noise=0.5).to(torch.device("cpu"))
    every = torch.arange(len(rows))
    x = rows.test_batch(every)
    assert float(x[:, -1].abs().max()) == 0  # the constant of the design
    assert float(x[:, 1].abs().max()) == 0
    assert float(x[:, :-1].square().mean()) == pytest.approx(1, rel=1e-3)
    std_D = x.std(0)
    assert float(std_D[7] / std_D[0]) == pytest.approx(16, rel=0.01)
    noise = rows.train_batch(every, torch.Generator().manual_seed(0)) - x
    assert float(noise[:, 1].abs().max()) == 0
    assert float(noise[:, 0].std()) == pytest.approx(0.5, rel=0.1)

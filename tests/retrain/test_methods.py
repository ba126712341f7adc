"""Every retraining method: it learns, it resumes, it keeps out of what it may not see."""

from functools import partial

import numpy as np
import pytest
import torch
from builders import draw_picture, make_blobs, step_of
from sklearn.mixture import GaussianMixture

from labelfix.equations import dividemix as eq
from labelfix.errors import InputError
from labelfix.features.standardise import Scaling
from labelfix.nets.classifiers import (
    Ensemble,
    ImageClassifier,
    image_classifier,
    predict_logits,
    statistics_from,
)
from labelfix.nets.datasets import FeatureSource, ImageSource
from labelfix.nets.feature_net import feature_classifier
from labelfix.predictors.bilevel import upper_losses
from labelfix.retrain import dividemix, hrp, noise_split
from labelfix.retrain.checked_accuracy import CheckedAccuracy
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import METHODS, retrain, settings_of
from labelfix.training.config import EpochReport, LoopConfig
from labelfix.training.devices import make_fabric
from labelfix.training.loop import train

EVERY = [(name, ()) for name in METHODS]
VARIANTS = [
    *EVERY,
    *((name, ("upper_loss=clid",)) for name in ("ce", "dividemix", "fixmatch")),
    ("ce", ("upper_loss=small-loss",)),
    ("hrp", ("upper_loss=small-loss",)),
    ("hrp", ("reliabilities=none", "mixup=none", "contrast=0")),
    ("hrp", ("reliabilities=coupled", "mixup=symmetric", "gate=false")),
]


def feature_net(number, like):
    return feature_classifier(like.shape[1], 3, scaling=Scaling.of(like))


def targets_on(blobs, **changes):
    rows = len(blobs.given)
    fields = {
        "soft_labels": np.eye(3, dtype=np.float32)[blobs.given.clip(0)],
        "weights": (blobs.given >= 0).astype(np.float32),
        "usable": np.ones(rows, dtype=bool),
        "right": blobs.checked,
    }
    return Targets(**fields | changes)


def task_on(blobs, **changes):
    return Problem(
        make_net=partial(feature_net, like=blobs.features),
        source=FeatureSource(blobs.features),
        targets=targets_on(blobs, **changes),
        images=False,
        batch_size=32,
    )


def loop(epochs=3, **changes):
    return LoopConfig(epochs=epochs, batch_size=32, device="cpu", precision="32-true", **changes)


def accuracy(net, blobs):
    found = predict_logits(net, FeatureSource(blobs.features)).argmax(1).numpy()
    return (found == blobs.right).mean()


def states(result):
    return result.net.state_dict()


@pytest.mark.parametrize(("method", "changes"), VARIANTS)
def test_learns_from_noisy_labels(method, changes):
    blobs = make_blobs(rows=240, noise=0.3, missing=20, checked=40)
    found = retrain(method, task_on(blobs), settings_of(method, changes), loop=loop(12))
    fresh = make_blobs(rows=240, noise=0.3, missing=20, checked=40)
    assert accuracy(found.net, fresh) > 0.85
    assert all(np.isfinite(list(report.metrics.values())).all() for report in found.history)


@pytest.mark.parametrize(("method", "changes"), VARIANTS)
@pytest.mark.parametrize("stop_at", [3, 9])
def test_a_resumed_training_equals_an_uninterrupted_one(method, changes, stop_at, tmp_path):
    blobs = make_blobs(rows=120, missing=10)
    settings = settings_of(method, changes)
    whole = retrain(method, task_on(blobs), settings, loop=loop())
    file = tmp_path / "loop.pt"
    with pytest.raises(KeyboardInterrupt):
        train(
            partial(stopping, method=method, problem=task_on(blobs), settings=settings, at=stop_at),
            loop(checkpoint_seconds=0),
            checkpoint=file,
        )
    resumed = retrain(method, task_on(blobs), settings, loop=loop(), checkpoint=file)
    assert [r.metrics for r in resumed.history] == [r.metrics for r in whole.history]
    for name, value in states(whole).items():
        assert torch.equal(value, states(resumed)[name]), name


def stopping(fabric, *, method, problem, settings, at):
    """The method, interrupted at a step."""
    built = METHODS[method].build(fabric, problem, settings)
    step, count = built.step, 0

    def counted(rows, context):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt
        return step(rows, context)

    built.step = counted
    return built


@pytest.mark.parametrize("method", METHODS)
def test_rows_that_may_not_be_seen_change_nothing(method):
    """What stands in the test table is neither learned from nor looked at."""
    blobs = make_blobs(rows=150)
    usable = np.arange(150) >= 50
    weights = usable.astype(np.float32)
    found = []
    for spoil in (False, True):
        soft = np.eye(3, dtype=np.float32)[blobs.given]
        features = blobs.features.copy()
        if spoil:
            soft[:50], features[:50] = 1 / 3, 5.0
        task = Problem(
            make_net=partial(feature_net, like=blobs.features),
            source=FeatureSource(features, Scaling.of(blobs.features)),
            targets=targets_on(blobs, soft_labels=soft, usable=usable, weights=weights),
            images=False,
            batch_size=32,
        )
        found.append(states(retrain(method, task, settings_of(method, ()), loop=loop(2))))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def picture_net(number):
    return image_classifier("smallconv", 8, 3, seed=number)


@pytest.mark.parametrize("method", ["dividemix", "hrp", "fixmatch", "elr"])
def test_images_are_learned_from_too(method):
    images = np.stack([draw_picture(row % 3, row) for row in range(96)])
    right = (np.arange(96) % 3).astype(np.int32)
    task = Problem(
        make_net=picture_net,
        source=ImageSource(images),
        targets=Targets(
            soft_labels=np.eye(3, dtype=np.float32)[right],
            weights=np.ones(96, dtype=np.float32),
            usable=np.ones(96, dtype=bool),
            right=np.where(np.arange(96) < 30, right, -1).astype(np.int32),
        ),
        images=True,
        batch_size=16,
    )
    found = retrain(method, task, settings_of(method, ()), loop=loop(3))
    assert torch.isfinite(predict_logits(found.net, task.source)).all()
    nets = [module for module in found.net.modules() if isinstance(module, ImageClassifier)]
    assert len(nets) == len(METHODS[method].nets)
    if len(nets) == 2:
        assert not torch.equal(nets[0].head.weight, nets[1].head.weight)


def test_an_ensemble_predicts_the_mean_probability_and_energy():
    nets = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    logits = Ensemble(nets)(x)
    both = torch.stack([net(x) for net in nets])
    assert torch.allclose(logits.softmax(-1), both.softmax(-1).mean(0), atol=1e-6)
    assert torch.allclose(logits.logsumexp(-1), both.logsumexp(-1).mean(0), atol=1e-5)


def test_settings_are_parsed_by_their_types():
    found = settings_of("hrp", ["gate=false", "meta_every=3", "low=0.2", "mixup=none"])
    assert (found.gate, found.meta_every, found.low, found.mixup) == (False, 3, 0.2, "none")
    assert settings_of("ce", []) == METHODS["ce"].config
    with pytest.raises(InputError, match="elr has no setting 'gate'; --set one of strength"):
        settings_of("elr", ["gate=true"])


# --- the split ------------------------------------------------------------------------------


def two_bumps(rows=400, seed=0):
    random = np.random.default_rng(seed)
    right = random.random(rows) < 0.6
    low, high = random.gamma(2, 0.1, rows), 2 + random.normal(0, 0.4, rows)
    return np.where(right, low, high).astype(np.float32), right


def test_the_split_is_scikit_learns_mixture():
    losses, right = two_bumps()
    found = noise_split.clean_probability(losses)
    scaled = ((losses - losses.min()) / (losses.max() - losses.min())).astype(np.float64)[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(scaled)
    expected = mixture.predict_proba(scaled)[:, mixture.means_.argmin()]
    assert np.allclose(found, expected, atol=1e-6)
    assert ((found > 0.5) == right).mean() > 0.97
    assert noise_split.noise_rate_of(losses) == pytest.approx((~right).mean(), abs=0.03)


@pytest.mark.parametrize("losses", [np.zeros(0), np.full(9, 0.7), np.array([0.1, 0.9])])
def test_where_nothing_tells_labels_apart_all_are_kept(losses):
    assert (noise_split.clean_probability(losses.astype(np.float32)) == 1).all()


def test_a_split_keeps_some_of_every_class():
    losses = np.array([0.1, 0.2, 3.0, 2.5, 2.9, 0.3], dtype=np.float32)
    classes = np.array([0, 0, 1, 1, 1, 0])
    probability = np.array([0.9, 0.8, 0.1, 0.2, 0.1, 0.4], dtype=np.float32)
    rows = (probability, losses, classes)
    taken, forced = noise_split.labelled_part(*rows, threshold=0.5, least=0.1)
    assert taken.tolist() == [True, True, False, True, False, False]  # row 3: class 1's best
    assert forced
    _, forced = noise_split.labelled_part(*rows, threshold=0.15, least=0.1)
    assert not forced


def built(method, blobs, **settings):
    fabric = make_fabric("cpu", 1, 1, "32-true")
    config = settings_of(method, [f"{name}={value}" for name, value in settings.items()])
    return METHODS[method].build(fabric, task_on(blobs), config)


def test_dividemix_divides_by_the_other_net_and_never_into_nothing():
    blobs = make_blobs(rows=150, noise=0.4, missing=15, checked=30)
    method = built("dividemix", blobs, threshold=0.99)
    with torch.no_grad():  # a first net without any opinion, and one with a strong one
        for parameter in method.plain[0].parameters():
            parameter.zero_()
    method.epoch_rows(step_of(2))
    split = method.split
    assert (split.clean_2N[1][blobs.given >= 0] == 1).all()  # equal losses tell nothing apart
    assert (split.clean_2N[0][blobs.given >= 0] < 1).any()
    assert not split.labelled_2N[:, blobs.given < 0].any()
    known = torch.from_numpy((blobs.checked >= 0) & (blobs.checked == blobs.given))
    assert split.labelled_2N[:, known].all()
    for code in range(3):
        assert split.labelled_2N[:, blobs.given == code].any(1).all()


def test_soft_labels_count_for_no_less_than_they_say():
    blobs = make_blobs(rows=150, noise=0.4, checked=0)
    soft_NK = np.eye(3, dtype=np.float32)[blobs.given]
    soft_NK[:75] = 0.7 * soft_NK[:75] + np.float32(0.1)
    methods = []
    for labels_NK in (soft_NK, np.eye(3, dtype=np.float32)[blobs.given]):
        task = task_on(blobs, soft_labels=labels_NK)
        fabric = make_fabric("cpu", 1, 1, "32-true")
        methods.append(dividemix.DivideMix(fabric, task, dividemix.DivideMixConfig()))
        methods[-1].epoch_rows(step_of(2))
    told, untold = (method.split.clean_2N for method in methods)
    assert (told >= torch.from_numpy(soft_NK).amax(1) - 1e-6).all()
    assert (untold < 0.7).any()


def test_dividemix_trains_where_all_or_no_rows_of_a_batch_are_labelled():
    blobs = make_blobs(rows=90)
    method = built("dividemix", blobs)
    method.epoch_rows(step_of(2))
    for labelled in (True, False):
        method.split.labelled_2N[:] = labelled
        loss = method.step(torch.arange(30), step_of(2))["loss"]
        loss.backward()
        assert loss.isfinite()


def test_statistics_follow_inputs_as_they_are():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    with statistics_from(inputs, net):
        net((inputs + inputs.flip(0)) / 2).sum().backward()
    expected = torch.lerp(torch.zeros(2), inputs.mean(0), 0.1)
    torch.testing.assert_close(net[0].running_mean, expected)
    torch.testing.assert_close(net[0].running_var, torch.lerp(torch.ones(2), inputs.var(0), 0.1))
    assert net[0].momentum == 0.1
    assert net[0].weight.grad is not None


def test_dividemix_guesses_without_moving_batchnorm():
    images = np.stack([draw_picture(row % 3, row) for row in range(48)])
    task = Problem(
        make_net=picture_net,
        source=ImageSource(images),
        targets=targets_on(make_blobs(rows=48)),
        images=True,
        batch_size=16,
    )
    method = dividemix.DivideMix(
        make_fabric("cpu", 1, 1, "32-true"), task, dividemix.DivideMixConfig()
    )
    seen = []
    for net in method.plain:
        norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
        norm.register_forward_hook(lambda m, i, o: seen.append((m.training, len(o))))
    method.epoch_rows(step_of(2))
    seen.clear()
    method.step(torch.arange(16), step_of(2))
    guessing, following, learning = seen[:4], seen[4:6], seen[6:]
    assert guessing == [(False, 16)] * 4
    assert following == [(True, 16)] * 2
    assert learning == [(True, 32)] * 2


@pytest.mark.parametrize(
    ("epochs", "share", "steps", "expected"),
    [(20, 0.15, 0, 3), (20, 0.15, 25, 5), (20, 0.15, 1000, 10), (2, 0.0, 0, 1), (1, 0.5, 9, 1)],
)
def test_dividemix_warms_up_for_enough_steps(epochs, share, steps, expected):
    task = task_on(make_blobs(rows=160))  # five steps an epoch
    config = dividemix.DivideMixConfig(warm_up=share, warm_up_steps=steps)
    method = dividemix.DivideMix(make_fabric("cpu", 1, 1, "32-true"), task, config)
    assert method.warm_epochs(epochs) == expected


def test_lambda_u_follows_the_noise_of_the_labels():
    blobs = make_blobs(rows=300, noise=0.5, checked=0)
    method = built("dividemix", blobs)
    method.epoch_rows(step_of(2))
    rate, symmetry = method.split.noise_2
    expected = eq.unlabelled_weight(rate, symmetry, 3)
    assert float(method.unlabelled_weight(step_of(2))) == pytest.approx(float(expected))
    fixed = built("dividemix", blobs, unlabelled_weight=7)
    fixed.epoch_rows(step_of(2))
    assert float(fixed.unlabelled_weight(step_of(2))) == 7


def test_dividemix_says_that_ranks_helped():
    reports = [
        EpochReport(epoch=e, epochs=3, metrics={"split_by_rank": f}, seconds=0)
        for e, f in enumerate((0, 0, 1, 1))
    ]
    (line,) = dividemix.diagnose_splits(reports)
    assert "in 2 of 3 epochs" in line
    assert dividemix.diagnose_splits(reports[:2]) == []


# --- reliabilities ---------------------------------------------------------------------------


def test_the_files_reliabilities_are_the_memorys_start():
    blobs = make_blobs(rows=60)
    priors = np.linspace(0, 1, 60).astype(np.float32)
    priors[5] = np.nan
    task = task_on(blobs, label_reliability=priors)
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
        task = task_on(blobs, soft_labels=labels_NK)
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
    task = task_on(blobs)
    trained = train(
        partial(METHODS["hrp"].build, problem=task, config=settings_of("hrp", ())), loop(8)
    )
    memory = trained.modules["memory"]["label_2N"].mean(0).numpy()
    right = blobs.given == blobs.right
    assert memory[right].mean() > 1.3 * memory[~right].mean()


def test_gates_at_their_lower_bound_are_mended_said_and_do_not_stop_learning():
    blobs, nothing = make_blobs(rows=240, noise=0.3, checked=40), np.zeros(240, np.float32)
    task = task_on(blobs, label_reliability=nothing, pseudo_reliability=nothing)
    found = retrain("hrp", task, settings_of("hrp", ["meta_every=1000000"]), loop=loop(12))
    assert "in 12 of 12 epochs most reliabilities sank" in hrp.diagnose_gates(found.history)[0]
    assert accuracy(found.net, blobs) > 0.85
    measured = retrain("hrp", task, settings_of("hrp", ()), loop=loop(12))
    assert not hrp.diagnose_gates(measured.history)  # a few measurements, and they have risen


def closed(guard, right, wrong, **watched):
    """The guard after an epoch in which so many of its checked rows were told right and wrong."""
    rows = torch.arange(right + wrong)
    guard.count(rows, torch.where(rows < right, 0, 1))
    guard.close_epoch(make_fabric("cpu", 1, 1, "32-true"), **watched)
    return bool(guard.fell)


def test_a_fall_is_two_standard_errors_below_the_best_epoch_and_stays():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=1)
    assert not closed(guard, 100, 100)
    assert not closed(guard, 160, 40)
    # the standard error of a difference is (0.8 * 0.2 / 200 + 0.72 * 0.28 / 200) ** 0.5 = 0.0425
    assert not closed(guard, 144, 56)
    assert closed(guard, 142, 58)
    assert closed(guard, 190, 10)


def test_only_epochs_in_which_nets_teach_themselves_can_fall():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=1)
    assert not closed(guard, 160, 40, watched=False)
    assert not closed(guard, 100, 100, watched=False)
    assert closed(guard, 142, 58)  # the best epoch counts all the same


@pytest.mark.parametrize("soft", [False, True])
def test_hrp_watches_only_while_it_relabels(soft):
    blobs = make_blobs(rows=60, checked=60)
    labels_NK = np.eye(3, dtype=np.float32)[blobs.given]
    task = task_on(blobs, soft_labels=0.9 * labels_NK + np.float32(0.1 / 3) if soft else labels_NK)
    method = hrp.HRP(make_fabric("cpu", 1, 1, "32-true"), task, hrp.HRPConfig())
    right_N = torch.from_numpy(task.targets.right).long()
    fell = []
    # of three epochs: the ramp is over in the second
    for epoch, told in enumerate((right_N, (right_N + 1) % 3, (right_N + 1) % 3)):
        method.checked.count(torch.arange(60), told)
        method.epoch_rows(step_of(epoch + 1))
        fell.append(bool(method.checked.fell))
    assert fell == [False, not soft, not soft]


def test_two_nets_are_no_more_rows_and_unchecked_rows_tell_nothing():
    guard = CheckedAccuracy(np.zeros(200, np.int32), nets=2)
    closed(guard, 160, 40)
    assert not closed(guard, 142, 58)
    guard = CheckedAccuracy(np.full(200, -1, np.int32), nets=1)
    assert not closed(guard, 160, 40)
    assert not closed(guard, 0, 200)


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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["elr", "dividemix", "hrp", "flexmatch", "cdr"])
def test_two_processes(method):
    blobs = make_blobs(rows=160, missing=8)
    task = task_on(blobs)
    found = [retrain(method, task, settings_of(method, ()), loop=loop(2, devices=2)) for _ in "ab"]
    assert [r.metrics for r in found[0].history] == [r.metrics for r in found[1].history]
    assert accuracy(found[0].net, blobs) > 0.4

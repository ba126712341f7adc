"""GLC: a first net measures the transition, a second one learns through it."""

import numpy as np
import pytest
import torch
from builders import make_blobs, step_of
from retrain_problems import accuracy, built, loop, problem_of

from labelfix.equations.glc import corrected_cross_entropy
from labelfix.errors import InputError
from labelfix.retrain.registry import retrain, settings_of
from labelfix.training.worker import lr_factor


def asymmetric(rows=600, checked=90, rate=0.45):
    """Labels that only go from one class to the next."""
    blobs = make_blobs(rows=rows, noise=0.0, checked=checked)
    flipped = np.random.default_rng(1).random(rows) < rate
    blobs.given[flipped] = (blobs.right[flipped] + 1) % 3
    return blobs


def test_it_finds_the_transition_and_learns_through_it():
    blobs = asymmetric()
    found = retrain("glc", problem_of(blobs), settings_of("glc", ()), loop=loop(20))
    plain = retrain("ce", problem_of(blobs), settings_of("ce", ()), loop=loop(20))
    kept = (blobs.given == blobs.right)[90:].mean()
    assert found.history[-1].metrics["transition_diagonal"] == pytest.approx(kept, abs=0.12)
    assert accuracy(found.net, blobs) > 0.9
    assert accuracy(plain.net, blobs) < 0.7


def test_the_first_net_sees_no_checked_row_and_the_second_sees_all():
    blobs = asymmetric(rows=120, checked=30)
    method = built("glc", blobs)
    first = method.epoch_rows(step_of(0, epochs=10))
    assert first.tolist() == list(range(30, 120))
    assert method.epoch_rows(step_of(4, epochs=10)).tolist() == list(range(120))
    assert not torch.equal(method.transition.matrix_KK, torch.eye(3))
    assert torch.allclose(method.transition.matrix_KK.sum(1), torch.ones(3))


def weights_of(method):
    nets = [method.modules[name] for name in ("first", "net")]
    return [torch.cat([part.detach().flatten() for part in net.parameters()]) for net in nets]


def test_a_step_moves_one_net_by_its_own_schedule():
    method = built("glc", asymmetric(rows=60, checked=20))
    for optimizer in method.optimizers.values():
        optimizer.param_groups[0]["initial_lr"] = 0.1
    for number, (epoch, name, done) in enumerate([(3, "first", 3.75 / 4), (4, "net", 0.75 / 6)]):
        before = weights_of(method)
        method.step(torch.arange(20, 52), step_of(epoch, epochs=10, step=1, steps=2))
        moved = [
            not torch.equal(old, new) for old, new in zip(before, weights_of(method), strict=True)
        ]
        assert moved == [number == 0, number == 1]
        rate = method.optimizers[name].param_groups[0]["lr"]
        assert rate == pytest.approx(0.1 * lr_factor(done))


def test_checked_rows_are_learned_as_they_are_and_others_through_the_transition():
    blobs = asymmetric(rows=60, checked=20)
    method = built("glc", blobs)
    for optimizer in method.optimizers.values():
        optimizer.param_groups[0]["initial_lr"] = 0.0
    method.transition.matrix_KK.copy_(torch.tensor([[0.6, 0.4, 0], [0, 0.6, 0.4], [0.4, 0, 0.6]]))
    method.modules["net"].eval()  # no dropout
    method.data.source.weak_noise = 0.0
    rows = torch.arange(10, 30)
    found = method.step(rows, step_of(4, epochs=10))["loss"]
    with torch.no_grad():
        logs = method.modules["net"](method.data.source.test_batch(rows)).log_softmax(1)
    given = torch.eye(3)[torch.from_numpy(blobs.given).long()[rows]]
    right = torch.eye(3)[torch.from_numpy(blobs.right).long()[rows]]
    through = corrected_cross_entropy(logs, given, method.transition.matrix_KK)
    expected = torch.cat([-(right * logs).sum(1)[:10], through[10:]]).mean()
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("epochs", "first"), [(10, 4), (2, 1), (1, 0), (3, 1)])
def test_each_net_has_an_epoch_where_there_are_two(epochs, first):
    assert built("glc", make_blobs(rows=60)).first_epochs(epochs) == first


def test_checked_rows_alone_and_none_at_all():
    settings = settings_of("glc", ())
    found = retrain("glc", problem_of(make_blobs(rows=60, checked=60)), settings, loop=loop(4))
    assert np.isfinite(found.history[-1].metrics["loss"])
    nobody = problem_of(make_blobs(rows=60, checked=0))
    with pytest.raises(InputError, match="glc needs checked rows, and none is left"):
        retrain("glc", nobody, settings, loop=loop(1))

"""DivideMix: each net divides by the other, guesses, warms up, and says how it split."""

import numpy as np
import pytest
import torch
from builders import draw_picture, make_blobs, step_of
from retrain_problems import built, picture_net, problem_of, targets_on

from labelfix.equations import dividemix as eq
from labelfix.nets.datasets import ImageSource
from labelfix.retrain import dividemix
from labelfix.retrain.problem import Problem
from labelfix.training.config import EpochReport
from labelfix.training.devices import make_fabric


def test_dividemix_divides_by_the_other_net_and_never_into_nothing():
    blobs = make_blobs(rows=150, noise=0.4, missing=15, checked=30)
    method = built("dividemix", blobs, threshold=0.99)
    with torch.no_grad():  # a first net without any opinion, and one with a strong one
        for parameter in method.plain[0].parameters():
            parameter.zero_()
    method.epoch_rows(step_of(2))
    split = method.split
    assert (split.trust_2N[1][blobs.given >= 0] == 1).all()  # equal losses tell nothing apart
    assert (split.trust_2N[0][blobs.given >= 0] < 1).any()
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
        task = problem_of(blobs, soft_labels=labels_NK)
        fabric = make_fabric("cpu", 1, 1, "32-true")
        methods.append(dividemix.DivideMix(fabric, task, dividemix.DivideMixConfig()))
        methods[-1].epoch_rows(step_of(2))
    told, untold = (method.split.trust_2N for method in methods)
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
    task = problem_of(make_blobs(rows=160))  # five steps an epoch
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

"""Every retraining method: it learns, it resumes, it keeps out of what it may not see."""

from functools import partial

import numpy as np
import pytest
import torch
from builders import draw_picture, make_blobs
from retrain_problems import accuracy, feature_net, loop, picture_net, problem_of, targets_on

from labelfix.features.standardise import Scaling
from labelfix.nets.classifiers import (
    ImageClassifier,
    predict_logits,
)
from labelfix.nets.datasets import FeatureSource, ImageSource
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import METHODS, retrain, settings_of
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


def states(result):
    return result.net.state_dict()


@pytest.mark.parametrize(("method", "changes"), VARIANTS)
def test_learns_from_noisy_labels(method, changes):
    blobs = make_blobs(rows=240, noise=0.3, missing=20, checked=40)
    found = retrain(method, problem_of(blobs), settings_of(method, changes), loop=loop(12))
    fresh = make_blobs(rows=240, noise=0.3, missing=20, checked=40)
    assert accuracy(found.net, fresh) > 0.85
    assert all(np.isfinite(list(report.metrics.values())).all() for report in found.history)


@pytest.mark.parametrize(("method", "changes"), VARIANTS)
@pytest.mark.parametrize("stop_at", [3, 8])
def test_a_resumed_training_equals_an_uninterrupted_one(method, changes, stop_at, tmp_path):
    blobs = make_blobs(rows=120, missing=10)
    settings = settings_of(method, changes)
    whole = retrain(method, problem_of(blobs), settings, loop=loop())
    file = tmp_path / "loop.pt"
    with pytest.raises(KeyboardInterrupt):
        train(
            partial(
                stopping, method=method, problem=problem_of(blobs), settings=settings, at=stop_at
            ),
            loop(checkpoint_seconds=0),
            checkpoint=file,
        )
    resumed = retrain(method, problem_of(blobs), settings, loop=loop(), checkpoint=file)
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
    usable = np.arange(150) < 100
    weights = usable.astype(np.float32)
    found = []
    for spoil in (False, True):
        soft = np.eye(3, dtype=np.float32)[blobs.given]
        features = blobs.features.copy()
        if spoil:
            soft[100:], features[100:] = 1 / 3, 5.0
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
            clean=np.where(np.arange(96) < 30, right, -1).astype(np.int32),
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


@pytest.mark.slow
@pytest.mark.parametrize("method", ["elr", "dividemix", "hrp", "flexmatch", "cdr"])
def test_two_processes(method):
    blobs = make_blobs(rows=160, missing=8)
    task = problem_of(blobs)
    found = [retrain(method, task, settings_of(method, ()), loop=loop(2, devices=2)) for _ in "ab"]
    assert [r.metrics for r in found[0].history] == [r.metrics for r in found[1].history]
    assert accuracy(found[0].net, blobs) > 0.4

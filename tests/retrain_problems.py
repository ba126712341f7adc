"""Small problems for the retraining methods, and a method built on one."""

from functools import partial

import numpy as np

from labelfix.features.standardise import Scaling
from labelfix.nets.classifiers import (
    image_classifier,
    predict_logits,
)
from labelfix.nets.datasets import FeatureSource
from labelfix.nets.feature_net import feature_classifier
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import METHODS, settings_of
from labelfix.training.config import LoopConfig
from labelfix.training.devices import make_fabric


def feature_net(number, like):
    return feature_classifier(like.shape[1], 3, scaling=Scaling.of(like))


def targets_on(blobs, **changes):
    rows = len(blobs.given)
    fields = {
        "soft_labels": np.eye(3, dtype=np.float32)[blobs.given.clip(0)],
        "weights": (blobs.given >= 0).astype(np.float32),
        "usable": np.ones(rows, dtype=bool),
        "clean": blobs.checked,
    }
    return Targets(**fields | changes)


def problem_of(blobs, **changes):
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


def picture_net(number):
    return image_classifier("smallconv", 8, 3, seed=number)


def built(method, blobs, **settings):
    fabric = make_fabric("cpu", 1, 1, "32-true")
    config = settings_of(method, [f"{name}={value}" for name, value in settings.items()])
    return METHODS[method].build(fabric, problem_of(blobs), config)

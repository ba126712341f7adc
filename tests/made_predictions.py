"""Labels, noise and predictions of known quality, as decide() takes them."""

import numpy as np

from labelfix.annotations import Annotations
from labelfix.decide.decisions import DecideConfig, decide


def prediction(right, classes, quality, seed=0):
    """Calibrated log-probabilities: the logit of the right class is ``quality`` higher."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(right), classes))
    scores[np.arange(len(right)), right] += quality
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def noted(given, clean, folds, classes=4) -> Annotations:
    """Labels and folds of any integer type as annotations."""
    return Annotations.of(
        given.astype(np.int32), clean.astype(np.int32), folds.astype(np.int8), classes
    )


def case(rows=600, classes=4, noise=0.3, quality=2.5, checked=150, missing=0, seed=0):
    """Right labels, given labels, checked labels, folds and one prediction."""
    random = np.random.default_rng(seed)
    right = random.integers(0, classes, rows).astype(np.int32)
    wrong = random.random(rows) < noise
    given = np.where(wrong, (right + random.integers(1, classes, rows)) % classes, right)
    given = given.astype(np.int32)
    given[rows - missing :] = -1
    known = np.where(np.arange(rows) < checked, right, -1).astype(np.int32)
    folds = (np.arange(rows) % 5).astype(np.int8)
    return right, given, known, folds, prediction(right, classes, quality, seed)


def run(noise=0.3, config=DecideConfig(), **settings):  # noqa: B008  (frozen)
    right, given, checked, folds, logs = case(noise=noise, **settings)
    return right, given, checked, decide({"dmlp": [logs]}, noted(given, checked, folds), config)

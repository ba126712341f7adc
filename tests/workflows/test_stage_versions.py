"""A stage whose code gives another result must have another version, or old results would be kept.

Each stage runs on a fixed small input. What it gives is held here beside its version, coarse enough
to be the same on every machine. Where this fails: if the result was meant to change, raise the
stage's version in ``output_folder.py`` and write the new figures here; if not, it is a regression.
"""

import numpy as np
import pytest

from labelfix.workflows import output_folder as stages
from labelfix.workflows import purify as flow
from labelfix.workflows.settings import PurifyConfig, Run

TOLERANCE = 0.02  # of a share; machines differ by less, another algorithm by more
HELD = {  # numbers, mean, standard deviation, and a sum that feels their order
    "neighbours 1": (12000, 0.6109, 0.1425, 0.0083),
    "purify 1 auto dmlp": (720, 0.3333, 0.4047, 0.12),
    "purify 1 auto dmlp-naive": (720, 0.3333, 0.4274, 0.1457),
    "purify 1 auto auxiliary 0": (720, 0.3333, 0.2987, 0.1167),
    "purify 1 auto auxiliary 1": (720, 0.3333, 0.3988, 0.1419),
    "purify 1 auto auxiliary 2": (720, 0.3333, 0.4288, 0.2062),
    "purify 1 ebomlc ebomlc": (720, 0.3333, 0.4326, 0.1842),
    "purify 1 ebomlc ebomlc-teacher": (720, 0.3333, 0.4392, 0.0968),
    "purify 1 ebomlc auxiliary 0": (720, 0.3333, 0.2987, 0.1167),
    "purify 1 ebomlc auxiliary 1": (720, 0.3333, 0.3411, 0.1152),
    "purify 1 clid clid": (720, 0.3333, 0.2798, 0.0639),
    "purify 1 clid auxiliary 0": (720, 0.3333, 0.2987, 0.1167),
    "purify 1 clid auxiliary 1": (720, 0.3333, 0.3411, 0.1152),
    "score 1 auto label_reliability": (240, 0.7007, 0.3578, 0.195),
    "score 1 auto pseudo_reliability": (240, 0.9264, 0.0855, 0.0179),
    "score 1 auto clid": (240, 1.8569, 2.8151, -1.5188),
    "score 1 clid label_reliability": (240, 0.7065, 0.3579, 0.2505),
    "score 1 clid pseudo_reliability": (240, 0.9265, 0.0912, -0.0042),
    "score 1 clid clid": (240, 1.496, 2.3258, -1.2694),
}


@pytest.fixture(scope="module")
def purified():
    from builders import make_blobs

    from labelfix import inputs
    from labelfix.workflows.samples import LearningRows

    made = make_blobs(rows=240, checked=40, noise=0.3, seed=3)
    rows = LearningRows.of(
        made.features, inputs.content_keys(made.features), made.given, made.checked,
        classes=3, seed=0,
    )  # fmt: skip
    return {
        method: flow.run(
            rows, Run(config=PurifyConfig(method=method, device="cpu", precision="32-true"))
        )
        for method in ("auto", "ebomlc", "clid")
    }


def summary(array):
    """A few numbers that move when any part of an array does."""
    values = np.asarray(array, np.float64)
    values = values[np.isfinite(values)]
    mixed = (values * np.cos(np.arange(len(values)))).sum() / len(values) ** 0.5
    return [len(values), values.mean(), values.std(), mixed]


def test_neighbours(purified):
    graph = purified["auto"].graph
    held(stages.NEIGHBOURS, "", summary(graph.similarities))


@pytest.mark.parametrize("method", ["auto", "ebomlc", "clid"])
def test_predictions(method, purified):
    found = purified[method].predictions
    for name, logs in found.log_probabilities.items():
        held(stages.PURIFY, f"{method} {name}", summary(np.exp(logs)))
    for number, logs in enumerate(found.auxiliary):
        held(stages.PURIFY, f"{method} auxiliary {number}", summary(np.exp(logs)))


@pytest.mark.parametrize("method", ["auto", "clid"])
def test_scores(method, purified):
    scores = purified[method].scores
    for name in ("label_reliability", "pseudo_reliability", "clid"):
        held(stages.SCORE, f"{method} {name}", summary(getattr(scores, name)))


def held(stage, name, found):
    key = f"{stage.name} {stage.version} {name}".strip()
    assert key in HELD, f'write down "{key}": {[round(value, 4) for value in found]}'
    assert found == pytest.approx(HELD[key], abs=TOLERANCE), (
        f"{stage.name} gives another result: if that is meant, raise its version"
    )

"""Images are mirrored in training only where a mirror image still looks like its class."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from labelfix.equations import corruption
from labelfix.features.folds import some_of
from labelfix.nets.datasets import ImageSource
from labelfix.nets.mirroring import may_mirror
from labelfix.workflows.embed import view_of
from labelfix.workflows.row_content import Samples


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    grey = (found.images * 255 / 16).round().astype(np.uint8)
    return grey[..., None].repeat(3, 3), found.target.astype(np.int32)


@pytest.mark.parametrize("rate", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("seed", [0, 1])
def test_digits_are_not_mirrored(digits, rate, seed):
    images, right = digits
    given = corruption.symmetric(right, rate, 10, np.random.default_rng(seed))
    assert not may_mirror(images, given)


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_what_looks_either_way_is_mirrored(digits, rate):
    images, right = digits
    turned = np.random.default_rng(5).random(len(images)) < 0.5
    either = np.where(turned[:, None, None, None], images[:, :, ::-1], images)
    given = corruption.symmetric(right, rate, 10, np.random.default_rng(0))
    assert may_mirror(either, given)


def test_two_classes_that_mirror_into_each_other():
    random = np.random.default_rng(0)
    images = random.integers(0, 60, (200, 24, 32, 3), dtype=np.uint8)
    labels = (np.arange(200) % 2).astype(np.int32)
    for image, label in zip(images, labels, strict=True):
        image[:, 16 * label :][:, :16] += 120
    assert not may_mirror(images, labels)
    assert may_mirror(images, random.permutation(labels))  # labels that say nothing


@pytest.mark.parametrize("labelled", [0, 1, 2])
def test_too_few_labels_to_tell(digits, labelled):
    images, right = digits
    few = np.where(np.arange(len(right)) < labelled, right, -1)
    assert may_mirror(images, few)


def test_views_of_an_unmirrored_source():
    images = np.zeros((32, 16, 16, 3), dtype=np.uint8)
    images[:, :, 8:] = 200  # bright on the right
    rows, generator = torch.arange(32), torch.Generator().manual_seed(0)

    def brighter_right(mirrored):
        source = ImageSource(images, mirrored=mirrored)
        views = source.train_batch(rows, generator), source.strong_batch(rows, generator)
        return [(v[..., 8:].mean((1, 2, 3)) >= v[..., :8].mean((1, 2, 3))).tolist() for v in views]

    assert all(all(each) for each in brighter_right(False))
    assert not any(all(each) for each in brighter_right(True))


def test_pretraining_and_retraining_ask(digits):
    images, right = digits
    unchecked, said = np.full(len(right), -1), []
    run = SimpleNamespace(report=SimpleNamespace(say=said.append))

    def flips(given, checked):
        dataset = SimpleNamespace(given=given, clean=checked)
        view = view_of(dataset, SimpleNamespace(images=images), run)
        samples = Samples(ids=right.astype(object), values=images, keys=right, labels=right)
        return view.flip, samples.source_for(np.where(checked >= 0, checked, given)).flip

    assert flips(right, unchecked) == flips(unchecked, right) == (0, 0)
    assert len(said) == 2
    assert "not mirrored" in said[0]
    assert flips(unchecked, unchecked) == (0.5, 0.5)
    assert len(said) == 2


@pytest.mark.parametrize("seed", range(4))
def test_a_sample_is_no_echo_of_how_labels_were_broken(seed):
    right = np.zeros(50_000, dtype=np.int32)
    given = corruption.symmetric(right, 0.4, 10, np.random.default_rng(seed))
    rows = some_of(np.arange(50_000), 20_000)
    assert (given != right)[rows].mean() == pytest.approx(0.4, abs=0.015)
    assert len(np.unique(rows)) == 20_000
    assert np.array_equal(rows, some_of(np.arange(50_000), 20_000))

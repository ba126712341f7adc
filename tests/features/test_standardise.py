"""The one scaling: measured over all rows, whatever their order, for every learner."""

import pickle

import numpy as np
import pytest
import torch

from labelfix.features import standardise
from labelfix.features.standardise import Design, Scaling, Stacked
from labelfix.nets.classifiers import predict_logits
from labelfix.nets.datasets import FeatureSource
from labelfix.nets.feature_net import feature_classifier
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import retrain, settings_of
from labelfix.training.config import LoopConfig


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_mean_and_spread_of_all_rows(dtype, monkeypatch, tmp_path):
    monkeypatch.setattr(standardise, "BLOCK_ROWS", 7)
    features = (np.random.default_rng(0).normal(size=(50, 4)) * [1, 9, 0.1, 3] + 5).astype(dtype)
    np.save(tmp_path / "features.npy", features)
    found = Scaling.of(np.load(tmp_path / "features.npy", mmap_mode="r"))
    wide = features.astype(np.float64)
    np.testing.assert_allclose(found.mean_D, wide.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std_D, wide.std(0), rtol=1e-9)
    np.testing.assert_allclose(found.inverse(2.0), 0.5 / wide.std(0), rtol=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1000.1, 1.7e9])
def test_a_constant_column_has_no_spread(constant):
    features = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    features[:, 1] = constant
    found = Scaling.of(features)
    assert (found.std_D > 0).tolist() == [True, False, True]
    assert found.inverse()[1] == 0


def test_values_whose_squares_float32_cannot_hold():
    features = np.array([[1e30], [3e30]], np.float32)
    assert Scaling.of(features).std_D.tolist() == pytest.approx([1e30])


def test_design_is_standardised_with_a_constant(blobs):
    features = blobs().features
    features[:, 2] = 7.0  # a constant column drops out
    found = Design.of(features).take(slice(None))
    expected = (features - features.mean(0)) / (features.std(0) + (features.std(0) == 0)) / 8**0.5
    assert np.allclose(found[:, :-1], expected, atol=1e-5)
    assert (found[:, 2] == 0).all()
    assert (found[:, -1] == 1).all()


def test_design_streams_what_it_would_hold(blobs, monkeypatch):
    features = blobs(rows=50).features.astype(np.float16)
    held = Design.of(features)
    monkeypatch.setattr(standardise, "HELD_BYTES", 0)
    monkeypatch.setattr(standardise, "BLOCK_ROWS", 7)
    streamed = Design.of(features)
    assert held.held is not None
    assert streamed.held is None
    assert torch.allclose(torch.cat([b for _, b in streamed.blocks()]), held.held, atol=1e-6)
    rows = np.array([3, 1, 40])
    assert torch.equal(streamed.take(rows), Design.of(features).take(rows))


def test_stacked_reads_as_one_matrix():
    whole = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float16)
    stacked = Stacked(whole[:6], whole[6:])
    assert stacked.shape == (9, 3)
    for rows in (slice(None), slice(4, 8), slice(7, 20), np.array([8, 0, 5, 6])):
        assert np.array_equal(stacked[rows], whole[rows])


def test_a_design_on_another_device_is_not_measured_again(monkeypatch):
    features = np.random.default_rng(0).normal(size=(30, 3))
    design = Design.of(features)
    monkeypatch.setattr(Scaling, "of", None)
    assert Design.of(design, "meta").scaling is design.scaling
    assert Design.of(design) is design


def test_a_pickled_design_keeps_its_scaling_and_is_placed_again(monkeypatch):
    design = Design.of(np.random.default_rng(0).normal(size=(30, 3)))
    sent = pickle.dumps(design)
    assert len(sent) < 30 * 3 * 8 + 2000  # the features alone, not the scaled ones beside them
    monkeypatch.setattr(Scaling, "of", None)
    found = Design.of(pickle.loads(sent), "cpu")
    assert torch.equal(found.take(slice(None)), design.take(slice(None)))
    assert found.held is not None


def sorted_by_class(counts):
    """Rows in the order of their classes; a column a class, 0 in every other class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = np.random.default_rng(0).normal(size=(len(labels), len(counts)))
    return ((5 + noise) * np.eye(len(counts))[labels]).astype(np.float32), labels


def test_classes_that_come_late_in_the_file_are_learned():
    """Retraining once scaled by the first 65,536 rows: columns constant there were lost."""
    features, labels = sorted_by_class([33_000, 33_000, 2_000, 2_000])
    rows = len(labels)
    scaling = Scaling.of(features)
    problem = Problem(
        make_net=lambda number: feature_classifier(4, 4, scaling=scaling),
        source=FeatureSource(features, scaling),
        targets=Targets(
            soft_labels=np.eye(4, dtype=np.float32)[labels],
            weights=np.ones(rows, np.float32),
            usable=np.ones(rows, bool),
            clean=np.full(rows, -1, np.int32),
        ),
        images=False,
        batch_size=512,
    )
    loop = LoopConfig(epochs=1, batch_size=512, device="cpu", precision="32-true")
    net = retrain("ce", problem, settings_of("ce", ()), loop=loop).net
    test, right = sorted_by_class([200] * 4)
    found = predict_logits(net, FeatureSource(test)).argmax(1).numpy()
    assert (found == right).mean() > 0.99


def test_noise_is_in_units_of_all_rows():
    features = np.concatenate([np.zeros((2**16, 1)), np.tile([[-8.0], [8.0]], (2**15, 1))])
    source = FeatureSource(features.astype(np.float32))
    rows = torch.arange(1000)
    generator = torch.Generator().manual_seed(0)
    noise = source.train_batch(rows, generator) - source.test_batch(rows)
    assert float(noise.std()) == pytest.approx(source.weak_noise * features.std(), rel=0.1)

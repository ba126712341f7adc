"""Columns are standardised with a constant beside them, held or streamed."""

import numpy as np
import torch

from labelfix.features import standardise
from labelfix.features.standardise import Design, Stacked


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
    monkeypatch.setattr(standardise, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(standardise, "BLOCK_ROWS", 7)
    streamed = Design.of(features)
    assert held.resident is not None
    assert streamed.resident is None
    assert torch.allclose(torch.cat([b for _, b in streamed.blocks()]), held.resident, atol=1e-6)
    rows = np.array([3, 1, 40])
    assert torch.equal(streamed.take(rows), Design.of(features).take(rows))


def test_stacked_reads_as_one_matrix():
    whole = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float16)
    stacked = Stacked(whole[:6], whole[6:])
    assert stacked.shape == (9, 3)
    for rows in (slice(None), slice(4, 8), slice(7, 20), np.array([8, 0, 5, 6])):
        assert np.array_equal(stacked[rows], whole[rows])

"""Feature rows as nets read them."""

import numpy as np
import pytest
import torch

from labelfix.predictors.bilevel.fold_data import FeatureRows


def test_feature_rows_keep_relative_scales_within_bounds(blobs):
    features = blobs().features * np.array([0.001, 1, 1, 1, 1, 2, 3, 1000], dtype=np.float32)
    features[:, 1] = 7.0  # constant
    rows = FeatureRows(features, noise=0.5).to(torch.device("cpu"))
    every = torch.arange(len(rows))
    x = rows.test_batch(every)
    assert float(x[:, -1].abs().max()) == 0  # the constant of the design
    assert float(x[:, 1].abs().max()) == 0
    assert float(x[:, :-1].square().mean()) == pytest.approx(1, rel=1e-3)
    std_D = x.std(0)
    assert float(std_D[7] / std_D[0]) == pytest.approx(16, rel=0.01)
    noise = rows.train_batch(every, torch.Generator().manual_seed(0)) - x
    assert float(noise[:, 1].abs().max()) == 0
    assert float(noise[:, 0].std()) == pytest.approx(0.5, rel=0.1)

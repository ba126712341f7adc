"""Purified datasets that trainings start from."""

import numpy as np
import pandas as pd
import pytest

from labelfix import inputs
from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig


@pytest.fixture
def features_run(feature_files, blobs, tmp_path):
    """A purified run on features, and a test table from the same blobs."""
    files = feature_files(rows=240, noise=0.4, checked=60)
    frame, values = pd.read_csv(files.data), np.load(files.features)
    names = pd.read_csv(files.truth)
    names[200:].to_csv(files.folder / "test.csv", index=False)
    np.save(files.folder / "test.npy", values[200:])
    frame[:200].to_csv(files.data, index=False)
    np.save(files.features, values[:200])
    dataset = inputs.read(files.data, files.clean, features=files.features)
    purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp"))
    return files, tmp_path / "run"


@pytest.fixture
def images_run(image_files, tmp_path):
    folder = image_files()
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    config = PurifyConfig(pretrain="none", backbone="smallconv", device="cpu", method="dmlp")
    purify.purify_dataset(dataset, tmp_path / "run", config)
    return folder, tmp_path / "run"

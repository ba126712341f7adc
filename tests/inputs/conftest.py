"""Files that several tests of inputs share."""

import numpy as np
import pandas as pd
import pytest
from input_files import LABELS, picture


@pytest.fixture
def frame(tmp_path):
    """Six rows with image files beside the table."""
    for value in range(6):
        picture(value).save(tmp_path / f"{value}.png")
    paths = [f"{value}.png" for value in range(6)]
    return pd.DataFrame({"id": list("abcdef"), "image": paths, "label": LABELS})


@pytest.fixture
def features(tmp_path):
    path = tmp_path / "features.npy"
    np.save(path, np.random.default_rng(0).normal(size=(6, 3)).astype(np.float16))
    return path

"""Test and truth tables in terms of known classes and ids."""

import numpy as np
import pandas as pd
import pytest
from input_files import write

from labelfix.errors import InputError
from labelfix.inputs import (
    decode,
    read_labelled,
    read_truth,
)


def test_test_table_in_terms_of_known_classes(frame, tmp_path, features):
    test = read_labelled(write(frame, tmp_path / "t.csv"), like=["dog", "bird", "cat"])
    assert test.labels.tolist() == [2, 0, 2, 0, 2, 0]
    assert decode(test, tmp_path / "p.npy", size=(2, 2)).images.shape == (6, 2, 2, 3)
    assert len(list(test.encoded_images())) == len(test) == 6
    test = read_labelled(tmp_path / "t.csv", like=["cat", "dog"], features=features)
    assert test.features.shape == (6, 3)


def test_truth_is_aligned_to_ids(tmp_path):
    truth = pd.DataFrame({"id": [3, 1, 2], "label": ["x", "y", "x"]})
    path = write(truth, tmp_path / "truth.csv")
    ids = np.array(["1", "2"], dtype=object)
    assert read_truth(path, ids=ids, like=["x", "y"]).tolist() == [1, 0]
    with pytest.raises(InputError, match="has no row for id '4'"):
        read_truth(path, ids=np.array(["1", "4"], dtype=object), like=["x", "y"])
    path = write(truth[["label"]], tmp_path / "truth.csv")
    ids = np.array(["0", "1", "2"], dtype=object)
    assert read_truth(path, ids=ids, like=["x", "y"]).tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="has no row for id '3'"):
        read_truth(path, ids=np.append(ids, "3"), like=["x", "y"])

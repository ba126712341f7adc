"""Ids as pandas wrote them, and columns that are called like one."""

import numpy as np
import pandas as pd
import pytest
from input_files import LABELS, write

from labelfix.inputs import (
    read,
    read_truth,
)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_that_pandas_wrote_as_decimals_are_ids(tmp_path, suffix):
    """17.0, after a join with holes: the row numbers would name other rows."""
    frame = pd.DataFrame({"id": [3.0, 5.0, 4.0, 1.0, 0.0, 2.0], "label": LABELS})
    clean = pd.DataFrame({"id": [2, 3], "label": ["cat", "dog"]})
    keyed = pd.DataFrame({"id": range(6), "x": np.arange(6.0)})
    data, keyed = write(frame, tmp_path / f"d{suffix}"), write(keyed, tmp_path / "x.parquet")
    dataset = read(data, write(clean, tmp_path / "c.csv"), features=keyed)
    assert list(dataset.ids) == list("354102")
    assert dataset.features[:, 0].tolist() == [3, 5, 4, 1, 0, 2]
    assert dataset.clean.tolist() == [1, -1, -1, -1, -1, 0]
    found = read_truth(data, ids=np.array(["1", "2"], object), like=["cat", "dog"])
    assert found.labels.tolist() == [1, 1]
    whole = write(frame.astype({"id": int}), tmp_path / "e.csv")
    other = read(whole, write(clean.astype({"id": float}), tmp_path / "f.parquet"), features=keyed)
    assert other.clean.tolist() == dataset.clean.tolist()


def test_a_column_called_like_an_id_gives_way_to_whole_numbers(tmp_path, features):
    frame = pd.DataFrame({"index": np.arange(6) / 2, "uid": range(6, 12), "label": LABELS})
    assert read(write(frame, tmp_path / "d.csv"), features=features).columns.id == "uid"

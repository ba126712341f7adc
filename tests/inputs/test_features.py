"""Features as an array, a list column, or a file keyed by id."""

import numpy as np
import pandas as pd
import pytest
from input_files import LABELS, write

from labelfix.inputs import (
    content_keys,
    read,
)


def test_array_features_are_mapped_and_ids_are_row_numbers(tmp_path, features):
    dataset = read(write(pd.DataFrame({"label": LABELS}), tmp_path / "d.csv"), features=features)
    assert isinstance(dataset.features, np.memmap)
    assert dataset.features.dtype == np.float16
    assert list(dataset.ids) == list("012345")
    assert "d.csv: ids are the row number, counted from 0" in dataset.notices
    assert dataset.image_parts == ()


def test_list_column_of_features(tmp_path):
    rows = [np.arange(3, dtype=np.float32) + row for row in range(6)]
    frame = pd.DataFrame({"label": LABELS, "embedding": rows})
    dataset = read(write(frame, tmp_path / "d.parquet"), features="embedding")
    np.testing.assert_array_equal(dataset.features, np.stack(rows))
    assert dataset.features.dtype == np.float32


@pytest.mark.parametrize("wide", [False, True])
def test_features_keyed_by_id_come_in_the_tables_order(tmp_path, wide):
    frame = pd.DataFrame({"id": list("abcdef"), "label": LABELS})
    clean = pd.DataFrame({"id": ["b", "new"], "label": ["cat", "dog"]})
    values = np.arange(16.0).reshape(8, 2)
    keyed = pd.DataFrame({"id": ["new", "stranger", *"fedcba"]})
    if wide:
        keyed["x"], keyed["y"] = values.T
    else:
        keyed["v"] = list(values)
    dataset = read(
        write(frame, tmp_path / "d.csv"),
        write(clean, tmp_path / "c.csv"),
        features=write(keyed, tmp_path / "x.parquet"),
    )
    np.testing.assert_array_equal(dataset.features, values[:1:-1])
    np.testing.assert_array_equal(dataset.clean_features, values[:1])
    assert dataset.clean_labels.tolist() == [1]
    assert dataset.clean.tolist() == [-1, 0, -1, -1, -1, -1]
    np.testing.assert_array_equal(
        dataset.feature_keys, content_keys(np.concatenate([values[:1:-1], values[:1]]).astype("f4"))
    )

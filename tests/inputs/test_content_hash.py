"""Keys and fingerprints follow content alone."""

import numpy as np
import pandas as pd
import pytest
from input_files import picture, write

from labelfix.inputs import (
    content_keys,
    read,
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 3, 8, 129])
def test_content_keys_tell_rows_apart_and_nothing_else(dtype, width):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, width)).astype(dtype)
    features[77] = features[7]
    keys = content_keys(features)
    assert keys.dtype == np.uint64
    _, theirs = np.unique(features, axis=0, return_inverse=True)
    _, ours = np.unique(keys, return_inverse=True)
    assert len(set(zip(ours, theirs, strict=True))) == theirs.max() + 1 == ours.max() + 1
    np.testing.assert_array_equal(content_keys(np.asfortranarray(features))[::-1], keys[::-1])
    np.testing.assert_array_equal(content_keys(features[100:]), keys[100:])


def test_content_keys_are_fixed_for_all_time():
    keys = content_keys(np.array([[1, 2, 3], [0, 0, 0]], dtype=np.float32))
    assert [f"{key:x}" for key in keys] == ["6ac4175ef0994ecc", "50d8b5479a61a3c7"]


def test_fingerprint_follows_content_only(frame, tmp_path):
    first = write(frame, tmp_path / "d.csv")
    (tmp_path / "elsewhere").mkdir()
    for value in range(6):
        picture(value).save(tmp_path / f"elsewhere/{value}.png")
    second = write(frame, tmp_path / "elsewhere/other.csv")
    assert read(first).fingerprint == read(second).fingerprint
    frame.loc[0, "label"] = "dog"
    assert read(first).fingerprint != read(write(frame, first)).fingerprint


def test_fingerprint_follows_features_and_checked_rows(frame, tmp_path, features):
    data = write(frame, tmp_path / "d.csv")
    clean = write(pd.DataFrame({"id": ["a", "b"], "label": ["cat", "dog"]}), tmp_path / "c.csv")
    prints = {read(data, features=features).fingerprint}
    prints.add(read(data, clean, features=features).fingerprint)
    np.save(features, np.load(features) * 2)
    prints.add(read(data, features=features).fingerprint)
    assert len(prints) == 3


@pytest.mark.parametrize("kinds", [("f2", "f4"), ("f4", "f2"), ("f2", "f8")])
def test_one_row_in_two_types_has_one_key(kinds):
    values = np.random.default_rng(0).normal(size=(20, 7)).astype("f2")
    values[3, 2] = 60000.0
    ours, theirs = (values.astype(kind) for kind in kinds)
    assert np.array_equal(content_keys(theirs, like=ours), content_keys(ours))
    far = np.full((1, 7), 1e6, "f4")  # more than float16 holds: no row of ours, and no warning
    assert not np.isin(content_keys(far, like=values), content_keys(values)).any()

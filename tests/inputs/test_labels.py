"""Labels of every type, and the names of classes."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from input_files import LABELS, encoded, write

from labelfix.inputs import (
    read,
)


def test_class_names_of_hugging_face_replace_codes(tmp_path):
    names = {"_type": "ClassLabel", "names": ["cat", "dog"]}
    info = {"info": {"features": {"label": names}}}
    images = [encoded(tmp_path, value) for value in range(6)]
    table = pa.table({"image": images, "label": [0, 1, 0, 1, 1, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, tmp_path / "data.parquet")
    dataset = read(tmp_path / "data.parquet")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.given.tolist() == [0, 1, 0, 1, 1, -1]


@pytest.mark.parametrize(
    ("labels", "names", "codes"),
    [
        ([10, 9, 10, 9, 9, 10], ("9", "10"), [1, 0, 1, 0, 0, 1]),
        (["10", "9", "10", "9", "9", "10"], ("9", "10"), [1, 0, 1, 0, 0, 1]),
        ([1.0, 0.0, np.nan, 1.0, 0.0, 1.0], ("0", "1"), [1, 0, -1, 1, 0, 1]),
        ([True, False, True, False, True, True], ("False", "True"), [1, 0, 1, 0, 1, 1]),
        (["b", "a", None, "", " ", "nan"] * 3, ("a", "b"), [1, 0, -1, -1, -1, -1] * 3),
        (["01", "2", "01", "2", "2", "2"], ("01", "2"), [0, 1, 0, 1, 1, 1]),
    ],
    ids=["integers", "integer text", "decimals with holes", "booleans", "missing", "zeros"],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_labels_of_every_type(tmp_path, labels, names, codes, suffix):
    data = write(pd.DataFrame({"y": labels}), tmp_path / f"data{suffix}")
    np.save(tmp_path / "x.npy", np.arange(len(labels) * 2.0).reshape(-1, 2))
    dataset = read(data, features=tmp_path / "x.npy")
    assert dataset.class_names == names
    assert dataset.given.tolist() == codes


@pytest.mark.parametrize("spelled", ["true false", "TRUE FALSE", "True False"])
def test_booleans_are_the_same_in_any_case(tmp_path, features, spelled):
    data = write(pd.DataFrame({"id": range(6), "label": [True, False] * 3}), tmp_path / "d.parquet")
    clean = write(pd.DataFrame({"id": [4, 1], "label": spelled.split()}), tmp_path / "c.csv")
    dataset = read(data, clean, features=features)
    assert dataset.class_names == ("False", "True")
    assert dataset.clean.tolist() == [-1, 0, -1, -1, 1, -1]


def test_dictionary_labels(tmp_path, features):
    frame = pd.DataFrame({"label": pd.Categorical(LABELS)})
    assert read(write(frame, tmp_path / "d.parquet"), features=features).given.sum() == 3


def test_doubtful_class_names_are_said(tmp_path, features):
    frame = pd.DataFrame({"label": ["Cat", "cat ", "none", "none", "Cat", "cat "]})
    data = write(frame, tmp_path / "d.csv")
    notices = read(data, features=features, join_spellings=False).notices
    assert "d.csv: classes 'Cat', 'cat ' differ only by case or space" in notices
    assert "d.csv: 'none' counts as a class, not as a missing label" in notices

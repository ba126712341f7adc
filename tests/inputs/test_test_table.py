"""Test and truth tables in terms of known classes and ids."""

import numpy as np
import pandas as pd
import pytest
from input_files import LABELS, write

from labelfix.annotations import Answer
from labelfix.errors import InputError
from labelfix.inputs import (
    Columns,
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


def test_right_labels_are_found_by_name_in_test_and_truth_tables(frame, tmp_path, features):
    frame["true_label"] = ["dog", "dog", "dog", "cat", "cat", "cat"]
    path = write(frame, tmp_path / "t.csv")
    known = {"like": ["cat", "dog"]}
    assert read_labelled(path, **known).labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert read_truth(path, ids=frame["id"].values, **known).labels.tolist() == [1, 1, 1, 0, 0, 0]
    named = Columns(label="label")
    assert read_labelled(path, wanted=named, **known).labels.tolist() == [0, 1, 0, 1, 0, 1]
    frame["truth"] = LABELS
    path = write(frame, tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"'true_label' and 'truth'.* --label-column"):
        read_labelled(path, **known)


def test_test_and_truth_tables_may_call_their_columns_as_the_data_does(frame, tmp_path):
    frame = frame.rename(columns={"id": "tree", "label": "species", "image": "photo"})
    path = write(frame.assign(site="north"), tmp_path / "t.csv")
    usual = Columns(label="species", image="photo", id="tree")
    test = read_labelled(path, like=["cat", "dog"], usual=usual)
    assert test.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert list(test.ids) == list("abcdef")
    assert len(test.image_parts) == 1
    truth = read_truth(path, ids=test.ids[::-1], like=["cat", "dog"], usual=usual)
    assert truth.labels.tolist() == [1, 0, 1, 0, 1, 0]
    with pytest.raises(InputError, match="several columns could be the label"):
        read_labelled(path, like=["cat", "dog"])


def test_truth_may_name_classes_that_no_given_label_has(tmp_path):
    rows = pd.DataFrame({"id": list("abc"), "label": ["cat", "yak", "dog"]})
    path = write(rows, tmp_path / "t.csv")
    truth = read_truth(path, ids=np.array(list("abc"), object), like=["cat", "dog"])
    assert truth.labels.tolist() == [0, Answer.NONE, 1]
    assert "1 row of classes that no given label has" in truth.notices[-1]
    path = write(rows.assign(label="yak"), tmp_path / "t.csv")
    with pytest.raises(InputError, match="'yak' is not a class"):
        read_truth(path, ids=np.array(list("abc"), object), like=["cat", "dog"])


def test_truth_is_aligned_to_ids(tmp_path):
    truth = pd.DataFrame({"id": [3, 1, 2], "label": ["x", "y", "x"]})
    path = write(truth, tmp_path / "truth.csv")
    ids = np.array(["1", "2"], dtype=object)
    assert read_truth(path, ids=ids, like=["x", "y"]).labels.tolist() == [1, 0]
    with pytest.raises(InputError, match="has no row for id '4'"):
        read_truth(path, ids=np.array(["1", "4"], dtype=object), like=["x", "y"])
    path = write(truth[["label"]], tmp_path / "truth.csv")
    ids = np.array(["0", "1", "2"], dtype=object)
    assert read_truth(path, ids=ids, like=["x", "y"]).labels.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="has no row for id '3'"):
        read_truth(path, ids=np.append(ids, "3"), like=["x", "y"])

"""Checked rows that are copies of DATA's rows under another id: images, features, arrays."""

import numpy as np
import pandas as pd
import pytest
from input_files import picture

import labelfix
from labelfix.annotations import Answer
from labelfix.inputs import decode, find_copies, match_content, read, tell_rows_apart

LABELS = ["cat", "dog"] * 3


def write(folder, name, **columns):
    pd.DataFrame(columns).to_csv(folder / name, index=False)
    return folder / name


@pytest.fixture
def pictures(tmp_path):
    """Rows a and c alike; CLEAN, elsewhere, holds a copy of them, one of b, and a new image."""
    for place, value in enumerate([0, 1, 0, 3, 4, 5]):
        picture(value).save(tmp_path / f"{place}.png")
    (tmp_path / "audit").mkdir()
    for name, value in (("p", 0), ("q", 1), ("r", 77)):
        picture(value).save(tmp_path / f"audit/{name}.bmp")
    names = [f"{place}.png" for place in range(6)]
    data = write(tmp_path, "d.csv", id=list("abcdef"), image=names, label=LABELS)
    checked = {"image": ["p.bmp", "q.bmp", "r.bmp"], "label": ["dog", "cat", "cat"]}
    return data, write(tmp_path / "audit", "c.csv", **checked)


@pytest.fixture
def features(tmp_path):
    """Eight rows of features keyed by id: six of DATA, and p and q of CLEAN, where p equals b."""
    rows = np.random.default_rng(0).normal(size=(8, 3))
    rows[6] = rows[1]
    keyed = pd.DataFrame(rows, columns=["x", "y", "z"]).assign(id=list("abcdefpq"))
    keyed.to_parquet(tmp_path / "x.parquet")
    data = write(tmp_path, "d.csv", id=list("abcdef"), label=LABELS)
    clean = write(tmp_path, "c.csv", id=["p", "q", "f"], label=["cat", "cat", "dog"])
    return data, clean, tmp_path / "x.parquet"


def test_images_under_another_name_are_audited(pictures, tmp_path):
    dataset = read(*pictures)
    keys = decode(dataset, tmp_path / "pixels.npy").keys
    matched = match_content(dataset, keys)
    assert matched.clean.tolist() == [1, 0, 1, -1, -1, -1]
    assert matched.clean_rows.rows.tolist() == [2]
    assert matched.clean_labels.tolist() == [0]
    assert "2 checked rows with the content of rows of d.csv" in matched.notices[-1]
    assert "3 more rows counted as audited" in matched.notices[-1]
    assert match_content(matched, keys[[0, 1, 2, 3, 4, 5, 8]]) is matched


def test_without_checked_rows_content_changes_nothing(pictures, tmp_path):
    dataset = read(pictures[0])
    assert match_content(dataset, decode(dataset, tmp_path / "p.npy").keys) is dataset


def test_features_under_another_id_are_audited(features):
    data, clean, keyed = features
    dataset = read(data, clean, features=keyed)
    assert dataset.clean.tolist() == [-1, 0, -1, -1, -1, 1]
    assert dataset.clean_rows.rows.tolist() == [1]
    assert dataset.clean_labels.tolist() == [0]
    assert len(dataset.clean_features) == 1
    assert len(dataset.feature_keys) == 7
    assert "1 checked row with the content of rows of d.csv" in dataset.notices[-1]
    assert "1 more row counted as audited" in dataset.notices[-1]


def test_a_copy_of_an_audited_row_is_audited_too(features):
    data, clean, keyed = features
    rows = pd.read_parquet(keyed)
    rows.iloc[2, :3] = rows.iloc[5, :3]  # c equals f, which CLEAN names by its id
    rows.to_parquet(keyed)
    assert read(data, clean, features=keyed).clean.tolist() == [-1, 0, 1, -1, -1, 1]


def test_arrays_equal_to_rows_are_audited(blobs):
    made = blobs(rows=200, checked=0)
    copies = np.arange(30, 70)
    strangers = made.features[:5] + 100
    result = labelfix.purify(
        made.features, made.given, method="dmlp", device="cpu",
        clean_features=np.concatenate([made.features[copies], strangers]),
        clean_labels=np.concatenate([made.right[copies], made.right[:5]]),
    )  # fmt: skip
    assert result.evidence.rows == len(copies)
    assert (result.decisions[copies] == "checked").all()
    assert (result.labels[copies] == made.right[copies]).all()
    assert len(result.labels) == 200


def test_content_that_many_rows_share_names_no_row(tmp_path):
    data = write(tmp_path, "d.csv", id=range(8), label=["cat", "dog"] * 4)
    clean = write(tmp_path, "c.csv", id=[8, 9], label=["cat", "dog"])
    values = np.arange(10) % 3
    pd.DataFrame({"id": range(10), "x": values}).to_parquet(tmp_path / "x.parquet")
    dataset = read(data, clean, features=tmp_path / "x.parquet")
    assert (dataset.clean == -1).all()
    assert len(dataset.clean_labels) == 2
    assert not tell_rows_apart(np.arange(10, dtype=np.uint64) % 4)


def test_the_label_of_most_copies_counts_and_a_draw_sets_them_aside():
    content = np.array([7, 7, 8, 8, 9, 6, 7, 7, 8, 5, 5, 4], dtype=np.uint64)
    answers = np.array([1, -1, 0, -1, 2, -1], dtype=np.int32)
    labels = np.array([1, 0, 1, 0, 1, 2], dtype=np.int32)
    copies = find_copies(content, answers, labels)
    assert copies.answers.tolist() == [1, 1, -1, -1, 2, -1]
    assert copies.beside.tolist() == [False, False, False, True, True, True]
    assert copies.labels.tolist() == [1, 1, -1, -1, -1, 2]
    assert copies.disputed.tolist() == [2, 8, 9, 10]


def test_what_was_said_of_one_given_label_says_nothing_of_a_copy():
    content = np.array([7, 7, 8, 8, 9, 9], dtype=np.uint64)
    answers = np.array([Answer.WRONG, -1, Answer.UNSURE, -1, Answer.NONE, -1], dtype=np.int32)
    copies = find_copies(content, answers, np.empty(0, np.int32))
    assert copies.answers.tolist() == [-3, -1, -4, -1, -2, -2]
    answers[1] = 2
    copies = find_copies(content, answers, np.empty(0, np.int32))
    assert copies.answers.tolist() == [2, 2, -4, -1, -2, -2]


def test_copies_that_contradict_each_other_are_named(pictures, tmp_path):
    picture(1).save(tmp_path / "audit/p.bmp")
    dataset = read(*pictures)
    matched = match_content(dataset, decode(dataset, tmp_path / "pixels.npy").keys)
    assert (matched.clean == -1).all()
    assert matched.clean_rows.rows.tolist() == [2]
    assert "2 checked rows set aside" in matched.notices[-1]
    assert "(row 1 of c.csv, row 2 of c.csv)" in matched.notices[-1]

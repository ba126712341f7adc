"""Checked rows: by id, by image file, with features of their own."""

import numpy as np
import pandas as pd
from input_files import LABELS, picture, write

from labelfix.inputs import (
    read,
)


def test_clean_rows_with_a_list_column_of_their_own(tmp_path):
    rows = [[float(row), 1.0] for row in range(6)]
    theirs = [[row + 0.5, 1.0] for row in range(3)]
    frame = pd.DataFrame({"id": range(6), "label": LABELS, "v": rows})
    clean = pd.DataFrame({"id": [9, 0, 8], "label": ["cat", "dog", "dog"], "v": theirs})
    dataset = read(
        write(frame, tmp_path / "d.parquet"), write(clean, tmp_path / "c.parquet"), features="v"
    )
    assert dataset.clean_rows.rows.tolist() == [0, 2]
    np.testing.assert_array_equal(dataset.clean_features, [[0.5, 1], [2.5, 1]])
    assert dataset.clean[0] == 1


def test_paths_match_checked_rows_beside_array_features(tmp_path, features):
    frame = pd.DataFrame({"path": [f"gone/{row}" for row in range(6)], "label": LABELS})
    data = write(frame, tmp_path / "d.csv")
    clean = write(frame[2:4].assign(label=["dog", "cat"]), tmp_path / "c.csv")
    assert read(data, clean, features=features).clean.tolist() == [-1, -1, 1, 0, -1, -1]


def test_audited_rows_by_id(frame, tmp_path):
    checked = pd.DataFrame({"id": ["f", "a"], "truth": ["cat", "dog"]})
    dataset = read(write(frame, tmp_path / "d.csv"), write(checked, tmp_path / "c.csv"))
    assert dataset.clean.tolist() == [1, -1, -1, -1, -1, 0]
    assert len(dataset.clean_labels) == 0
    assert "c.csv: 2 checked rows, 2 of them rows of d.csv" in dataset.notices
    assert "c.csv: right labels from column 'truth': 2 classes: cat 1, dog 1" in dataset.notices


def test_audited_rows_by_image_file(frame, tmp_path):
    (tmp_path / "audit").mkdir()
    paths = ["../0.png", str(tmp_path / "3.png")]
    checked = write(
        pd.DataFrame({"image": paths, "label": ["dog", "cat"]}), tmp_path / "audit/c.csv"
    )
    dataset = read(write(frame, tmp_path / "d.csv"), checked)
    assert dataset.clean.tolist() == [1, -1, -1, 0, -1, -1]


def test_paths_written_as_data_wrote_them_count_where_they_lead_nowhere(frame, tmp_path):
    (tmp_path / "audit").mkdir()
    checked = pd.DataFrame({"image": ["0.png", "3.png"], "label": ["dog", "cat"]})
    data = write(frame.drop(columns="id"), tmp_path / "d.csv")
    assert read(data, write(checked, tmp_path / "audit/c.csv")).clean[0] == 1


def test_the_same_relative_path_in_two_folders_is_two_images(tmp_path):
    for split, seed in (("train", 0), ("checked", 10)):
        for place, name in enumerate(["cat/1.png", "cat/2.png", "cat/3.png", "dog/1.png", "x.png"]):
            path = tmp_path / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(seed + place).save(path)
    for root in ("train", "checked"):
        picture(7 if root == "train" else 8).save(tmp_path / root / "dog/2.png")
    (tmp_path / "checked/x.png").unlink()
    dataset = read(tmp_path / "train", tmp_path / "checked")
    assert (dataset.clean == -1).all()
    assert len(dataset.clean_labels) == 5

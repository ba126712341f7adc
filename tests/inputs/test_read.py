"""read: every format of tables, columns found by name, folders, images as bytes."""

import numpy as np
import pandas as pd
import pytest
from input_files import LABELS, encoded, picture, write

from labelfix.inputs import (
    read,
)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_table_format_reads_alike(frame, tmp_path, suffix):
    dataset = read(write(frame, tmp_path / f"data{suffix}"))
    assert list(dataset.ids) == list("abcdef")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.given.tolist() == [0, 1, 0, 1, 0, 1]
    assert dataset.given.dtype == np.int32
    assert (dataset.clean == -1).all()
    assert list(dataset.encoded_images()) == [tmp_path / path for path in frame["image"]]
    assert dataset.notices == (
        f"data{suffix}: columns taken: label 'label', image 'image', id 'id'",
        f"data{suffix}: labels from column 'label': 2 classes: cat 3, dog 3",
        f"data{suffix}: 2 classes with fewer than 5 rows: 'cat', 'dog'",
    )


def test_columns_that_were_named_are_not_announced(frame, tmp_path):
    data = write(frame, tmp_path / "data.csv")
    dataset = read(data, label_column="label", image_column="image", id_column="id")
    assert not any("taken" in line for line in dataset.notices)


def test_label_column_without_a_usual_name_is_the_single_remaining_one(frame, tmp_path):
    data = write(frame.rename(columns={"label": "animal"}), tmp_path / "data.csv")
    assert read(data).columns.label == "animal"


def test_an_index_that_pandas_wrote_is_no_label(frame, tmp_path):
    frame.rename(columns={"label": "animal"}).to_csv(tmp_path / "data.csv")
    assert read(tmp_path / "data.csv").columns.label == "animal"


def test_semicolons_and_byte_order_marks_are_understood(frame, tmp_path):
    data = tmp_path / "excel.csv"
    frame.to_csv(data, index=False, sep=";", encoding="utf-8-sig")
    dataset = read(data)
    assert dataset.columns.id == "id"
    assert "excel.csv: read with ';' between the values" in dataset.notices


def test_folder_of_class_folders(tmp_path):
    root = tmp_path / "photos"
    for name in ("cat/1.png", "cat/deep/2.png", "dog/1.png", "dog/2.png", "dog/.x.png", "new.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(len(name)).save(root / name)
    (root / "cat/more.JPG").write_bytes((root / "cat/1.png").read_bytes())
    (root / "README.txt").write_text("hello")
    dataset = read(root)
    assert list(dataset.ids) == [
        "cat/1.png",
        "cat/deep/2.png",
        "cat/more.JPG",
        "dog/1.png",
        "dog/2.png",
        "new.png",
    ]
    assert dataset.given.tolist() == [0, 0, 0, 1, 1, -1]
    assert dataset.root == root
    assert any("1 file left out" in line and "README.txt" in line for line in dataset.notices)
    assert any("1 row without a label" in line for line in dataset.notices)


@pytest.mark.parametrize("as_struct", [False, True])
def test_images_as_bytes_and_as_hugging_face_structs(tmp_path, as_struct):
    images = [encoded(tmp_path, value) for value in range(6)]
    column = [{"bytes": one, "path": f"{i}.png"} for i, one in enumerate(images)]
    frame = pd.DataFrame({"label": LABELS, "photo": column if as_struct else images})
    dataset = read(write(frame, tmp_path / "data.parquet"))
    assert dataset.image_column == "photo"
    assert list(dataset.encoded_images()) == images
    assert dataset.ids[2] == ("2.png" if as_struct else "2")


def test_guessed_images_that_are_not_there_do_not_matter_beside_features(tmp_path, features):
    frame = pd.DataFrame({"path": [f"gone/{row}" for row in range(6)], "label": LABELS})
    dataset = read(write(frame, tmp_path / "d.csv"), features=features)
    assert dataset.image_column is None
    assert any("leads to no images" in line for line in dataset.notices)
    assert dataset.ids[3] == "gone/3"

"""read, check: every format, every way to give images, features and checked rows."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from labelfix.errors import InputError
from labelfix.inputs import (
    content_keys,
    decode,
    read,
    read_labelled,
    read_truth,
)

LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


def picture(value: int, size=(4, 4)) -> Image.Image:
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(folder: Path, value: int, **save) -> bytes:
    path = folder / f"encoded{value}.png"
    picture(value).save(path, **save)
    content = path.read_bytes()
    path.unlink()
    return content


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


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
    notices = read(write(frame, tmp_path / "d.csv"), features=features).notices
    assert "d.csv: classes 'Cat', 'cat ' differ only by case or space" in notices
    assert "d.csv: 'none' counts as a class, not as a missing label" in notices


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
    assert read_truth(data, ids=np.array(["1", "2"], object), like=["cat", "dog"]).tolist() == [
        1,
        1,
    ]
    whole = write(frame.astype({"id": int}), tmp_path / "e.csv")
    other = read(whole, write(clean.astype({"id": float}), tmp_path / "f.parquet"), features=keyed)
    assert other.clean.tolist() == dataset.clean.tolist()


def test_a_column_called_like_an_id_gives_way_to_whole_numbers(tmp_path, features):
    frame = pd.DataFrame({"index": np.arange(6) / 2, "uid": range(6, 12), "label": LABELS})
    assert read(write(frame, tmp_path / "d.csv"), features=features).columns.id == "uid"


def test_guessed_images_that_are_not_there_do_not_matter_beside_features(tmp_path, features):
    frame = pd.DataFrame({"path": [f"gone/{row}" for row in range(6)], "label": LABELS})
    dataset = read(write(frame, tmp_path / "d.csv"), features=features)
    assert dataset.image_column is None
    assert any("leads to no images" in line for line in dataset.notices)
    assert dataset.ids[3] == "gone/3"


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


def test_other_columns_pass_untouched_and_in_order(tmp_path):
    images = [encoded(tmp_path, value) for value in range(600)]
    label = ["cat", "dog"] * 300
    table = pa.table(
        {
            "weight": pa.array(range(600), pa.int16()),
            "id": [f"r{row}" for row in range(600)],
            "image": images,
            "note": pa.array(["x", None] * 300).dictionary_encode(),
            "label": label,
        }
    )
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=100)
    dataset = read(tmp_path / "d.parquet")
    batches = list(dataset.other_columns())
    assert len(batches) > 1
    passed = pa.Table.from_batches(batches, dataset.other_schema)
    assert passed.schema.field("weight").type == pa.int16()
    assert passed.to_pylist() == table.select(["weight", "image", "note"]).to_pylist()


def test_text_that_numbers_would_lose_stays_text(tmp_path, features):
    frame = pd.DataFrame(
        {
            "label": LABELS,
            "zip": ["02139"] * 6,
            "phone": ["+4412.5"] * 6,
            "n": ["1", "", "3", "4", "5", "6"],
            "x": ["0.5"] * 6,
        }
    )
    dataset = read(write(frame, tmp_path / "d.csv"), label_column="label", features=features)
    passed = pa.Table.from_batches(dataset.other_columns())
    assert [str(field.type) for field in passed.schema] == ["string", "string", "int64", "double"]
    assert passed["zip"][0].as_py() == "02139"


def test_dates_in_json_lines_stay_text(tmp_path, features):
    frame = pd.DataFrame({"label": LABELS, "day": ["2026-01-02"] * 6})
    dataset = read(write(frame, tmp_path / "d.jsonl"), label_column="label", features=features)
    assert next(dataset.other_columns())["day"][0].as_py() == "2026-01-02"


def test_no_other_columns_yield_nothing(tmp_path, features):
    data = write(pd.DataFrame({"id": range(6), "label": LABELS}), tmp_path / "d.csv")
    dataset = read(data, features=features)
    assert list(dataset.other_columns()) == []
    assert dataset.other_schema.names == []


def decoded(frame, tmp_path, **options):
    return decode(read(write(frame, tmp_path / "d.csv")), tmp_path / "p.npy", **options)


def test_small_images_of_one_size_keep_their_pixels(frame, tmp_path):
    calls = []
    pixels = decoded(frame, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert pixels.images.shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(pixels.images[3], np.asarray(picture(3)))
    assert len(set(pixels.keys.tolist())) == 6
    assert calls[-1] == (12, 12)
    assert not pixels.images.flags.writeable


def test_images_of_several_sizes_become_squares_of_the_median_short_side(frame, tmp_path):
    picture(0, (30, 10)).save(tmp_path / "0.png")
    picture(1, (8, 20)).save(tmp_path / "1.png")
    for place in (2, 3, 4, 5):
        picture(place, (6, 6)).save(tmp_path / f"{place}.png")
    assert decoded(frame, tmp_path).images.shape == (6, 6, 6, 3)
    assert decoded(frame, tmp_path, size=(5, 7)).images.shape == (6, 5, 7, 3)


def test_large_images_are_reduced(frame, tmp_path):
    for place in range(6):
        Image.new("RGB", (300, 260), (place, 0, 0)).save(tmp_path / f"{place}.png")
    pixels = decoded(frame, tmp_path)
    assert pixels.images.shape == (6, 224, 224, 3)
    assert (pixels.images[5] == (5, 0, 0)).all()


def test_every_mode_becomes_rgb(frame, tmp_path):
    red = Image.new("RGB", (4, 4), "red")
    red.convert("P").save(tmp_path / "0.png")
    Image.fromarray(np.full((4, 4), 0x8040, np.uint16)).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "2.png")
    Image.new("L", (4, 4), 7).save(tmp_path / "3.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "4.png")
    red.convert("CMYK").save(tmp_path / "5.png", format="TIFF")
    images = decoded(frame, tmp_path).images[:, 0, 0].tolist()
    assert images[:5] == [[255, 0, 0], [128] * 3, [255] * 3, [7] * 3, [255] * 3]
    assert images[5][0] > 200
    assert max(images[5][1:]) < 60


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(frame, tmp_path, format):
    lying = Image.new("RGB", (8, 4), "white")
    lying.paste("black", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    for place in range(6):
        lying.save(tmp_path / f"{place}.png", format=format, exif=exif)
    images = decoded(frame, tmp_path, size=None if format != "PNG" else (8, 4)).images
    assert images.shape == (6, 8, 4, 3)
    assert images[0, 0].max() < 60
    assert images[0, -1].min() > 200


def test_keys_of_pixels_ignore_the_encoding(frame, tmp_path):
    before = decoded(frame, tmp_path).keys
    for place in range(6):
        picture(place).save(tmp_path / f"{place}.png", format="BMP")
    np.testing.assert_array_equal(decoded(frame, tmp_path).keys, before)


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


@pytest.mark.parametrize("kinds", [("f2", "f4"), ("f4", "f2"), ("f2", "f8")])
def test_one_row_in_two_types_has_one_key(kinds):
    values = np.random.default_rng(0).normal(size=(20, 7)).astype("f2")
    values[3, 2] = 60000.0
    ours, theirs = (values.astype(kind) for kind in kinds)
    assert np.array_equal(content_keys(theirs, like=ours), content_keys(ours))
    far = np.full((1, 7), 1e6, "f4")  # more than float16 holds: no row of ours, and no warning
    assert not np.isin(content_keys(far, like=values), content_keys(values)).any()

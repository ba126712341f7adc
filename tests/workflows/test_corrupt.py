"""Label noise: realised rates, maps, and the files that `corrupt` writes."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from labelfix import inputs
from labelfix.equations import corruption as eq
from labelfix.errors import InputError
from labelfix.workflows.corrupt import CorruptConfig, corrupt


def labels(rows=1000, classes=5, seed=0):
    return np.random.default_rng(seed).integers(0, classes, rows).astype(np.int32)


def random(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_symmetric_noise_has_exactly_the_stated_rate(rate):
    right = labels()
    noisy = eq.symmetric(right, rate, 5, random())
    assert (noisy != right).sum() == round(rate * 1000)
    assert noisy.dtype == np.int32
    assert noisy.min() >= 0
    assert noisy.max() < 5
    assert np.array_equal(noisy, eq.symmetric(right, rate, 5, random()))


def test_symmetric_noise_goes_everywhere_alike():
    right = np.zeros(40_000, dtype=np.int32)
    noisy = eq.symmetric(right, 1.0, 5, random())
    assert np.allclose(
        np.bincount(noisy, minlength=5) / 40_000, [0, 0.25, 0.25, 0.25, 0.25], atol=0.02
    )


def test_asymmetric_noise_follows_the_map_and_spares_the_others():
    right = labels()
    target = np.array([1, 1, 3, 2, 4], dtype=np.int32)
    noisy = eq.asymmetric(right, 0.4, target, random())
    flipped = noisy != right
    assert (noisy[flipped] == target[right[flipped]]).all()
    assert not flipped[(right == 1) | (right == 4)].any()
    mapped = np.isin(right, [0, 2, 3])
    assert flipped.sum() == round(0.4 * mapped.sum())


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.4, 0.9, 1.0])
def test_instance_noise_has_about_the_stated_rate_and_never_the_right_class(rate):
    right, values = labels(20_000), random(1).normal(size=(20_000, 6))
    noisy = eq.instance_dependent(right, rate, values, 5, random())
    assert (noisy != right).mean() == pytest.approx(rate, abs=0.02)
    everywhere = eq.instance_dependent(right, 1.0, values, 5, random())
    assert (everywhere != right).all()


def test_instance_noise_depends_on_the_row():
    """Like rows of a class are mistaken for the same class."""
    right = np.zeros(2000, dtype=np.int32)
    values = np.repeat(random(2).normal(size=(2, 8)) * 20, 1000, axis=0)
    noisy = eq.instance_dependent(right, 1.0, values, 5, random(3))
    shares = [np.bincount(part, minlength=5) / 1000 for part in (noisy[:1000], noisy[1000:])]
    assert np.abs(shares[0] - shares[1]).sum() > 0.3


def test_confusable_classes_are_the_most_frequent_mistakes():
    confusion = np.array([[0.6, 0.1, 0.3], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7]])
    assert eq.confusable_classes(confusion).tolist() == [2, 0, 1]


# --- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_new_table_holds_noise_truth_and_everything_else(feature_files, suffix):
    files = feature_files(noise=0.0, missing=20)
    out = files.folder / f"noisy{suffix}"
    done = corrupt(
        inputs.read(files.data, features=files.features),
        out,
        CorruptConfig(noise="symmetric", rate=0.25),
    )
    assert done.rows == 180
    assert done.flipped == 45
    assert done.realised_rate == 0.25
    table = pd.read_csv(out) if suffix == ".csv" else pq.read_table(out).to_pandas()
    assert list(table.columns) == ["id", "label", "true_label", "note"]
    before = pd.read_csv(files.data)
    for column in ("id", "note"):
        assert table[column].tolist() == before[column].tolist()
    assert table["true_label"].fillna("").tolist() == before["label"].fillna("").tolist()
    labelled = before["label"].notna()
    assert (table["label"] != table["true_label"])[labelled].sum() == 45
    assert table["label"].isna()[~labelled].all()
    again = inputs.read(out, features=files.features, label_column="label")
    assert (again.given >= 0).sum() == 180
    assert not list(files.folder.glob(".*"))


def test_maps(feature_files):
    files = feature_files(noise=0.0)
    dataset = inputs.read(files.data, features=files.features)
    out = files.folder / "noisy.csv"

    def moves(text):
        return corrupt(dataset, out, CorruptConfig(noise="asymmetric", rate=1.0, map=text)).map

    assert moves("next") == {"ant": "bee", "bee": "cat", "cat": "ant"}
    assert moves("cat=ant, bee=cat") == {"cat": "ant", "bee": "cat"}
    table = pd.read_csv(out)
    assert set(table[table["true_label"] == "bee"]["label"]) == {"cat"}
    assert set(table[table["true_label"] == "ant"]["label"]) == {"ant"}
    measured = moves(None)
    assert set(measured) == {"ant", "bee", "cat"}
    assert all(before != after for before, after in measured.items())


def test_instance_noise_from_features_and_from_images(feature_files, image_files):
    files = feature_files(noise=0.0)
    config = CorruptConfig(noise="instance", rate=0.4, seed=1)
    done = corrupt(inputs.read(files.data, features=files.features), files.folder / "n.csv", config)
    assert done.realised_rate == pytest.approx(0.4, abs=0.12)
    folder = image_files()
    done = corrupt(inputs.read(folder / "right.csv"), folder / "noisy.csv", config)
    assert done.realised_rate == pytest.approx(0.4, abs=0.2)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("source", [".csv", ".parquet"])
def test_image_paths_follow_the_table(image_files, tmp_path, suffix, source):
    folder = image_files()
    if source == ".parquet":
        pd.read_csv(folder / "right.csv").to_parquet(folder / "right.parquet")
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    out = elsewhere / f"noisy{suffix}"
    config = CorruptConfig(noise="symmetric", rate=0.5)
    corrupt(inputs.read(folder / f"right{source}"), out, config)
    found = inputs.read(out)
    assert found.image_column == "image"
    for path in list(found.encoded_images())[:3]:
        with Image.open(path) as image:
            assert image.size == (8, 8)


def test_a_folder_of_classes_becomes_a_table(tmp_path):
    root = tmp_path / "photos"
    for number in range(20):
        place = root / ("ant" if number % 2 else "bee")
        place.mkdir(parents=True, exist_ok=True)
        pixels = random(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    out = tmp_path / "noisy.csv"
    done = corrupt(inputs.read(root), out, CorruptConfig(noise="symmetric", rate=0.5))
    assert done.flipped == 10
    found = inputs.read(out, label_column="label")
    assert len(list(found.encoded_images())) == 20
    assert all(path.exists() for path in found.encoded_images())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "white", "rate": 0.1}, "--noise is 'white'"),
        ({"noise": "symmetric", "rate": 1.5}, "--rate is 1.5"),
        ({"noise": "symmetric", "rate": float("nan")}, "--rate is nan"),
        ({"noise": "symmetric", "rate": 0.1, "map": "next"}, "--map does not go with symmetric"),
        ({"noise": "symmetric", "rate": 0.1, "seed": -1}, "--seed is -1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        CorruptConfig(**settings)


def test_bad_destinations_and_maps(feature_files):
    files = feature_files(noise=0.0)
    dataset = inputs.read(files.data, features=files.features)
    symmetric = CorruptConfig(noise="symmetric", rate=0.1)
    for out, message in [
        (files.folder / "noisy.xlsx", "is no .csv or .parquet file"),
        (files.data, "is DATA itself"),
        (files.folder / "missing" / "noisy.csv", "lies in a folder that does not exist"),
    ]:
        with pytest.raises(InputError, match=message):
            corrupt(dataset, out, symmetric)
    for text in ("cat=cow", "cat", "cow=cat"):
        config = CorruptConfig(noise="asymmetric", rate=0.1, map=text)
        with pytest.raises(InputError, match=f"--map '{text}' names no two classes"):
            corrupt(dataset, files.folder / "noisy.csv", config)


def test_a_class_of_one_row_has_no_measured_map(feature_files):
    files = feature_files(noise=0.0)
    table = pd.read_csv(files.data)
    table.loc[0, "label"] = "dodo"
    table.to_csv(files.data, index=False)
    dataset = inputs.read(files.data, features=files.features)
    with pytest.raises(InputError, match="class 'dodo' has one row"):
        corrupt(dataset, files.folder / "n.csv", CorruptConfig(noise="asymmetric", rate=0.1))


def test_csv_cannot_hold_lists(tmp_path):
    rows = 12
    table = pd.DataFrame(
        {
            "label": ["a", "b"] * 6,
            "values": list(random().normal(size=(rows, 3)).astype(np.float32)),
        }
    )
    table.to_parquet(tmp_path / "data.parquet")
    dataset = inputs.read(tmp_path / "data.parquet", features="values")
    config = CorruptConfig(noise="symmetric", rate=0.5)
    with pytest.raises(InputError, match="column 'values': CSV cannot hold"):
        corrupt(dataset, tmp_path / "noisy.csv", config)
    corrupt(dataset, tmp_path / "noisy.parquet", config)
    assert (
        len(inputs.read(tmp_path / "noisy.parquet", features="values", label_column="label"))
        == rows
    )

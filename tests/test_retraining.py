"""retrain: given against purified labels, on features and images, and a labels.parquet alone."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from labelfix import contract, inputs, material, retraining, stages
from labelfix.errors import InputError
from labelfix.retraining import RetrainConfig
from labelfix.run import PurifyConfig


class Lines:
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def task(self, name):
        from labelfix.progress import SILENT

        return SILENT.task(name)


@pytest.fixture
def features_run(feature_files, blobs, tmp_path):
    """A purified run on features, and a test table from the same blobs."""
    files = feature_files(rows=240, noise=0.4, checked=60)
    frame, values = pd.read_csv(files.data), np.load(files.features)
    names = pd.read_csv(files.truth)
    names[200:].to_csv(files.folder / "test.csv", index=False)
    np.save(files.folder / "test.npy", values[200:])
    frame[:200].to_csv(files.data, index=False)
    np.save(files.features, values[:200])
    dataset = inputs.read(files.data, files.clean, features=files.features)
    stages.purify(dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp"))
    return files, tmp_path / "run"


@pytest.fixture
def images_run(image_files, tmp_path):
    folder = image_files()
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    config = PurifyConfig(pretrain="none", backbone="smallconv", device="cpu", method="dmlp")
    stages.purify(dataset, tmp_path / "run", config)
    return folder, tmp_path / "run"


def gather(run, tmp_path, **arguments):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return material.gather(run, scratch, **arguments)


def config(**settings):
    return RetrainConfig(**{"epochs": 10, "device": "cpu"} | settings)


def test_compare_on_features(features_run, tmp_path):
    files, run = features_run
    found = gather(
        run, tmp_path, test=files.folder / "test.csv", test_features=files.folder / "test.npy"
    )
    metrics = retraining.compare(found, tmp_path / "out", config())
    given, purified = metrics["given"], metrics["purified"]
    assert purified["test_accuracy"] == metrics["test_accuracy"] > 0.8
    assert given["uses"] == ["given_label"]
    assert purified["uses"] == ["soft_label", "weight"]
    assert given["trained_rows"] == 200
    low, high = purified["test_accuracy_interval"]
    assert 0 <= low < purified["test_accuracy"] <= high <= 1
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == json.loads(
        json.dumps(metrics)
    )
    for name in ("given", "purified"):
        text = json.loads((tmp_path / "out" / name / "metrics.json").read_text())
        assert text["labels"] == name
        assert text["method"] == "ce"
        assert text["test_accuracy"] == metrics[name]["test_accuracy"]


def test_files_of_one_training(features_run, tmp_path):
    files, run = features_run
    found = gather(
        run, tmp_path, test=files.folder / "test.csv", test_features=files.folder / "test.npy"
    )
    metrics = retraining.run(found, tmp_path / "out", config(seed=3))
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    frame = table.to_pandas()
    assert frame["id"].tolist() == pd.read_csv(files.folder / "test.csv")["id"].tolist()
    assert (frame["label"] == frame["predicted"]).mean() == metrics["test_accuracy"]
    probabilities = np.stack(list(frame["probabilities"]))
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    names = np.array(["ant", "bee", "cat"])
    assert names[probabilities.argmax(1)].tolist() == frame["predicted"].tolist()
    assert json.loads(table.schema.metadata[b"labelfix"])["rows"] == "test"
    with safe_open(tmp_path / "out" / "weights.safetensors", "np") as weights:
        about = json.loads(weights.metadata()["labelfix"])
        assert "layers.0.weight" in weights.keys()  # noqa: SIM118  (not a dict)
    assert about["class_names"] == ["ant", "bee", "cat"]
    assert about["seed"] == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "metrics.json", "predictions.parquet", "weights.safetensors",
    ]  # fmt: skip
    again = retraining.run(found, tmp_path / "again", config(seed=3))
    assert again["test_accuracy"] == metrics["test_accuracy"]
    assert (tmp_path / "again" / "predictions.parquet").read_bytes() == (
        tmp_path / "out" / "predictions.parquet"
    ).read_bytes()


def test_without_a_test_table_the_training_rows_are_predicted(features_run, tmp_path):
    _, run = features_run
    metrics = retraining.run(gather(run, tmp_path), tmp_path / "out", config(epochs=1))
    assert metrics["test_accuracy"] is None
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert len(table) == 200
    assert json.loads(table.schema.metadata[b"labelfix"])["rows"] == "training"
    with pytest.raises(InputError, match="--compare has nothing to compare on; pass --test"):
        retraining.compare(gather(run, tmp_path), tmp_path / "out", config())


def test_rows_of_the_test_table_are_left_out(features_run, tmp_path):
    files, run = features_run
    pd.read_csv(files.truth)[:30].to_csv(files.folder / "overlap.csv", index=False)
    np.save(files.folder / "overlap.npy", np.load(files.features)[:30])
    found = gather(
        run, tmp_path, test=files.folder / "overlap.csv", test_features=files.folder / "overlap.npy"
    )
    assert found.in_test.tolist() == [True] * 30 + [False] * 170
    listener = Lines()
    metrics = retraining.run(
        found, tmp_path / "out", config(labels="given", epochs=1), report=listener
    )
    assert listener.lines == ["30 rows stand in the test table too and are left out of training"]
    assert metrics["left_out_as_test_rows"] == 30
    assert metrics["trained_rows"] == 170


def test_a_labels_file_alone_finds_its_features(features_run, tmp_path):
    files, run = features_run
    alone = tmp_path / "moved" / "corrected.parquet"
    alone.parent.mkdir()
    shutil.copy(run / "labels.parquet", alone)
    arguments = {"test": files.folder / "test.csv", "test_features": files.folder / "test.npy"}
    moved = retraining.run(gather(alone, tmp_path, **arguments), tmp_path / "a", config())
    first = retraining.run(gather(run, tmp_path, **arguments), tmp_path / "b", config())
    assert moved["test_accuracy"] == first["test_accuracy"]
    files.features.unlink()
    with pytest.raises(InputError):
        gather(alone, tmp_path)


def test_errors_on_features(features_run, tmp_path):
    files, run = features_run
    test = files.folder / "test.csv"
    with pytest.raises(InputError, match="pass them with --test-features FILE"):
        gather(run, tmp_path, test=test)
    np.save(files.folder / "wide.npy", np.ones((40, 9), dtype=np.float32))
    with pytest.raises(InputError, match="has features of width 9, the dataset's are 8 wide"):
        gather(run, tmp_path, test=test, test_features=files.folder / "wide.npy")
    with pytest.raises(InputError, match="there is no such file"):
        gather(tmp_path / "nothing", tmp_path)
    frame = pd.read_csv(test)
    frame.loc[0, "label"] = "cow"
    frame.to_csv(files.folder / "cow.csv", index=False)
    with pytest.raises(InputError, match="'cow'"):
        gather(
            run, tmp_path, test=files.folder / "cow.csv", test_features=files.folder / "test.npy"
        )


def test_targets_by_hand():
    labels = contract.Labels(
        ids=np.array(["a", "b", "c"], dtype=object),
        class_names=("x", "y"),
        given=np.array([0, -1, 1], dtype=np.int32),
        label=np.array([1, 0, 1], dtype=np.int32),
        decision=np.array([1, 3, 0], dtype=np.int8),
        soft_label=np.array([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5]], dtype=np.float32),
        weight=np.array([0.6, 0.8, 0.0], dtype=np.float32),
        review_rank=np.array([1, 2, 3], dtype=np.int32),
    )
    none = np.zeros(3, dtype=bool)
    purified = retraining.targets_of(labels, "purified", none)
    assert np.array_equal(purified.soft_labels, labels.soft_label)
    assert purified.weights.tolist() == labels.weight.tolist()
    given = retraining.targets_of(labels, "given", none)
    assert given.weights.tolist() == [1, 0, 1]
    assert given.soft_labels[[0, 2]].tolist() == [[1, 0], [0, 1]]
    hidden = retraining.targets_of(labels, "purified", np.array([True, False, False]))
    assert hidden.weights.tolist() == pytest.approx([0, 0.8, 0])
    assert labels.weight[0] == np.float32(0.6)
    with pytest.raises(InputError, match="no row is left to train on"):
        retraining.targets_of(labels, "given", ~none)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "--method is 'magic'; use one of ce"),
        ({"labels": "true"}, "--labels is 'true'"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"devices": 0}, "--devices is 0"),
        ({"num_nodes": 0}, "--num-nodes is 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        RetrainConfig(**settings)


# --- images ---------------------------------------------------------------------------------


def test_images(images_run, tmp_path):
    folder, run = images_run
    found = gather(run, tmp_path, test=folder / "test.csv")
    assert found.pixels == 8
    assert found.backbone == "smallconv"
    metrics = retraining.compare(found, tmp_path / "out", config(epochs=2))
    assert metrics["purified"]["test_rows"] == 12
    assert 0 <= metrics["given"]["test_accuracy"] <= 1
    with safe_open(tmp_path / "out" / "purified" / "weights.safetensors", "np") as weights:
        assert any(name.startswith("backbone.") for name in weights.keys())  # noqa: SIM118
        assert json.loads(weights.metadata()["labelfix"])["backbone"] == "smallconv"


def test_test_images_of_another_size_are_resized(images_run, tmp_path):
    from PIL import Image

    folder, run = images_run
    for path in pd.read_csv(folder / "test.csv")["image"]:
        with Image.open(folder / path) as image:
            image.resize((13, 10)).save(folder / path)
    found = gather(run, tmp_path, test=folder / "test.csv")
    assert found.test.values.shape == (12, 8, 8, 3)


def test_images_that_training_and_test_share_are_left_out(images_run, tmp_path):
    folder, run = images_run
    found = gather(run, tmp_path, test=folder / "right.csv")
    with pytest.raises(InputError, match="no row is left to train on"):
        retraining.run(found, tmp_path / "out", config(epochs=1))


def test_a_labels_file_alone_finds_its_images(images_run, tmp_path):
    folder, run = images_run
    alone = tmp_path / "moved" / "labels.parquet"
    alone.parent.mkdir()
    shutil.copy(run / "labels.parquet", alone)
    found = gather(alone, tmp_path, test=folder / "test.csv")
    kept = gather(run, tmp_path, test=folder / "test.csv")
    assert np.array_equal(found.train.values, kept.train.values)
    assert np.array_equal(found.train.keys, kept.train.keys)
    assert found.train.ids.tolist() == kept.train.ids.tolist()


def test_a_folder_that_once_held_images_is_no_trap(images_run, features_run, tmp_path):
    """Purified again from features, the decoded images of the first run no longer count."""
    files, _ = features_run
    _, run = images_run
    dataset = inputs.read(files.data, files.clean, features=files.features)
    stages.purify(dataset, run, PurifyConfig(device="cpu", method="dmlp"))
    found = gather(run, tmp_path)
    assert found.pixels is None
    assert found.train.values.shape == (200, 8)

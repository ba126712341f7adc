"""A corrected dataset finds the content of its rows, and knows when it is another's."""

import shutil

import numpy as np
import pandas as pd
import pytest
from retrain_runs import config, opened, rewrite_labels

from labelfix import inputs
from labelfix.errors import InputError
from labelfix.workflows import compare, purify, retrain
from labelfix.workflows.settings import PurifyConfig


def test_features_that_are_no_longer_those_of_the_rows_are_refused(features_run, tmp_path):
    files, run = features_run
    values = np.load(files.features)
    np.save(files.features, values[::-1])
    with pytest.raises(InputError, match=r"features\.npy: does not hold the rows of labels.parq"):
        opened(run, tmp_path)
    assert opened(run, tmp_path, features=str(files.features)).train.values[0, 0] == values[-1, 0]
    rewrite_labels(run, lambda table: table, metadata=False)  # it tells no rows: as before
    assert len(opened(run, tmp_path, features=str(files.features)).train.ids) == 200


def test_labels_in_another_order_than_their_features_are_refused(features_run, tmp_path):
    _, run = features_run
    rewrite_labels(run, lambda table: table.sort_by("review_rank"))
    with pytest.raises(InputError, match="in their order; run labelfix purify again, or"):
        opened(run, tmp_path)


def test_pixels_of_another_run_are_refused(images_run, tmp_path):
    _, run = images_run
    keys = run / "stages" / "images" / "keys.npy"
    np.save(keys, np.load(keys)[::-1])
    with pytest.raises(InputError, match=r"pixels\.npy: does not hold the rows of labels"):
        opened(run, tmp_path)


def test_rows_found_by_id_may_be_fewer(features_run, tmp_path):
    files, run = features_run
    frame = pd.DataFrame(np.load(files.features)).add_prefix("f")
    frame.insert(0, "id", pd.read_csv(files.data)["id"])
    frame.to_parquet(files.folder / "keyed.parquet")
    dataset = inputs.read(files.data, files.clean, features=files.folder / "keyed.parquet")
    purify.purify_dataset(dataset, run, PurifyConfig(device="cpu", method="dmlp"))
    rewrite_labels(run, lambda table: table[:150].drop_columns("review_rank"))
    assert len(opened(run, tmp_path).train.ids) == 150


def test_a_labels_file_alone_finds_its_features(features_run, tmp_path):
    files, run = features_run
    alone = tmp_path / "moved" / "corrected.parquet"
    alone.parent.mkdir()
    shutil.copy(run / "labels.parquet", alone)
    arguments = {"test": files.folder / "test.csv", "test_features": files.folder / "test.npy"}
    moved = retrain.train_on(opened(alone, tmp_path, **arguments), tmp_path / "a", config())
    first = retrain.train_on(opened(run, tmp_path, **arguments), tmp_path / "b", config())
    assert moved.test == first.test
    moved_away = files.features.rename(tmp_path / "moved" / "other.npy")
    for place in (alone, run):
        with pytest.raises(InputError, match=r"'features\.npy', are not near it; .* --features"):
            opened(place, tmp_path)
        assert len(opened(place, tmp_path, features=str(moved_away)).train.ids) == 200


def by_hand(files, path, **columns):
    """A labels.parquet as someone writes it with pandas, with its features as a column."""
    frame = pd.read_csv(files.truth)[:200].astype(str)
    frame["vector"] = list(np.load(files.features))
    frame.assign(**columns).to_parquet(path)
    return path


def test_a_file_written_by_hand_with_the_required_columns_alone(features_run, tmp_path):
    files, _ = features_run
    file = by_hand(files, tmp_path / "mine.parquet")
    test = {"test": files.folder / "test.csv", "test_features": files.folder / "test.npy"}
    found = opened(file, tmp_path, features="vector", **test)
    assert found.labels.weight.tolist() == pytest.approx([1] * 200)
    metrics = retrain.train_on(found, tmp_path / "out", config())
    assert metrics.test.value > 0.9
    lacks = r"mine\.parquet, column 'given_label': no row has a given label; add this column"
    with pytest.raises(InputError, match=lacks):
        retrain.train_on(found, tmp_path / "out", config(labels="given"))
    with pytest.raises(InputError, match=lacks):
        compare.compare(found, tmp_path / "out", config())
    with pytest.raises(InputError, match=r"test\.npy: --test-features comes without --test;"):
        opened(file, tmp_path, features="vector", test_features=test["test_features"])
    with pytest.raises(InputError, match="has no image column and no features were given"):
        opened(file, tmp_path, **test)
    np.save(tmp_path / "mine.npy", np.load(files.features))
    again = opened(file, tmp_path, features=str(tmp_path / "mine.npy"), **test)
    assert np.array_equal(again.train.values, found.train.values)


def test_test_images_of_another_size_are_resized(images_run, tmp_path):
    from PIL import Image

    folder, run = images_run
    for path in pd.read_csv(folder / "test.csv")["image"]:
        with Image.open(folder / path) as image:
            image.resize((13, 10)).save(folder / path)
    found = opened(run, tmp_path, test=folder / "test.csv")
    assert found.test.values.shape == (12, 8, 8, 3)


def test_images_that_training_and_test_share_are_left_out(images_run, tmp_path):
    folder, run = images_run
    found = opened(run, tmp_path, test=folder / "right.csv")
    with pytest.raises(InputError, match="no row is left to train on"):
        retrain.train_on(found, tmp_path / "out", config(epochs=1))


def test_a_labels_file_alone_finds_its_images(images_run, tmp_path):
    folder, run = images_run
    alone = tmp_path / "moved" / "labels.parquet"
    alone.parent.mkdir()
    shutil.copy(run / "labels.parquet", alone)
    found = opened(alone, tmp_path, test=folder / "test.csv")
    kept = opened(run, tmp_path, test=folder / "test.csv")
    assert np.array_equal(found.train.values, kept.train.values)
    assert np.array_equal(found.train.keys, kept.train.keys)
    assert found.train.ids.tolist() == kept.train.ids.tolist()
    far = folder.rename(tmp_path / "files") / "data.csv"  # beside it no longer lies data.csv
    moved = far.rename(far.with_name("renamed.csv"))
    with pytest.raises(InputError, match=r"its images, 'data\.csv', is not near .* --data DATA"):
        opened(alone, tmp_path)
    again = opened(alone, tmp_path, data=moved)
    assert np.array_equal(again.train.keys, kept.train.keys)
    with pytest.raises(InputError, match=r"nothing\.csv: does not exist; give --data"):
        opened(alone, tmp_path, data=tmp_path / "nothing.csv")
    shutil.copytree(far.parent / "images", alone.parent / "images")
    assert np.array_equal(opened(alone, tmp_path).train.keys, kept.train.keys)


def test_a_folder_that_once_held_images_is_no_trap(images_run, features_run, tmp_path):
    """Purified again from features, the decoded images of the first run no longer count."""
    files, _ = features_run
    _, run = images_run
    dataset = inputs.read(files.data, files.clean, features=files.features)
    purify.purify_dataset(dataset, run, PurifyConfig(device="cpu", method="dmlp"))
    found = opened(run, tmp_path)
    assert found.pixels is None
    assert found.train.values.shape == (200, 8)

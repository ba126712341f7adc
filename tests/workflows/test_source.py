"""The same data gives the same bytes anywhere; what a run was made from is found again."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.nets import backbones
from labelfix.nets.weight_files import save_weights
from labelfix.workflows import purify
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.settings import PurifyConfig
from labelfix.workflows.source import Source, candidates

FEATURES = PurifyConfig(device="cpu", method="dmlp")


def run_features(folder, out):
    dataset = purify.read_dataset(
        folder / "data.csv", folder / "clean.csv", features=folder / "features.npy"
    )
    purify.purify_dataset(dataset, out, FEATURES)
    return out


def run_images(folder, out, **settings):
    dataset = purify.read_dataset(folder / "data.csv", folder / "clean.csv")
    config = {"backbone": "smallconv", "device": "cpu", "method": "dmlp", "epochs": 1} | settings
    purify.purify_dataset(dataset, out, PurifyConfig(**config))
    return out


def opened(run, tmp_path, **arguments):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return CorrectedDataset.open(run, scratch, **arguments)


def require_no_place(run, tmp_path):
    """Neither output names a folder of this machine."""
    summary = json.loads((run / "summary.json").read_text())
    metadata = pq.read_schema(run / "labels.parquet").metadata[b"labelfix"].decode()
    for text in (json.dumps(summary), metadata):
        assert not any(part in text for part in (str(tmp_path), tmp_path.name, "secret"))


def test_features_in_two_folders_give_the_same_bytes(feature_files, tmp_path):
    files = feature_files()
    other = shutil.copytree(files.folder, tmp_path / "elsewhere" / "secret")
    first = run_features(files.folder, tmp_path / "run")
    for second in (other / "run", tmp_path / "far" / "away" / "run"):
        run_features(other, second)
        assert (second / "labels.parquet").read_bytes() == (first / "labels.parquet").read_bytes()
        require_no_place(second, tmp_path)


@pytest.mark.parametrize("start", ["simclr", "weights"])
def test_images_in_two_folders_give_the_same_bytes(image_files, tmp_path, start):
    folder = image_files()
    if start == "weights":
        net = backbones.build("smallconv", 8, seed=3).net
        save_weights(net, folder / "mine.safetensors")
    other = shutil.copytree(folder, tmp_path / "elsewhere" / "secret")
    runs = []
    for place, out in ((folder, tmp_path / "run"), (other, other / "run")):
        weights = str(place / "mine.safetensors") if start == "weights" else "random"
        runs.append(run_images(place, out, weights=weights))
    first, second = ((run / "labels.parquet").read_bytes() for run in runs)
    assert first == second
    require_no_place(runs[1], tmp_path)
    if start == "weights":
        assert contract.read_labels(runs[0]).metadata["settings"]["weights"] == "mine.safetensors"
        assert opened(runs[1], tmp_path).weights == str(other / "mine.safetensors")
        (other / "mine.safetensors").unlink()
        found = opened(runs[1], tmp_path)
        assert found.weights == "random"
        assert "the file 'mine.safetensors'" in found.notices[0]


def test_data_and_run_that_move_together_stay_together(feature_files, tmp_path):
    files = feature_files()
    away = tmp_path / "project" / "data" / "raw"
    shutil.copytree(files.folder, away)
    shutil.rmtree(files.folder)
    run_features(away, tmp_path / "project" / "runs" / "first")
    moved = (tmp_path / "project").rename(tmp_path / "moved")
    found = opened(moved / "runs" / "first", tmp_path)
    assert np.array_equal(found.train.values, np.load(moved / "data" / "raw" / "features.npy"))
    shutil.rmtree(moved / "runs" / "first" / "stages")  # deleted to save space: too far to see
    with pytest.raises(InputError, match=r"'features\.npy', are not near it; say where they are"):
        opened(moved / "runs" / "first", tmp_path)


def test_of_two_files_by_the_same_name_none_is_guessed(feature_files, tmp_path):
    files = feature_files()
    run = run_features(files.folder, tmp_path / "run")
    alone = tmp_path / "alone.parquet"
    shutil.copy(run / "labels.parquet", alone)
    assert candidates(alone, "features", "features.npy") == [files.features]
    shutil.copytree(files.folder, tmp_path / "others")
    with pytest.raises(InputError, match=r"there are several 'features\.npy' .* --features FILE"):
        opened(alone, tmp_path)
    shutil.copy(files.features, tmp_path / "features.npy")  # beside it: the nearest
    assert len(opened(alone, tmp_path).train.ids) == 200


def test_columns_are_named_as_the_output_names_them(feature_files, tmp_path):
    files = feature_files()
    frame = pd.read_csv(files.data)
    frame["clid"] = list(np.load(files.features))
    frame.to_parquet(tmp_path / "data.parquet")
    dataset = inputs.read(tmp_path / "data.parquet", files.clean, features="clid")
    assert Source.of_dataset(dataset) == Source(
        data="data.parquet", features_column="original_clid", label_column="label", id_column="id"
    )
    purify.purify_dataset(dataset, tmp_path / "run", FEATURES)
    found = opened(tmp_path / "run", tmp_path)
    assert np.array_equal(found.train.values, np.load(files.features))


def test_broken_notes_of_places_are_as_none(feature_files, tmp_path):
    files = feature_files()
    run = run_features(files.folder, tmp_path / "run")
    for text in ("{", "[]", '{"features": 3}', '{"features": "../gone.npy"}'):
        (run / "stages" / "source.json").write_text(text)
        assert candidates(run / "labels.parquet", "features", "features.npy") == [files.features]

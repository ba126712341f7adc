"""purify on images: pixels, copies under another id, single stages."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from purify_runs import Listener, purify_images

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows import embed
from labelfix.workflows.settings import PurifyConfig


def test_images_in_corrected_table_out(image_files, tmp_path):
    folder, listener = image_files(), Listener()
    summary = purify_images(folder, tmp_path / "run", listener)
    found = contract.read_labels(tmp_path / "run")
    frame = pd.read_csv(folder / "data.csv")
    assert found.ids.tolist() == frame["image"].tolist()
    assert (
        pq.read_table(tmp_path / "run" / "labels.parquet")["image"].to_pylist()
        == frame["image"].tolist()
    )
    assert [task.split()[0] for task in listener.tasks] == [
        "read", "pretrain", "embed", "neighbours", "purify", "score",
    ]  # fmt: skip
    assert {"images", "pretrain", "embed", "purify"} <= summary["seconds"].keys()
    places = tmp_path / "run" / "stages"
    assert np.load(places / "embed" / "features.npy").dtype == np.float16
    assert (places / "pretrain" / "weights.safetensors").exists()
    assert not (places / "pretrain" / "checkpoint.pt").exists()
    again = Listener()
    before = (tmp_path / "run" / "labels.parquet").read_bytes()
    purify_images(folder, tmp_path / "run", again)
    assert again.tasks == []
    assert [line.split(":")[0] for line in again.lines if "taken from the last run" in line] == [
        "images", "pretrain", "embed", "neighbours", "purify", "score",
    ]  # fmt: skip
    assert (tmp_path / "run" / "labels.parquet").read_bytes() == before
    purify_images(folder, tmp_path / "other")
    assert (tmp_path / "other" / "labels.parquet").read_bytes() == before


def test_a_changed_image_is_read_again(image_files, tmp_path):
    folder = image_files()
    settings = {"pretrain": "none"}
    purify_images(folder, tmp_path / "run", **settings)
    Image.fromarray(np.full((8, 8, 3), 99, dtype=np.uint8)).save(folder / "images" / "059.png")
    listener = Listener()
    purify_images(folder, tmp_path / "run", listener, **settings)
    assert listener.tasks[:3] == ["read images", "embed (smallconv)", "neighbours"]


def test_the_same_image_under_another_id_is_audited(image_files, tmp_path):
    folder = image_files()
    clean = pd.read_csv(folder / "clean.csv")
    for path in clean["image"]:
        (folder / path.replace("images/", "images/copy-")).write_bytes((folder / path).read_bytes())
    clean["image"] = clean["image"].str.replace("images/", "images/copy-")
    clean.to_csv(folder / "copies.csv", index=False)
    listener = Listener()
    summary = purify_images(folder, tmp_path / "run", listener, clean="copies.csv", pretrain="none")
    assert summary["checked_rows"]["audited"] == summary["checked_rows"]["all"] == 18
    assert any("under another id" in line for line in listener.lines)
    assert any("under another id" in line for line in summary["notices"])
    found = contract.read_labels(tmp_path / "run")
    assert len(found) == 60
    assert (np.array(contract.DECISIONS)[found.decision] == "checked").sum() == 18
    truth = pd.read_csv(folder / "right.csv")["label"].to_numpy()
    assert (np.array(found.class_names)[found.label] == truth)[:18].all()


def test_single_stages_are_those_of_purify(image_files, tmp_path):
    folder = image_files()
    config = PurifyConfig(epochs=1, backbone="smallconv", device="cpu")
    dataset = inputs.read(folder / "data.csv")
    weights = embed.pretrain_only(dataset, tmp_path / "run", config)
    assert weights.endswith("weights.safetensors")
    listener = Listener()
    features = embed.embed_only(dataset, tmp_path / "run", config, report=listener)
    assert len(np.load(features)) == 60
    assert [task.split()[0] for task in listener.tasks] == ["embed"]


def test_single_stages_need_images(feature_files, tmp_path):
    files = feature_files()
    dataset = inputs.read(files.data, features=files.features)
    with pytest.raises(InputError, match="has no images to learn from"):
        embed.embed_only(dataset, tmp_path / "run", PurifyConfig())

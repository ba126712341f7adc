"""purify through files: features and images, reruns, determinism, the summary."""

import json
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows import embed, purify
from labelfix.workflows.settings import PurifyConfig


class Listener:
    """A reporter that remembers."""

    def __init__(self):
        self.lines, self.tasks = [], []

    def say(self, line):
        self.lines.append(line)

    @contextmanager
    def task(self, name):
        self.tasks.append(name)
        yield lambda done, total, remark: None


def purify_features(files, out, listener=None, fresh=False, **settings):
    dataset = inputs.read(files.data, files.clean, features=files.features)
    config = PurifyConfig(**{"device": "cpu", "method": "dmlp"} | settings)
    return purify.purify_dataset(
        dataset, out, config, fresh=fresh, report=listener or Listener()
    ).to_dict()


def purify_images(folder, out, listener=None, data="data.csv", clean="clean.csv", **settings):
    dataset = inputs.read(folder / data, folder / clean)
    config = PurifyConfig(
        **{"epochs": 1, "backbone": "smallconv", "device": "cpu", "method": "dmlp"} | settings
    )
    return purify.purify_dataset(dataset, out, config, report=listener or Listener()).to_dict()


@pytest.fixture
def purified(feature_files, tmp_path):
    files = feature_files(missing=20)
    listener = Listener()
    summary = purify_features(files, tmp_path / "run", listener)
    return files, tmp_path / "run", summary, listener


def test_features_in_corrected_table_out(purified):
    files, out, _, listener = purified
    frame, found = pd.read_csv(files.data), contract.read_labels(out)
    assert found.ids.tolist() == frame["id"].tolist()
    names = np.array([*found.class_names, None], dtype=object)
    assert (
        names[found.given].tolist()
        == frame["label"].astype(object).where(frame["label"].notna(), None).tolist()
    )
    assert pq.read_table(out / "labels.parquet")["note"].to_pylist() == frame["note"].tolist()
    truth = pd.read_csv(files.truth)["label"].to_numpy()
    right = names[found.label] == truth
    had = found.given >= 0
    assert right[had].mean() > (names[found.given] == truth)[had].mean() + 0.1
    assert right[~had].mean() > 0.7
    clean = frame["id"].isin(pd.read_csv(files.clean)["id"]).to_numpy()
    decisions = np.array(contract.DECISIONS)[found.decision]
    assert ((decisions == "checked") == clean).all()
    assert right[clean].all()
    assert np.array_equal(np.isnan(found.label_reliability), found.given < 0)
    wrong = had & (found.given != np.searchsorted(found.class_names, truth))
    assert found.label_reliability[wrong].mean() < found.label_reliability[had & ~wrong].mean()
    assert found.clid[wrong].mean() > found.clid[had & ~wrong].mean()
    assert ((found.pseudo_reliability >= 0) & (found.pseudo_reliability <= 1)).all()
    assert {task.split()[0] for task in listener.tasks} == {"neighbours", "purify", "score"}


def test_weights_follow_the_documented_formula(purified):
    found = contract.read_labels(purified[1])
    chosen = found.soft_label[np.arange(len(found)), found.label]
    assert np.allclose(found.weight, np.clip((chosen - 1 / 3) / (1 - 1 / 3), 0, 1), atol=1e-6)


def test_summary(purified):
    _, out, summary, _ = purified
    text = json.loads((out / "summary.json").read_text())
    assert text.keys() == summary.keys()
    assert text["rows"] == 200
    assert text["rows_without_label"] == 20
    assert text["class_names"] == ["ant", "bee", "cat"]
    assert text["checked_rows"]["all"] == 45
    assert sum(text["decisions"].values()) == 200
    assert list(text["decisions"]) == list(contract.DECISIONS)
    assert text["decisions"]["checked"] == 45
    assert np.allclose(np.sum(text["transition_matrix"], 1), 1)
    assert 0.15 < text["noise_rate"] < 0.45
    assert text["source"] == {
        "data": "data.csv",
        "image_column": None,
        "features": "features.npy",
        "features_column": None,
        "label_column": "label",
        "id_column": "id",
    }
    assert {"purify", "write", "total"} <= text["seconds"].keys()
    assert text["versions"]["labelfix"]
    evidence = text["evidence"]
    assert evidence["audited"] is True
    assert evidence["rows"] == text["checked_rows"]["audited"]
    after = evidence["label_accuracy_after"]
    assert 0 <= after["low"] <= after["value"] <= after["high"] <= 1
    assert after["value"] >= evidence["label_accuracy_before"]["value"]


def test_file_metadata_is_the_summarys_without_times(purified):
    _, out, summary, _ = purified
    about = json.loads(pq.read_schema(out / "labels.parquet").metadata[b"labelfix"])
    assert about["evidence"] == "audited"
    for name in ("noise_rate", "source", "settings", "fingerprints", "checked_rows"):
        assert about[name] == json.loads(json.dumps(summary[name])), name
    assert "seconds" not in about


def test_a_rerun_takes_what_is_done(purified):
    files, out, _, _ = purified
    before, listener = (out / "labels.parquet").read_bytes(), Listener()
    purify_features(files, out, listener)
    assert listener.tasks == []
    assert listener.lines == [
        f"{stage}: nothing changed, taken from the last run"
        for stage in ("neighbours", "purify", "score")
    ]
    assert (out / "labels.parquet").read_bytes() == before


@pytest.mark.parametrize("what", ["fresh", "seed", "label", "checked", "features"])
def test_a_rerun_repeats_what_changed(purified, what):
    files, out, _, _ = purified
    settings = {}
    if what in ("fresh", "seed"):
        settings[what] = 1
    elif what == "features":
        np.save(files.features, np.load(files.features) * 2)
    else:
        table = files.data if what == "label" else files.clean
        frame = pd.read_csv(table)
        frame.loc[0, "label"] = "cat" if frame.loc[0, "label"] != "cat" else "bee"
        frame.to_csv(table, index=False)
    listener = Listener()
    purify_features(files, out, listener, **settings)
    graph = {"neighbours"} if what in ("fresh", "features") else set()
    assert {task.split()[0] for task in listener.tasks} == {"purify", "score"} | graph


def test_a_setting_of_the_decision_alone_does_not_repeat_the_learning(purified):
    files, out, summary, _ = purified
    listener = Listener()
    strict = purify_features(files, out, listener, min_precision=0.999)
    assert listener.tasks == []
    assert strict["decisions"]["correct"] < summary["decisions"]["correct"]


def test_the_same_seed_gives_the_same_bytes_anywhere(purified, tmp_path):
    files, out, _, _ = purified
    purify_features(files, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "labels.parquet").read_bytes() == (
        out / "labels.parquet"
    ).read_bytes()


def test_clean_rows_outside_data(feature_files, tmp_path):
    """Checked rows that DATA does not hold teach, and do not come out."""
    files = feature_files()
    ids = np.array([f"r{row:03d}" for row in range(200)])
    keyed = pd.DataFrame({"id": ids, "vector": list(np.load(files.features))})
    keyed.to_parquet(files.folder / "keyed.parquet")
    frame = pd.read_csv(files.data)
    frame[40:].to_csv(files.data, index=False)  # CLEAN has rows 0..44: five are audited
    dataset = inputs.read(files.data, files.clean, features=files.folder / "keyed.parquet")
    summary = purify.purify_dataset(
        dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp")
    ).to_dict()
    found = contract.read_labels(tmp_path / "run")
    assert found.ids.tolist() == ids[40:].tolist()
    assert summary["checked_rows"] == {"audited": 5, "all": 45}
    assert summary["evidence"]["rows"] == 5
    assert sorted(found.review_rank) == list(range(1, 161))
    truth = pd.read_csv(files.truth)["label"].to_numpy()[40:]
    names = np.array(found.class_names)
    assert (names[found.label] == truth).mean() > (names[found.given] == truth).mean() + 0.1


def test_without_checked_rows_there_is_one_line(feature_files, tmp_path):
    files = feature_files()
    dataset = inputs.read(files.data, features=files.features)
    with pytest.raises(InputError, match="there are no checked rows; pass some with --clean-set"):
        purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(method="dmlp"))
    assert not (tmp_path / "run").exists()


def test_without_checked_rows_the_figures_are_called_self_estimated(feature_files, tmp_path):
    files = feature_files()
    dataset = inputs.read(files.data, features=files.features)
    summary = purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(device="cpu")).to_dict()
    assert summary["settings"]["method"] == "clid"
    assert summary["evidence"]["audited"] is False
    assert summary["decisions"]["checked"] == 0
    about = json.loads(pq.read_schema(tmp_path / "run" / "labels.parquet").metadata[b"labelfix"])
    assert about["evidence"] == "self-estimated"
    found = contract.read_labels(tmp_path / "run")
    truth = pd.read_csv(files.truth)["label"].to_numpy()
    names, had = np.array(found.class_names), found.given >= 0
    before = (names[found.given] == truth)[had].mean()
    assert (names[found.label] == truth)[had].mean() > before


def test_fewer_different_rows_than_folds(tmp_path):
    table = pd.DataFrame({"id": list("abcdefgh"), "label": ["x", "y"] * 4})
    table.to_csv(tmp_path / "data.csv", index=False)
    values = np.tile(np.eye(2, dtype=np.float32), (4, 1))
    np.save(tmp_path / "f.npy", values)
    table[:2].to_csv(tmp_path / "clean.csv", index=False)
    dataset = inputs.read(
        tmp_path / "data.csv", tmp_path / "clean.csv", features=tmp_path / "f.npy"
    )
    with pytest.raises(InputError, match="only 2 rows differ from each other"):
        purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "--method is 'magic'; use one of auto, dmlp"),
        ({"pretrain": "byol"}, "--pretrain is 'byol'; use one of simclr, moco, none"),
        ({"devices": 0}, "--devices is 0; use a number from 1 up"),
        ({"num_nodes": 0}, "--num-nodes is 0"),
        ({"seed": -1}, "--seed is -1; use a number from 0 up"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"min_precision": 1.5}, "--min-precision is 1.5; use a share from 0 to 1"),
        ({"min_precision": float("nan")}, "--min-precision is nan"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        PurifyConfig(**settings)


# --- images ---------------------------------------------------------------------------------


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
    assert summary["checked_rows"] == {"audited": 18, "all": 18}
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


# --- bilevel methods --------------------------------------------------------------------------


@pytest.fixture
def few_steps(monkeypatch):
    from labelfix.predictors.bilevel import registry

    monkeypatch.setattr(registry, "FEATURE_STEPS", 60)
    monkeypatch.setattr(registry, "IMAGE_EPOCHS", 2)


@pytest.mark.parametrize("method", ["mlc", "vri"])
def test_a_bilevel_method_from_files_to_files(feature_files, tmp_path, few_steps, method):
    files, listener = feature_files(), Listener()
    summary = purify_features(files, tmp_path / "run", listener, method=method)
    assert listener.tasks[1].startswith(f"purify ({method}, ")
    learning = summary["training_log"]
    assert set(learning) == ({"mlc", "mlc-teacher"} if method == "mlc" else {"vri"})
    assert len(learning[method]["folds"]) == 5
    assert set(summary["predictor_losses"]) == set(learning)
    after = summary["evidence"]["label_accuracy_after"]["value"]
    assert after > summary["evidence"]["label_accuracy_before"]["value"]
    assert not (tmp_path / "run" / "stages" / "purify" / "checkpoints").exists()
    again = Listener()
    purify_features(files, tmp_path / "run", again, method=method)
    assert again.tasks == []


def test_a_bilevel_method_trains_on_the_images_themselves(
    image_files, tmp_path, few_steps, monkeypatch
):
    from labelfix.predictors import bilevel_students

    monkeypatch.setattr(bilevel_students, "may_mirror", lambda *of: False)
    folder, listener = image_files(), Listener()
    settings = {"method": "emlc", "learn_from": "images", "pretrain": "none"}
    summary = purify_images(folder, tmp_path / "run", listener, **settings)
    assert "purify (emlc, 2 epochs a fold)" in listener.tasks
    assert any(line.startswith("emlc: images are not mirrored") for line in listener.lines)
    assert len(contract.read_labels(tmp_path / "run")) == 60
    assert {"emlc", "emlc-teacher"} == set(summary["training_log"])


def test_diagnostics_are_said(feature_files, tmp_path, few_steps, monkeypatch):
    from labelfix.predictors import bilevel_students

    def quiet(*args, **settings):
        found = real(*args, **settings)
        found.training_log.diagnostics.append("the roof is on fire (in 1 of 5 folds)")
        return found

    real, listener = bilevel_students.cross_fit, Listener()
    monkeypatch.setattr(bilevel_students, "cross_fit", quiet)
    summary = purify_features(feature_files(), tmp_path / "run", listener, method="clid")
    assert "clid: the roof is on fire (in 1 of 5 folds)" in listener.lines
    assert "the roof is on fire (in 1 of 5 folds)" in summary["training_log"]["clid"]["diagnostics"]


@pytest.mark.parametrize("method", ["mlc", "emlc", "ebomlc"])
def test_label_correctors_need_checked_rows(feature_files, tmp_path, method):
    files = feature_files()
    dataset = inputs.read(files.data, features=files.features)
    with pytest.raises(InputError, match="there are no checked rows"):
        purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(method=method))


def test_an_upper_loss_goes_with_methods_that_take_one():
    assert PurifyConfig(method="mw-net", upper_loss="mae").upper_loss == "mae"
    with pytest.raises(InputError, match="--upper-loss does not go with --method mlc"):
        PurifyConfig(method="mlc", upper_loss="mae")
    with pytest.raises(InputError, match="--upper-loss is 'hinge'; use one of auto, ce-clean"):
        PurifyConfig(method="mw-net", upper_loss="hinge")
    with pytest.raises(InputError, match="--learn-from is 'text'"):
        PurifyConfig(learn_from="text")

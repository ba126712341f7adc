"""purify through files: features and images, reruns, determinism, the summary."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from purify_runs import Listener, purify_features

from labelfix import contract, inputs
from labelfix.annotations import Answer, Drawn
from labelfix.errors import InputError
from labelfix.workflows import purify
from labelfix.workflows.outputs import CheckedRows
from labelfix.workflows.settings import PurifyConfig


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
    assert summary["checked_rows"]["audited"] == 5
    assert summary["checked_rows"]["all"] == 45
    assert summary["evidence"]["rows"] == 5
    assert sorted(found.review_rank) == list(range(1, 161))
    truth = pd.read_csv(files.truth)["label"].to_numpy()[40:]
    names = np.array(found.class_names)
    assert (names[found.label] == truth).mean() > (names[found.given] == truth).mean() + 0.1


def test_what_people_said_goes_with_the_rows(feature_files, tmp_path):
    files = feature_files()
    frame = pd.read_csv(files.clean)
    frame.loc[:3, "label"] = ["none", "unsure", "none", "unsure"]
    frame[:30].to_csv(files.clean, index=False)
    words = {"verdict": ["no", "no"], "id": frame["id"][30:32]}
    pd.DataFrame(words).to_csv(files.folder / "two.csv", index=False)
    source = purify.clean_source([files.clean, files.folder / "two.csv"], ["random", "chosen"])
    dataset = purify.read_dataset(files.data, source, features=files.features)
    run = purify.Run(config=PurifyConfig(device="cpu", method="dmlp"))
    rows = purify.rows_to_learn(dataset, run)[1].annotations
    assert rows.answers[:4].tolist() == [Answer.NONE, Answer.UNSURE, Answer.NONE, Answer.UNSURE]
    assert (rows.answers[30:32] == np.where(rows.given[30:32] >= 0, Answer.WRONG, -1)).all()
    assert set(rows.drawn[:30]) == {Drawn.RANDOM}
    assert set(rows.drawn[30:]) == {Drawn.CHOSEN}
    counts = CheckedRows.of(rows, len(dataset))
    assert counts.without_class == {"none": 2, "wrong": int(rows.refuted[30:].sum()), "unsure": 2}
    assert counts.drawn["random"] == 30
    assert counts.all == 26


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

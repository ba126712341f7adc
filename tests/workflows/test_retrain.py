"""retrain: given against purified labels, on features and images, and a labels.parquet alone."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from retrain_runs import Lines, config, every_step, opened
from safetensors import safe_open

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows import compare, purify, retrain
from labelfix.workflows.retrain import RetrainConfig
from labelfix.workflows.settings import PurifyConfig


def test_files_of_one_training(features_run, tmp_path):
    files, run = features_run
    found = opened(
        run, tmp_path, test=files.folder / "test.csv", test_features=files.folder / "test.npy"
    )
    metrics = retrain.train_on(found, tmp_path / "out", config(seed=3))
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    frame = table.to_pandas()
    assert frame["id"].tolist() == pd.read_csv(files.folder / "test.csv")["id"].tolist()
    assert (frame["label"] == frame["predicted"]).mean() == metrics.test.value
    probabilities = np.stack(list(frame["probabilities"]))
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    names = np.array(["ant", "bee", "cat"])
    assert names[probabilities.argmax(1)].tolist() == frame["predicted"].tolist()
    assert json.loads(table.schema.metadata[b"labelfix"])["rows"] == "test"
    with safe_open(tmp_path / "out" / "weights.safetensors", "np") as weights:
        about = json.loads(weights.metadata()["labelfix"])
        assert "head.weight" in weights.keys()  # noqa: SIM118  (not a dict)
    assert about["class_names"] == ["ant", "bee", "cat"]
    assert about["seed"] == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "metrics.json", "predictions.parquet", "weights.safetensors",
    ]  # fmt: skip
    again = retrain.train_on(found, tmp_path / "again", config(seed=3))
    assert again.test == metrics.test
    assert (tmp_path / "again" / "predictions.parquet").read_bytes() == (
        tmp_path / "out" / "predictions.parquet"
    ).read_bytes()


def test_collapsed_predictions_are_said(features_run, tmp_path, monkeypatch):
    _, run = features_run
    one_sided = torch.tensor([5.0, 0.0, 0.0]).expand(200, 3).clone()
    monkeypatch.setattr(retrain, "predict_logits", lambda net, source: one_sided)
    metrics = retrain.train_on(opened(run, tmp_path), tmp_path / "out", config(epochs=1))
    (line,) = metrics.diagnostics
    assert line.startswith("predictions collapsed onto 1 of 3 classes")


def test_without_a_test_table_the_training_rows_are_predicted(features_run, tmp_path):
    _, run = features_run
    metrics = retrain.train_on(opened(run, tmp_path), tmp_path / "out", config(epochs=1))
    assert metrics.test is None
    assert metrics.to_dict()["test_accuracy"] is None
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert len(table) == 200
    assert json.loads(table.schema.metadata[b"labelfix"])["rows"] == "training"


def test_rows_of_the_test_table_are_left_out(features_run, tmp_path):
    files, run = features_run
    pd.read_csv(files.truth)[:30].to_csv(files.folder / "overlap.csv", index=False)
    np.save(files.folder / "overlap.npy", np.load(files.features)[:30])
    found = opened(
        run, tmp_path, test=files.folder / "overlap.csv", test_features=files.folder / "overlap.npy"
    )
    assert found.in_test.tolist() == [True] * 30 + [False] * 170
    listener = Lines()
    metrics = retrain.train_on(
        found, tmp_path / "out", config(labels="given", epochs=1), report=listener
    )
    assert listener.lines == ["30 rows stand in the test table too and are left out of training"]
    assert metrics.left_out_as_test_rows == 30
    assert metrics.trained_rows == 170


def test_a_run_goes_on_from_its_checkpoint_and_removes_others(features_run, tmp_path, monkeypatch):
    _, run = features_run
    found, out = opened(run, tmp_path), tmp_path / "out"
    monkeypatch.setattr(
        retrain.RetrainConfig, "loop", lambda self, epochs, rows: every_step(epochs)
    )
    whole = retrain.train_on(found, tmp_path / "whole", config(method="elr", epochs=3))
    (out / "checkpoint-of-another.pt").parent.mkdir()
    (out / "checkpoint-of-another.pt").write_bytes(b"another")
    epochs = []

    class Stop:
        def say(self, line):
            pass

        def task(self, name):
            from contextlib import nullcontext

            def advance(done, total, remark):
                epochs.append(done)
                if done == 2 and len(epochs) == 3:
                    raise KeyboardInterrupt

            return nullcontext(advance)

    with pytest.raises(KeyboardInterrupt):
        retrain.train_on(found, out, config(method="elr", epochs=3), report=Stop())
    assert [file.name[:11] for file in out.iterdir()] == ["checkpoint-"]
    metrics = retrain.train_on(found, out, config(method="elr", epochs=3), report=Stop())
    assert epochs == [0, 1, 2, 2, 3]
    assert sorted(file.suffix for file in out.iterdir()) == [".json", ".parquet", ".safetensors"]
    assert metrics.last_epoch == whole.last_epoch
    assert (out / "predictions.parquet").read_bytes() == (
        tmp_path / "whole" / "predictions.parquet"
    ).read_bytes()


def test_errors_on_features(features_run, tmp_path):
    files, run = features_run
    test = files.folder / "test.csv"
    with pytest.raises(InputError, match="pass them with --test-features FILE"):
        opened(run, tmp_path, test=test)
    np.save(files.folder / "wide.npy", np.ones((40, 9), dtype=np.float32))
    with pytest.raises(InputError, match="has features of width 9, the dataset's are 8 wide"):
        opened(run, tmp_path, test=test, test_features=files.folder / "wide.npy")
    with pytest.raises(InputError, match="there is no such file"):
        opened(tmp_path / "nothing", tmp_path)
    frame = pd.read_csv(test)
    frame.loc[0, "label"] = "cow"
    frame.to_csv(files.folder / "cow.csv", index=False)
    with pytest.raises(InputError, match="'cow'"):
        opened(
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
        doubt=np.array([0.2, 0.1, 0.5], dtype=np.float32),
    )
    none = np.zeros(3, dtype=bool)
    purified = retrain.targets_of(labels, "purified", none)
    assert np.array_equal(purified.soft_labels, labels.soft_label)
    assert purified.weights.tolist() == labels.weight.tolist()
    given = retrain.targets_of(labels, "given", none)
    assert given.weights.tolist() == [1, 0, 1]
    assert given.soft_labels[[0, 2]].tolist() == [[1, 0], [0, 1]]
    assert (purified.clean, given.clean)[0].tolist() == given.clean.tolist() == [-1, -1, -1]
    checked = replace(labels, decision=np.array([4, 3, 0], dtype=np.int8))
    clean = retrain.targets_of(checked, "given", none, ("given_label", "decision"))
    assert clean.clean.tolist() == [1, -1, -1]
    assert retrain.targets_of(checked, "given", none).clean.tolist() == [-1, -1, -1]
    hidden = retrain.targets_of(labels, "purified", np.array([True, False, False]))
    assert hidden.usable.tolist() == [False, True, True]
    assert hidden.labelled.tolist() == [False, True, False]
    assert hidden.weights.tolist() == pytest.approx([0, 0.8, 0])
    assert labels.weight[0] == np.float32(0.6)
    with pytest.raises(InputError, match="no row is left to train on"):
        retrain.targets_of(labels, "given", ~none)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "--method is 'magic'; use one of ce, dividemix, elr"),
        (
            {"method": "hrp", "changes": ("gate=perhaps",)},
            "--set gate=perhaps: 'perhaps' is neither true nor",
        ),
        ({"changes": ("magic=1",)}, "ce has no setting 'magic'; --set one of upper_loss"),
        ({"method": "hrp", "changes": ("low=x",)}, "--set low=x: could not .*; use a value like"),
        ({"method": "hrp", "changes": ("mixup=odd",)}, "mixup must be one of asymmetric"),
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


def test_images(images_run, tmp_path):
    folder, run = images_run
    found = opened(run, tmp_path, test=folder / "test.csv")
    assert found.pixels == 8
    assert found.backbone == "smallconv"
    metrics = compare.compare(found, tmp_path / "out", config(epochs=2)).to_dict()
    assert metrics["purified"]["test_rows"] == 12
    assert 0 <= metrics["given"]["test_accuracy"] <= 1
    with safe_open(tmp_path / "out" / "purified" / "weights.safetensors", "np") as weights:
        assert any(name.startswith("backbone.") for name in weights.keys())  # noqa: SIM118
        assert json.loads(weights.metadata()["labelfix"])["backbone"] == "smallconv"


def test_weights_of_another_backbone_are_not_started_from(image_files, tmp_path):
    """Pretrained again as a single stage with another net, the folder's weights do not fit."""
    from labelfix.workflows import embed

    folder, run = image_files(), tmp_path / "run"
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    settings = {"epochs": 1, "device": "cpu", "method": "dmlp"}
    purify.purify_dataset(dataset, run, PurifyConfig(backbone="smallconv", **settings))
    weights = run / "stages" / "pretrain" / "weights.safetensors"
    assert opened(run, tmp_path).weights == str(weights)
    embed.pretrain_only(dataset, run, PurifyConfig(backbone="resnet10t", **settings))
    found = opened(run, tmp_path)
    assert found.backbone == "smallconv"
    assert found.weights == "random"
    assert "training starts from random weights" in found.notices[0]
    assert "the weights do not fit the backbone" in found.notices[0]
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    plain = PurifyConfig(backbone="resnet10t", pretrain="none", **settings)
    purify.purify_dataset(dataset, run, plain)
    found = opened(run, tmp_path)
    assert (found.backbone, found.weights, found.notices) == ("resnet10t", "random", ())

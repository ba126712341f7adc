"""retrain: given against purified labels, on features and images, and a labels.parquet alone."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows import compare, purify, retrain
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.retrain import RetrainConfig
from labelfix.workflows.settings import PurifyConfig


class Lines:
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def task(self, name):
        from labelfix.training.progress import SILENT

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
    purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp"))
    return files, tmp_path / "run"


@pytest.fixture
def images_run(image_files, tmp_path):
    folder = image_files()
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    config = PurifyConfig(pretrain="none", backbone="smallconv", device="cpu", method="dmlp")
    purify.purify_dataset(dataset, tmp_path / "run", config)
    return folder, tmp_path / "run"


def opened(run, tmp_path, **arguments):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return CorrectedDataset.open(run, scratch, **arguments)


def config(**settings):
    return RetrainConfig(**{"epochs": 10, "device": "cpu"} | settings)


def test_compare_on_features(features_run, tmp_path):
    files, run = features_run
    found = opened(
        run, tmp_path, test=files.folder / "test.csv", test_features=files.folder / "test.npy"
    )
    metrics = compare.compare(found, tmp_path / "out", config()).to_dict()
    given, purified = metrics["given"], metrics["purified"]
    assert purified["test_accuracy"] == metrics["test_accuracy"] > 0.8
    assert metrics["verdict"]["better"] in ("purified", "undecided")
    assert metrics["verdict"]["tested_on"] == "test table"
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
    found = opened(
        run, tmp_path, test=files.folder / "test.csv", test_features=files.folder / "test.npy"
    )
    metrics = retrain.train_on(found, tmp_path / "out", config(seed=3))
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
        assert "head.weight" in weights.keys()  # noqa: SIM118  (not a dict)
    assert about["class_names"] == ["ant", "bee", "cat"]
    assert about["seed"] == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "metrics.json", "predictions.parquet", "weights.safetensors",
    ]  # fmt: skip
    again = retrain.train_on(found, tmp_path / "again", config(seed=3))
    assert again["test_accuracy"] == metrics["test_accuracy"]
    assert (tmp_path / "again" / "predictions.parquet").read_bytes() == (
        tmp_path / "out" / "predictions.parquet"
    ).read_bytes()


def rewrite_labels(run, change, metadata=True):
    table = pq.read_table(run / "labels.parquet")
    kept = table.schema.metadata
    table = change(table).replace_schema_metadata(kept if metadata else None)
    pq.write_table(table, run / "labels.parquet")


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


def test_collapsed_predictions_are_said(features_run, tmp_path, monkeypatch):
    _, run = features_run
    one_sided = torch.tensor([5.0, 0.0, 0.0]).expand(200, 3).clone()
    monkeypatch.setattr(retrain, "predict_logits", lambda net, source: one_sided)
    metrics = retrain.train_on(opened(run, tmp_path), tmp_path / "out", config(epochs=1))
    (line,) = metrics["diagnostics"]
    assert line.startswith("predictions collapsed onto 1 of 3 classes")


def test_without_a_test_table_the_training_rows_are_predicted(features_run, tmp_path):
    _, run = features_run
    metrics = retrain.train_on(opened(run, tmp_path), tmp_path / "out", config(epochs=1))
    assert metrics["test_accuracy"] is None
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert len(table) == 200
    assert json.loads(table.schema.metadata[b"labelfix"])["rows"] == "training"


def test_compare_without_a_test_table_holds_checked_rows_out(features_run, tmp_path):
    _, run = features_run
    found, listener = opened(run, tmp_path), Lines()
    checked = np.flatnonzero(found.labels.decision == contract.DECISIONS.index("checked"))
    metrics = compare.compare(found, tmp_path / "out", config(epochs=2), report=listener).to_dict()
    assert metrics["verdict"]["tested_on"] == "held-out checked rows"
    assert metrics["purified"]["test_rows"] == pytest.approx(len(checked) / 2, abs=2)
    assert metrics["purified"]["left_out_as_test_rows"] == metrics["purified"]["test_rows"]
    assert "checked rows are held out of both trainings" in listener.lines[0]
    tested = pq.read_table(tmp_path / "out" / "given" / "predictions.parquet")["id"].to_pylist()
    assert set(tested) <= set(found.labels.ids[checked])
    few = replace(found.labels, decision=np.zeros(200, dtype=np.int8))
    with pytest.raises(InputError, match=r"nothing to compare on .0 checked rows.; pass --test"):
        compare.compare(replace(found, labels=few), tmp_path / "out", config())


@pytest.mark.parametrize(
    ("won", "lost", "better", "p_value"),
    [
        (30, 2, "purified", 2 * (1 + 32 + 496) / 2**32),  # both tails of 32 fair coins
        (2, 30, "given", 2 * (1 + 32 + 496) / 2**32),
        (5, 1, "undecided", 2 * (1 + 6) / 2**6),
        (30, 18, "undecided", 0.11140289106101),
        (5, 5, "undecided", 1.0),
        (0, 0, "undecided", 1.0),
    ],
)
def test_the_verdict_counts_the_rows_where_both_nets_differ(won, lost, better, p_value):
    labels = np.zeros(100, dtype=np.int32)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    given = torch.tensor([right] * lost + [wrong] * won + [right] * (100 - won - lost))
    purified = torch.tensor([wrong] * lost + [right] * (100 - lost))
    outcomes = [retrain.Outcome(metrics={}, logits=logits) for logits in (given, purified)]
    verdict = compare.verdict_on(*outcomes, labels, "test table")
    assert verdict.better == better
    assert verdict.difference == pytest.approx((won - lost) / 100)
    low, high = verdict.interval
    assert low < (won - lost) / 100 < high
    assert verdict.p_value == pytest.approx(p_value, abs=1e-14, rel=0)
    assert compare.WORDS[better] in verdict.words


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
    assert metrics["left_out_as_test_rows"] == 30
    assert metrics["trained_rows"] == 170


def test_a_labels_file_alone_finds_its_features(features_run, tmp_path):
    files, run = features_run
    alone = tmp_path / "moved" / "corrected.parquet"
    alone.parent.mkdir()
    shutil.copy(run / "labels.parquet", alone)
    arguments = {"test": files.folder / "test.csv", "test_features": files.folder / "test.npy"}
    moved = retrain.train_on(opened(alone, tmp_path, **arguments), tmp_path / "a", config())
    first = retrain.train_on(opened(run, tmp_path, **arguments), tmp_path / "b", config())
    assert moved["test_accuracy"] == first["test_accuracy"]
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
    assert metrics["test_accuracy"] > 0.9
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
    assert metrics["last_epoch"] == whole["last_epoch"]
    assert (out / "predictions.parquet").read_bytes() == (
        tmp_path / "whole" / "predictions.parquet"
    ).read_bytes()


def every_step(epochs):
    from labelfix.training.config import LoopConfig

    return LoopConfig(epochs=epochs, batch_size=25, device="cpu", checkpoint_seconds=0)


def test_a_trained_net_is_made_again_from_its_card(features_run, images_run, tmp_path):
    from labelfix.nets.classifiers import predict_logits
    from labelfix.workflows.model_files import load_model

    for (_, run), method in ((features_run, "ce"), (images_run, "coteaching")):
        found, out = opened(run, tmp_path), tmp_path / method
        retrain.train_on(found, out, config(method=method, epochs=1))
        net, card = load_model(out)
        assert card.method == method
        assert card.class_names == ("ant", "bee", "cat")
        assert card.data.rows == len(found.labels)
        frame = pd.read_parquet(out / "predictions.parquet")
        logits = predict_logits(net, found.train.source)
        assert np.allclose(logits.softmax(1), np.stack(list(frame["probabilities"])), atol=1e-6)
        assert np.allclose(-logits.logsumexp(1), frame["energy"], atol=1e-5)
    with pytest.raises(InputError, match="there is no trained model"):
        load_model(tmp_path / "nothing")


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
    assert (purified.right, given.right)[0].tolist() == given.right.tolist() == [-1, -1, -1]
    checked = replace(labels, decision=np.array([4, 3, 0], dtype=np.int8))
    clean = retrain.targets_of(checked, "given", none, ("given_label", "decision"))
    assert clean.right.tolist() == [1, -1, -1]
    assert retrain.targets_of(checked, "given", none).right.tolist() == [-1, -1, -1]
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


# --- images ---------------------------------------------------------------------------------


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


def test_images_from_outside_are_told_from_test_images(images_run, tmp_path):
    from labelfix.workflows.evaluate import evaluate_outliers, model_of

    folder, run = images_run
    found = opened(run, tmp_path, test=folder / "test.csv")
    compare.compare(found, run / "retrain", config(epochs=6))
    assert model_of(run) == model_of(run / "labels.parquet") == run / "retrain" / "purified"
    from PIL import Image

    (tmp_path / "grey").mkdir()
    for number in range(9):
        Image.new("RGB", (11, 9), (25 * number,) * 3).save(tmp_path / "grey" / f"{number}.png")
    paths = [f"grey/{number}.png" for number in range(9)]
    pd.DataFrame({"image": paths}).to_csv(tmp_path / "grey.csv", index=False)
    figures = evaluate_outliers(model_of(run), tmp_path / "grey.csv")
    assert (figures.test_rows, figures.ood_rows) == (12, 9)
    assert all(
        0 <= getattr(figures, f"{score}_{kind}") <= 1
        for score in ("msp", "energy")
        for kind in ("auroc", "fpr95")
    )
    with pytest.raises(InputError, match="trained on images; leave --ood-features out"):
        evaluate_outliers(model_of(run), tmp_path / "grey.csv", ood_features=tmp_path / "x.npy")
    with pytest.raises(InputError, match=r"nothing\.csv"):
        evaluate_outliers(model_of(run), tmp_path / "nothing.csv")


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

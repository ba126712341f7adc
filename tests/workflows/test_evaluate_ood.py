"""evaluate --ood: how well a score tells rows apart, by hand; the whole on a trained model."""

import numpy as np
import pandas as pd
import pytest
from retrain_runs import config, opened

from labelfix import inputs
from labelfix.errors import InputError
from labelfix.workflows import compare, purify, retrain
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.evaluate import separation
from labelfix.workflows.settings import PurifyConfig


def test_separation_by_hand():
    inside, outside = np.array([2.0, 3.0, 3.0, 5.0]), np.array([1.0, 3.0, 4.0])
    # 2 beats one of three, each 3 one and a tie, 5 all: 1 + 1.5 + 1.5 + 3 of 12 pairs
    assert separation(inside, outside) == pytest.approx((7 / 12, 2 / 3))
    tops = np.arange(100.0)  # 95 of them reach 5
    assert separation(tops, np.array([4.9, 5.0, 7.0, -1.0]))[1] == 0.5
    assert separation(tops, tops - 200) == (1.0, 0.0)


def test_separation_is_that_of_naive_loops_with_ties():
    random = np.random.default_rng(0)
    for size in (7, 20, 61):
        inside, outside = random.integers(2, 9, size), random.integers(0, 6, 40)
        wins = [(a > b) + (a == b) / 2 for a in inside for b in outside]
        passed = [np.mean(outside >= level) for level in inside if np.mean(inside >= level) >= 0.95]
        found = separation(inside.astype(float), outside.astype(float))
        assert found == pytest.approx((np.mean(wins), min(passed)))


def test_a_model_tells_rows_from_outside(feature_files, tmp_path):
    from labelfix.workflows import evaluate

    files = feature_files(rows=260, noise=0.2, checked=60)
    values = np.load(files.features)
    random = np.random.default_rng(1)
    np.save(tmp_path / "test.npy", values + random.normal(0, 0.1, values.shape))
    far = random.normal(0, 0.3, (80, values.shape[1])).astype(np.float32)  # between the blobs
    np.save(tmp_path / "far.npy", far)
    pd.DataFrame({"id": [f"o{row}" for row in range(80)]}).to_csv(tmp_path / "far.csv")
    dataset = inputs.read(files.data, files.clean, features=files.features)
    run = tmp_path / "run"
    purify.purify_dataset(dataset, run, PurifyConfig(device="cpu", method="dmlp"))
    found = CorrectedDataset.open(
        run, tmp_path, test=files.truth, test_features=tmp_path / "test.npy"
    )
    config = retrain.RetrainConfig(device="cpu", method="coteaching", epochs=8)
    retrain.train_on(found, tmp_path / "model", config)
    figures = evaluate.evaluate_outliers(
        tmp_path / "model", tmp_path / "far.csv", ood_features=tmp_path / "far.npy"
    )
    assert (figures.test_rows, figures.ood_rows) == (260, 80)
    assert figures.msp_auroc > 0.8
    assert 0 <= figures.msp_fpr95 < 0.8
    assert figures.energy_auroc > 0.6
    with pytest.raises(InputError, match="trained on features; pass --ood-features FILE"):
        evaluate.evaluate_outliers(tmp_path / "model", tmp_path / "far.csv")
    np.save(tmp_path / "wide.npy", np.ones((80, 3), np.float32))
    with pytest.raises(InputError, match="has features of width 3, the dataset's are 8 wide"):
        evaluate.evaluate_outliers(
            tmp_path / "model", tmp_path / "far.csv", ood_features=tmp_path / "wide.npy"
        )
    plain = CorrectedDataset.open(run, tmp_path)
    retrain.train_on(plain, tmp_path / "untested", retrain.RetrainConfig(device="cpu", epochs=1))
    with pytest.raises(InputError, match="was trained without test rows"):
        evaluate.evaluate_outliers(
            tmp_path / "untested", tmp_path / "far.csv", ood_features=tmp_path / "far.npy"
        )


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

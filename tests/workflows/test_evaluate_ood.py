"""OOD scores by hand, AUROC against scikit-learn; paired tests against scipy; evaluate --ood."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from labelfix.equations.intervals import mcnemar, paired_difference
from labelfix.equations.ood import auroc, energy_score, fpr_at_95, msp_score
from labelfix.errors import InputError


def test_scores_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    assert msp_score(logits).tolist() == pytest.approx([0.5, 0.75])
    assert energy_score(logits).tolist() == pytest.approx([math.log(2), math.log(4)])


def test_auroc_is_scikit_learns_with_ties():
    random = np.random.default_rng(0)
    inside, outside = random.integers(2, 9, 50), random.integers(0, 6, 40)
    truth = np.r_[np.ones(50), np.zeros(40)]
    expected = roc_auc_score(truth, np.r_[inside, outside])
    assert auroc(inside.astype(float), outside.astype(float)) == pytest.approx(expected)


def test_fpr95_by_hand():
    inside = np.arange(100.0)  # 95 of them reach 5
    assert fpr_at_95(inside, np.array([4.9, 5.0, 7.0, -1.0])) == 0.5


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (5, 1), (1, 5), (30, 18), (7, 7), (900, 1000)])
def test_mcnemar_is_the_binomial_test(won, lost):
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-6)


def test_the_paired_interval_by_hand_and_its_coverage():
    difference, low, high = paired_difference(10, 4, 100)
    assert difference == pytest.approx(0.06)
    first, second = 11 / 102, 5 / 102
    half = 1.959964 * math.sqrt((first + second - (first - second) ** 2) / 102)
    assert (low, high) == pytest.approx((6 / 102 - half, 6 / 102 + half))
    random = np.random.default_rng(0)
    counts = random.multinomial(80, [0.12, 0.05, 0.83], size=2000)
    inside = [
        (low <= 0.07 <= high)
        for won, lost, _ in counts
        for _, low, high in [paired_difference(int(won), int(lost), 80)]
    ]
    assert np.mean(inside) > 0.94


def test_a_model_tells_rows_from_outside(feature_files, tmp_path):
    from labelfix import inputs
    from labelfix.workflows import corrected_dataset, evaluate, purify, retrain
    from labelfix.workflows.settings import PurifyConfig

    files = feature_files(rows=260, noise=0.2, checked=60)
    values = np.load(files.features)
    random = np.random.default_rng(1)
    np.save(tmp_path / "test.npy", values + random.normal(0, 0.1, values.shape))
    far = random.normal(0, 0.3, (80, values.shape[1])).astype(np.float32)  # between the blobs
    np.save(tmp_path / "far.npy", far)
    pd.DataFrame({"id": [f"o{row}" for row in range(80)]}).to_csv(tmp_path / "far.csv")
    dataset = inputs.read(files.data, files.clean, features=files.features)
    run = tmp_path / "run"
    purify.purify(dataset, run, PurifyConfig(device="cpu", method="dmlp"))
    found = corrected_dataset.gather(
        run, tmp_path, test=files.truth, test_features=tmp_path / "test.npy"
    )
    config = retrain.RetrainConfig(device="cpu", method="coteaching", epochs=8)
    retrain.run(found, tmp_path / "model", config)
    figures = evaluate.evaluate_outliers(
        tmp_path / "model", tmp_path / "far.csv", ood_features=tmp_path / "far.npy"
    )
    assert (figures["test_rows"], figures["ood_rows"]) == (260, 80)
    assert figures["msp_auroc"] > 0.8
    assert 0 <= figures["msp_fpr95"] < 0.8
    assert figures["energy_auroc"] > 0.6
    with pytest.raises(InputError, match="trained on features; pass --ood-features FILE"):
        evaluate.evaluate_outliers(tmp_path / "model", tmp_path / "far.csv")
    np.save(tmp_path / "wide.npy", np.ones((80, 3), np.float32))
    with pytest.raises(InputError, match="has features of width 3, the dataset's are 8 wide"):
        evaluate.evaluate_outliers(
            tmp_path / "model", tmp_path / "far.csv", ood_features=tmp_path / "wide.npy"
        )
    plain = corrected_dataset.gather(run, tmp_path)
    retrain.run(plain, tmp_path / "untested", retrain.RetrainConfig(device="cpu", epochs=1))
    with pytest.raises(InputError, match="was trained without test rows"):
        evaluate.evaluate_outliers(
            tmp_path / "untested", tmp_path / "far.csv", ood_features=tmp_path / "far.npy"
        )

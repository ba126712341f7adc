"""Both trainings side by side, and the verdict on them."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from retrain_runs import Lines, config, opened

from labelfix import contract
from labelfix.errors import InputError
from labelfix.workflows import compare, retrain


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
    assert given["uses"] == ("given_label",)
    assert purified["uses"] == ("soft_label", "weight")
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
    outcomes = [retrain.Outcome(metrics=None, logits=logits) for logits in (given, purified)]
    verdict = compare.verdict_on(*outcomes, labels, "test table")
    assert verdict.better == better
    assert verdict.difference == pytest.approx((won - lost) / 100)
    low, high = verdict.interval
    assert low < (won - lost) / 100 < high
    assert verdict.p_value == pytest.approx(p_value, abs=1e-14, rel=0)
    assert compare.WORDS[better] in verdict.words

"""What a purify run leaves behind: labels.parquet and summary.json."""

import json
from collections import Counter
from dataclasses import fields, replace

import pandas as pd
import pyarrow.parquet as pq
import pytest

from labelfix import contract
from labelfix.decide.evidence import Figure
from labelfix.workflows import purify
from labelfix.workflows.outputs import Summary
from labelfix.workflows.settings import PurifyConfig

CONFIG = PurifyConfig(device="cpu", method="dmlp")


def test_a_column_whose_name_is_needed_comes_out_under_another(feature_files, tmp_path):
    files = feature_files()
    frame = pd.read_csv(files.data).assign(weight=range(200))
    frame.to_csv(files.data, index=False)
    dataset = purify.read_dataset(files.data, files.clean, features=files.features)
    assert "data.csv: column 'weight' comes out as 'original_weight'" in dataset.notices
    purify.purify_dataset(dataset, tmp_path / "run", CONFIG)
    table = pq.read_table(tmp_path / "run" / "labels.parquet")
    assert table["original_weight"].to_pylist() == list(range(200))
    assert max(table["weight"].to_pylist()) <= 1


@pytest.fixture
def summary(feature_files, tmp_path):
    files = feature_files(missing=20)
    dataset = purify.read_dataset(files.data, files.clean, features=files.features)
    return purify.purify_dataset(dataset, tmp_path / "run", CONFIG)


def test_the_summary_on_disk_is_its_dictionary(summary, tmp_path):
    text = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert text == summary.to_dict()
    assert list(text) == [field.name for field in fields(Summary)]
    assert text["evidence"]["label_accuracy_after"]["value"] == pytest.approx(
        summary.evidence.label_accuracy_after.value
    )
    assert text["predictor"] == "dmlp"
    assert text["predictor"] in text["predictor_losses"]
    assert set(text["predictor_losses"]) == set(text["training_log"])


def test_what_could_not_be_measured_is_null(summary):
    unknown = Figure(value=float("nan"), low=float("nan"), high=float("nan"))
    evidence = replace(summary.evidence, change_precision=unknown)
    text = replace(summary, evidence=evidence).to_dict()
    assert text["evidence"]["change_precision"] == {"value": None, "low": None, "high": None}


def test_decisions_of_the_summary_are_those_of_the_file(summary, tmp_path):
    labels = contract.read_labels(tmp_path / "run")
    counts = Counter(contract.DECISIONS[code] for code in labels.decision)
    assert summary.decisions == {name: counts[name] for name in contract.DECISIONS}
    assert summary.rows == len(labels) == 200
    assert summary.rows_without_label == (labels.given < 0).sum() == 20
    assert summary.checked_rows.all == labels.checked.sum()

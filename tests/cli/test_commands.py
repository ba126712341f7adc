"""Each command from the terminal: what it prints, and what it writes."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from labelfix import contract
from labelfix.cli.console import Terminal
from labelfix.decide.evidence import Figure


def test_purify_json_alone_on_stdout(purified):
    _, run, done = purified
    summary = json.loads(done.out)
    assert summary["rows"] == 200
    on_disk = json.loads((run / "summary.json").read_text())
    assert {**summary, "seconds": 0} == {**on_disk, "seconds": 0}
    assert contract.read_labels(run).class_names == ("ant", "bee", "cat")


def test_purify_in_words(purified, labelfix):
    files, run, _ = purified
    done = labelfix(*files.purify, "--out", run)
    assert done.status == 0
    for words in (
        "200 rows, 3 classes",
        "decisions: keep",
        "45 audited rows",
        "The labels got better: +",
        f"wrote {run / 'labels.parquet'}",
    ):
        assert words in done.out
    assert "purify: nothing changed, taken from the last run" in done.err
    assert "columns taken" in done.err


@pytest.mark.parametrize(
    ("value", "low", "high", "sentence"),
    [
        (0.16, 0.08, 0.23, "The labels got better: +16.0 points, +8.0 to +23.0 with"),
        (0.01, -0.02, 0.04, "No difference could be shown: +1.0 points, -2.0 to +4.0 with"),
        (-0.1, -0.2, -0.01, "The labels got worse; keep the given ones: -10.0 points, -20.0 to"),
    ],
)
def test_the_evidence_ends_in_a_verdict(summary_of_run, capfd, value, low, high, sentence):
    gain = Figure(value=value, low=low, high=high)
    evidence = replace(summary_of_run.evidence, label_accuracy_gain=gain)
    summary = replace(summary_of_run, evidence=evidence)
    Terminal().evidence(summary)
    assert sentence in capfd.readouterr().out
    Terminal().evidence(replace(summary, changes_allowed=False))  # then nothing got worse
    assert sentence not in capfd.readouterr().out
    Terminal().evidence(replace(summary, evidence=replace(evidence, audited=False)))
    assert sentence not in capfd.readouterr().out


def test_default_output_folder(feature_files, labelfix):
    files = feature_files()
    done = labelfix(*files.purify)
    assert done.status == 0
    assert (files.folder / "data-purified" / "labels.parquet").exists()


def test_without_checked_rows_the_table_says_who_estimated(feature_files, labelfix, tmp_path):
    files = feature_files()
    done = labelfix(
        "purify", files.data, "--features", files.features,
        "--device", "cpu", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.status == 0
    assert "Self-estimated: no row of the data was checked" in done.out
    assert "nan" not in done.out


def test_brackets_in_a_path_are_printed(feature_files, labelfix, tmp_path):
    files = feature_files()
    out = tmp_path / "run[bold]"
    done = labelfix(*files.purify, "--out", out)
    assert f"wrote {out / 'labels.parquet'}" in done.out


def test_evaluate(purified, labelfix):
    files, run, _ = purified
    done = labelfix("evaluate", run, "--truth", files.truth, "--json")
    assert done.status == 0
    assert done.err.startswith("truth.csv: right labels from column 'label'")
    assert done.err.count("\n") == 1
    figures = json.loads(done.out)
    assert figures["label_accuracy_after"] > figures["label_accuracy_before"]
    assert figures["fill_accuracy"] is None  # NaN, for JSON has none
    words = labelfix("evaluate", run, "--truth", files.truth).out
    assert "label accuracy after" in words


def test_retrain(purified, labelfix, tmp_path):
    files, run, _ = purified
    pd.read_csv(files.truth).assign(id=lambda t: "t" + t["id"]).to_csv(
        tmp_path / "test.csv", index=False
    )
    np.save(tmp_path / "test.npy", np.load(files.features) + np.float32(1e-3))
    words = (
        "retrain", run, "--test", tmp_path / "test.csv", "--test-features", tmp_path / "test.npy",
        "--epochs", 2, "--device", "cpu",
    )  # fmt: skip
    done = labelfix(*words, "--json", "--labels", "given")
    assert done.status == 0
    metrics = json.loads(done.out)
    assert metrics["method"] == "ce"
    assert metrics["labels"] == "given"
    assert 0 <= metrics["test_accuracy"] <= 1
    assert (run / "retrain" / "weights.safetensors").exists()
    done = labelfix(*words, "--compare", "--out", tmp_path / "both")
    assert done.status == 0
    assert "Retrained with ce, 2 epochs" in done.out
    assert "verdict: " in done.out
    assert (tmp_path / "both" / "compare.json").exists()
    words = (
        "evaluate", run, "--ood", tmp_path / "test.csv", "--ood-features", tmp_path / "test.npy",
    )  # fmt: skip
    figures = json.loads(labelfix(*words, "--json").out)
    assert figures["msp_auroc"] == pytest.approx(0.5, abs=1e-6)  # the test rows themselves
    assert figures["energy_fpr95"] == pytest.approx(0.95, abs=0.01)
    assert "energy auroc" in labelfix(*words, "--model", run / "retrain").out


def test_corrupt(feature_files, labelfix):
    files = feature_files(noise=0.0)
    done = labelfix(
        "corrupt", files.data, "--features", files.features, "--noise", "symmetric", "--rate", "0.4"
    )
    assert done.status == 0
    out = files.folder / "data-symmetric-0.4.csv"
    assert done.out.startswith(
        f"wrote {out}: 80 of 200 labels are wrong now, realised noise rate 40.0%"
    )
    assert out.exists()
    done = labelfix(
        "corrupt", files.data, "--features", files.features, "--noise", "asymmetric",
        "--rate", "1", "--map", "next",
    )  # fmt: skip
    assert "ant -> bee" in done.err


def test_single_stages(image_files, labelfix, tmp_path):
    folder = image_files()
    words = (folder / "data.csv", "--out", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    done = labelfix("pretrain", *words)
    assert done.status == 0
    weights = tmp_path / "run" / "stages" / "pretrain" / "weights.safetensors"
    assert done.out == f"weights: {weights}\n"
    done = labelfix("embed", *words)
    assert done.status == 0
    assert done.out == f"features: {tmp_path / 'run' / 'stages' / 'embed' / 'features.npy'}\n"


def test_clean_sets_add_up_and_each_says_how_it_was_drawn(feature_files, labelfix):
    files = feature_files()
    checked = pd.read_csv(files.clean).rename(columns={"label": "seen"})
    halves = []
    for name, rows in (("one", checked[::2]), ("two", checked[1::2])):
        rows.assign(label=rows["seen"].iloc[0]).to_csv(files.folder / f"{name}.csv", index=False)
        halves += ["--clean-set", files.folder / f"{name}.csv"]
    how = ("--clean-set-drawn", "random", "--clean-set-drawn", "chosen")
    words = (*files.purify[:4], *halves, *files.purify[6:], "--clean-label-column", "seen", *how)
    done = labelfix(*words, "--json", "--out", files.folder / "run")
    assert done.status == 0, done.err
    assert json.loads(done.out)["checked_rows"]["all"] == len(checked)
    assert "two.csv: right labels from column 'seen'" in done.err


def test_tables_beside_the_data_may_call_their_columns_alike(feature_files, labelfix):
    files = feature_files()
    for file in (files.data, files.clean, files.truth):
        table = pd.read_csv(file).rename(columns={"id": "tree", "label": "species"})
        table.assign(site="north").to_csv(file, index=False)
    run = files.folder / "run"
    named = ("--label-column", "species", "--id-column", "tree")
    assert labelfix(*files.purify, *named, "--out", run).status == 0
    other = files.folder / "other.npy"
    np.save(other, np.load(files.features) + 0.1)
    test = ("--test", files.truth, "--test-features", other, "--epochs", 1)
    for more in ((), named):
        assert labelfix("retrain", run, *test, *more).status == 0
        done = labelfix("evaluate", run, "--truth", files.truth, *more)
        assert done.status == 0
        assert "truth.csv: right labels from column 'species'" in done.err

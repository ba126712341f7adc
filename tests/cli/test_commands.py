"""The command line: help, JSON, exit statuses, one line for every mistake."""

import json
import subprocess
import sys
from dataclasses import replace

import click
import numpy as np
import pandas as pd
import pytest
import torch

from labelfix import contract, inputs
from labelfix.cli import main
from labelfix.cli.console import Terminal
from labelfix.decide.evidence import Figure
from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig

DESIGN = {
    "demo", "purify", "retrain", "export", "report", "pretrain", "embed", "score", "corrupt",
    "evaluate",
}  # fmt: skip


class Done:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def error(self):
        """The last line, which is the only one that says labelfix:."""
        *before, last = self.err.strip().splitlines()
        assert last.startswith("labelfix: ")
        assert not any(line.startswith(("labelfix: ", "Traceback")) for line in before)
        return last


@pytest.fixture
def labelfix(capfd, monkeypatch):
    """Runs a command in this process, as the installed program does."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        out, err = capfd.readouterr()
        return Done(left.value.code, out, err)

    return run


@pytest.fixture
def purified(feature_files, labelfix, tmp_path):
    files = feature_files()
    done = labelfix(*files.purify, "--out", tmp_path / "run", "--json")
    assert done.status == 0
    return files, tmp_path / "run", done


@pytest.fixture
def summary_of_run(feature_files, tmp_path):
    files = feature_files()
    dataset = inputs.read(files.data, files.clean, features=files.features)
    return purify.purify(dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp"))


# --- help -----------------------------------------------------------------------------------


def test_commands_are_those_of_the_design():
    assert set(main.commands) <= DESIGN
    assert {"demo", "purify", "retrain", "pretrain", "embed", "corrupt", "evaluate"} <= set(
        main.commands
    )


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name, labelfix):
    done = labelfix(name, "--help")
    assert done.status == 0
    assert f"Example:\n    labelfix {name}" in done.out
    command = main.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in done.out
    assert labelfix(name, "-h").out == done.out


def test_help_and_version(labelfix):
    done = labelfix("--help")
    assert done.status == 0
    assert all(name in done.out for name in main.commands)
    assert "..." not in done.out.split("Commands:")[1]  # no sentence is cut
    assert labelfix("--version").out.startswith("labelfix, version ")


def test_no_command_at_all(labelfix):
    done = labelfix()
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("Usage: ")
    assert all(name in done.err for name in main.commands)


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from labelfix.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: assert left.code == 0\n"
        "heavy = {'torch', 'pandas', 'pyarrow', 'sklearn', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_installed_program_prints_one_line(tmp_path):
    code = "from labelfix.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", str(tmp_path / "no"), "--truth", "t.csv"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"labelfix: {tmp_path / 'no'}: there is no such file; ")


# --- commands -------------------------------------------------------------------------------


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


# --- mistakes -------------------------------------------------------------------------------

MISTAKES = {
    "magic": "No such command 'magic'",
    "purify": "Missing argument 'DATA'",
    "purify DATA --magic": "No such option",
    "purify DATA --method magic": "--method is 'magic'; use one of auto, dmlp",
    "purify DATA --pretrain byol": "--pretrain is 'byol'",
    "purify DATA --min-precision 2": "--min-precision is 2.0; use a share from 0 to 1",
    "purify DATA --min-precision much": "'much' is not a valid float",
    "purify DATA --seed -1": "--seed is -1",
    "purify DATA --devices 0": "--devices is 0",
    "purify DATA --num-nodes 0": "--num-nodes is 0",
    "purify DATA --epochs 0": "--epochs is 0",
    "purify DATA --precision half": "'half' is not one of",
    "purify DATA --features FEATURES --method dmlp": "there are no checked rows; pass some",
    "purify DATA --features FEATURES --method clid --upper-loss ce-clean": "or use --upper-loss c",
    "purify DATA --features FEATURES --clean-set CLEAN --device abacus": "unknown device 'abacus'",
    "purify DATA --features FEATURES --clean-set-drawn random": "without --clean-set; give both",
    "purify DATA --features FEATURES --clean-label-column right": "no clean set has this column",
    "purify nothing.csv": "nothing.csv",
    "embed DATA --features FEATURES": "has no images to learn from",
    "pretrain DATA --features FEATURES": "has no images to learn from",
    "retrain nothing": "there is no such file",
    "retrain nothing --method magic": "--method is 'magic'; use one of ce",
    "retrain nothing --labels true": "'true' is not one of",
    "retrain nothing --epochs 0": "--epochs is 0",
    "retrain nothing --seed -1": "--seed is -1",
    "retrain nothing --test-features FEATURES": "--test-features comes without --test; name the",
    "evaluate nothing --truth DATA": "there is no such file",
    "evaluate nothing --truth DATA --ood-features FEATURES": "--ood-features comes without --ood",
    "evaluate nothing": "Missing option '--truth' or '--ood'",
    "evaluate nothing --ood DATA": "there is no trained model; run labelfix retrain",
    "retrain nothing --set magic=1": "ce has no setting 'magic'",
    "corrupt DATA --noise white --rate 0.1": "--noise is 'white'",
    "corrupt DATA --noise symmetric": "Missing option '--rate'",
    "corrupt DATA --noise symmetric --rate 2": "--rate is 2.0",
    "corrupt DATA --noise symmetric --rate 0.1 --seed -1": "--seed is -1",
    "corrupt DATA --features FEATURES --noise asymmetric --rate 0.1 --map a=b": "names no two",
    "demo FOLDER": "is not empty and is no demo of labelfix",
    "demo new --seed -1": "--seed is -1",
}  # fmt: skip


@pytest.mark.parametrize("command", MISTAKES)
def test_mistakes_are_one_line_and_status_2(
    command, feature_files, labelfix, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = feature_files()
    names = {
        "DATA": files.data,
        "CLEAN": files.clean,
        "FEATURES": files.features,
        "FOLDER": files.folder,
    }
    done = labelfix(*[names.get(word, word) for word in command.split()])
    assert done.status == 2
    assert done.out == ""
    assert MISTAKES[command] in done.error


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


def test_collapsed_learning_is_status_1(labelfix, monkeypatch, feature_files, tmp_path):
    from labelfix.errors import DegenerateLearningError

    def collapse(*_, **settings):
        raise DegenerateLearningError("dmlp: predictions collapsed onto 1 of 3 classes")

    monkeypatch.setattr(purify, "run_methods", collapse)
    files = feature_files()
    done = labelfix(*files.purify, "--out", tmp_path / "run", "--json")
    assert done.status == 1
    assert done.out == ""
    assert done.error.endswith("collapsed onto 1 of 3 classes; nothing was written")
    assert not (tmp_path / "run" / "labels.parquet").exists()


TROUBLE = {
    "OUT: No space left on device; solve that, then run the": OSError(
        28, "No space left on device"
    ),
    "x.npy: Permission denied; solve": PermissionError(13, "Permission denied", "x.npy"),
    "OUT: 10 requested and 2 written; solve": OSError("10 requested\nand 2 written"),
    "out of memory (no 9 GiB); free some": MemoryError("no 9 GiB"),
    "out of memory (CUDA is full); free some": torch.OutOfMemoryError("CUDA is full\nmore"),
    "out of memory ([cpu] can't allocate memory: 9); free": RuntimeError(
        "[cpu] can't allocate memory: 9\nstack"
    ),
}


@pytest.mark.parametrize("words", TROUBLE)
def test_a_full_disk_or_memory_is_one_line_and_status_1(
    words, labelfix, monkeypatch, feature_files, tmp_path
):

    def fail(*_, **settings):
        raise TROUBLE[words]

    monkeypatch.setattr(purify, "write_outputs", fail)
    files = feature_files()
    done = labelfix(*files.purify, "--out", tmp_path / "run")
    assert done.status == 1
    assert words.replace("OUT", str(tmp_path / "run")) in done.error
    assert not (tmp_path / "run" / "labels.parquet").exists()


DAMAGE = {
    "neighbours/rows.npy": None,
    "neighbours/similarities.npy": b"x",
    "purify/auxiliary.npy": "cut",
    "purify/training_log.json": b"{",
    "purify/folds.npy": b"",
    "score/scores.npz": "cut",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_stage_is_one_line_that_says_fresh(name, labelfix, feature_files, tmp_path):
    files, run = feature_files(), tmp_path / "run"
    command = [*files.purify, "--out", run]
    assert labelfix(*command).status == 0
    file, before = run / "stages" / name, (run / "labels.parquet").read_bytes()
    content = DAMAGE[name]
    if content is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-40] if content == "cut" else content)
    done = labelfix(*command)
    assert done.status == 2
    assert f"{file.parent}: a file of this stage is missing or damaged; run" in done.error
    assert "--fresh" in done.error
    assert labelfix(*command, "--fresh").status == 0
    assert (run / "labels.parquet").read_bytes() == before


def test_an_interrupt_is_status_1(labelfix, monkeypatch, feature_files, tmp_path):

    def interrupt(*_, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(purify, "run_methods", interrupt)
    files = feature_files()
    done = labelfix(*files.purify, "--out", tmp_path / "run")
    assert done.status == 1
    assert "interrupted; run the same command again: it goes on where it stopped" in done.error

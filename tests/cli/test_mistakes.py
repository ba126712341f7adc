"""Mistakes and trouble: one line, and an exit status that says whose."""

import pytest
import torch

from labelfix.workflows import purify

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


def test_collapsed_learning_is_status_1(labelfix, monkeypatch, feature_files, tmp_path):
    from labelfix.errors import DegenerateLearningError

    def collapse(*_, **settings):
        raise DegenerateLearningError("dmlp: predictions collapsed onto 1 of 3 classes")

    monkeypatch.setattr(purify, "predict", collapse)
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
    "purify/log_probabilities-dmlp.npy": b"",
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

    monkeypatch.setattr(purify, "predict", interrupt)
    files = feature_files()
    done = labelfix(*files.purify, "--out", tmp_path / "run")
    assert done.status == 1
    assert "interrupted; run the same command again: it goes on where it stopped" in done.error

"""The recipes' tiny forms: the same code on generated images and few digits."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "pipelines"


def recipe(name, monkeypatch):
    """A recipe as a module, with its neighbours in reach as when it is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("method", "noise", "right"),
    [("emlc", "symmetric", 0.55), ("ebomlc", "symmetric", 0.5), ("clid", "human", 0.6)],
)
def test_papers_settings_in_their_tiny_form(monkeypatch, tmp_path, capsys, method, noise, right):
    main = recipe("cifar10_meta", monkeypatch).main
    scratch = ["--scratch", str(tmp_path), "--device", "cpu"]
    found = main(["--tiny", "--method", method, "--noise", noise, *scratch])
    assert 0 <= found["test_accuracy"] <= 1
    assert found["given"] == pytest.approx(right, abs=0.1 if noise == "human" else 0.01)
    last = capsys.readouterr().out.split("epoch   2/2")[1]
    assert " upper 0.000 " not in last  # clid's teacher rests in the first epoch
    assert {file.name for file in tmp_path.iterdir()} == {"smallconv.safetensors", "smallconv.npy"}


def test_the_table_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    from labelfix.predictors.bilevel import registry

    monkeypatch.setattr(registry, "FEATURE_STEPS", 20)
    main, out = recipe("table_methods", monkeypatch).main, tmp_path / "cells.jsonl"
    words = ["--tiny", "--out", str(out), "--methods"]
    main([*words, "ce"])
    first = json.loads(out.read_text())
    assert first["given"] == pytest.approx(0.6, abs=0.05)
    assert 0 <= first["student"] <= 1
    cells = main([*words, "ce", "mlc", "dmlp"])
    assert [cell["method"] for cell in cells] == ["ce", "mlc", "dmlp"]
    assert cells[0] == first
    assert cells[1]["teacher"] is not None
    assert len(out.read_text().splitlines()) == 3
    assert "digits  symmetric 40" in capsys.readouterr().out

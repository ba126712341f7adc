"""labelfix demo: the tour's data, and the tour itself."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from PIL import Image

from labelfix.errors import InputError
from labelfix.workflows import demo


def test_the_tours_data(tmp_path):
    commands = demo.prepare(tmp_path / "tour", seed=0)
    assert [command[0] for command in commands] == ["corrupt", "purify", "evaluate", "retrain"]
    right, checked, test = (
        pd.read_csv(tmp_path / "tour" / f"{name}.csv") for name in ("right", "checked", "test")
    )
    assert (len(right), len(checked), len(test)) == (1397, 100, 400)
    assert set(checked["image"]) < set(right["image"])
    assert not set(test["image"]) & set(right["image"])
    with Image.open(tmp_path / "tour" / right["image"][0]) as image:
        assert image.size == (8, 8)
    before = (tmp_path / "tour" / "right.csv").stat().st_mtime_ns
    assert demo.prepare(tmp_path / "tour", seed=0) == commands
    assert (tmp_path / "tour" / "right.csv").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="holds the demo of another seed"):
        demo.prepare(tmp_path / "tour", seed=1)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and is no demo of labelfix"):
        demo.prepare(tmp_path, seed=0)


@pytest.mark.slow
def test_the_tour_keeps_its_promise(tmp_path):
    code = "from labelfix.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "tour"],
        cwd=tmp_path, capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for command in ("corrupt", "purify", "evaluate", "retrain"):
        assert f"$ labelfix {command}" in done.stdout
    assert "The result in two lines" in done.stdout
    found = demo.result_of(tmp_path / "tour")
    assert found.wrong_before > 400
    assert found.wrong_after <= 0.3 * found.wrong_before
    assert found.test_accuracy_purified - found.test_accuracy_given >= 0.05
    evidence = json.loads((tmp_path / "tour" / "run" / "summary.json").read_text())["evidence"]
    assert evidence["label_accuracy_after"]["value"] > evidence["label_accuracy_before"]["value"]

"""Runs the command line in this process."""

import pytest

from labelfix import inputs
from labelfix.cli import main
from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig


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
    return purify.purify_dataset(
        dataset, tmp_path / "run", PurifyConfig(device="cpu", method="dmlp")
    )

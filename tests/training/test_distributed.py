"""Several nodes: one command, one output folder, one that writes."""

import sys
from datetime import timedelta

import pandas as pd
import pytest

from labelfix.errors import InputError
from labelfix.training import distributed
from labelfix.training.distributed import barrier, is_rank_zero, require_nodes

ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}


@pytest.fixture
def environment(monkeypatch):
    def put(**changes):
        for name, value in (ADDRESS | changes).items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return put


def test_who_writes(environment):
    environment()
    assert is_rank_zero(1)
    assert not is_rank_zero(2)
    environment(NODE_RANK="0")
    assert is_rank_zero(2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_ADDR": None}, "--num-nodes is 2, but MASTER_ADDR is not set; set MASTER_ADDR,"),
        ({"NODE_RANK": None}, "NODE_RANK is not set"),
        ({"NODE_RANK": "2"}, "NODE_RANK is '2'; use a number from 0 to 1"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT is 'http'; use a number from 0 to 65535"),
    ],
)
def test_a_wrong_environment_is_named(environment, changes, message):
    environment()
    require_nodes(2)
    environment(**changes)
    require_nodes(1)
    with pytest.raises(InputError, match=message):
        require_nodes(2)


def test_a_first_node_that_never_comes_is_named(environment, monkeypatch):
    environment(MASTER_PORT="1")
    monkeypatch.setattr(distributed, "PATIENCE", timedelta(seconds=1))
    with pytest.raises(InputError, match=r"the first node .* did not finish"):
        barrier(2)


_NODE = """
import sys
from labelfix.cli import main
if __name__ == "__main__":
    for command in " ".join(sys.argv[1:]).split(" then "):
        main.main(args=command.split(), standalone_mode=False)
"""


@pytest.fixture
def commands_on_two_nodes(tmp_path, two_nodes):
    """Runs labelfix commands, separated by "then", on two nodes; nothing may be left over."""

    def run(*words):
        script = tmp_path / "node.py"
        script.write_text(_NODE)
        statuses, said = two_nodes(sys.executable, script, *words, "--num-nodes", 2)
        assert statuses == [0, 0], said
        assert not [file for file in tmp_path.rglob("*") if "labelfix-" in file.name]
        assert not [file for file in tmp_path.rglob("*") if ".partial" in file.name]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", "ebomlc"])
def test_purify_and_retrain_features(method, feature_files, tmp_path, commands_on_two_nodes):
    files, run = feature_files(), tmp_path / "run"
    commands_on_two_nodes(
        "purify", files.data, "--features", files.features, "--clean-set", files.clean,
        "--out", run, "--method", method, "--device", "cpu", "--num-nodes", 2, "then",
        "retrain", run, "--device", "cpu", "--epochs", 2,
    )  # fmt: skip
    labels = pd.read_parquet(run / "labels.parquet").set_index("id")["label"]
    right = pd.read_csv(files.truth).set_index("id")["label"]
    assert (labels == right).mean() > 0.95
    assert (run / "retrain" / "metrics.json").exists()


@pytest.mark.slow
def test_purify_images(image_files, tmp_path, commands_on_two_nodes):
    folder, run = image_files(), tmp_path / "run"
    command = (
        "purify", folder / "data.csv", "--clean-set", folder / "clean.csv", "--out", run,
        "--epochs", 2, "--method", "dmlp", "--device", "cpu",
    )  # fmt: skip
    commands_on_two_nodes(*command)
    stages = ["embed", "images", "neighbours", "pretrain", "purify", "score"]
    assert sorted(place.name for place in (run / "stages").iterdir() if place.is_dir()) == stages
    written = (run / "labels.parquet").read_bytes()
    commands_on_two_nodes(*command, "--fresh")
    assert (run / "labels.parquet").read_bytes() == written

"""Small datasets that the tests share. One thread: on problems this small, more only wait."""

import os
import socket
import subprocess

os.environ.setdefault("OMP_NUM_THREADS", "1")

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from builders import draw_picture, make_blobs
from PIL import Image

from labelfix.decide.soft_targets import FoldTargets


def pytest_collection_modifyitems(items):
    """A slow test that hangs fails: processes may wait for each other for ever."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def blobs():
    return make_blobs


@pytest.fixture
def targets_of():
    """Makes targets of soft labels ``(G, N, K)``, without noise or given labels to learn from."""

    def make(soft_GNK, folds) -> FoldTargets:
        identity_KK = np.eye(soft_GNK.shape[2], dtype=np.float32)
        return FoldTargets(
            soft_GNK=soft_GNK.astype(np.float32),
            transition_GKK=np.tile(identity_KK, (len(soft_GNK), 1, 1)),
            given=np.full(len(folds), -1, np.int32),
            folds=folds,
        )

    return make


@dataclass(frozen=True, kw_only=True)
class Files:
    """A dataset of features on disk, as a user has it."""

    folder: Path
    data: Path
    clean: Path
    features: Path
    truth: Path

    @property
    def purify(self) -> tuple[object, ...]:
        """The command that purifies it, in a second."""
        return (
            "purify", self.data, "--features", self.features, "--clean-set", self.clean,
            "--method", "dmlp", "--device", "cpu",
        )  # fmt: skip


@pytest.fixture
def feature_files(tmp_path):
    """Writes blobs as data.csv (one row in ten without a label), clean.csv, features.npy."""

    def write(rows=200, **settings) -> Files:
        made = make_blobs(rows=rows, **settings)
        names = np.array(["ant", "bee", "cat", None], dtype=object)
        ids = np.array([f"r{row:03d}" for row in range(rows)])
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        table = pd.DataFrame({"id": ids, "label": names[made.given], "note": np.arange(rows)})
        table.to_csv(folder / "data.csv", index=False)
        right = pd.DataFrame({"id": ids, "label": names[made.right]})
        right.to_csv(folder / "truth.csv", index=False)
        right[made.checked >= 0].to_csv(folder / "clean.csv", index=False)
        np.save(folder / "features.npy", made.features)
        return Files(
            folder=folder,
            data=folder / "data.csv",
            clean=folder / "clean.csv",
            features=folder / "features.npy",
            truth=folder / "truth.csv",
        )

    return write


@pytest.fixture
def image_files(tmp_path):
    """Writes 60 pictures of 3 classes: data.csv (30 % wrong), clean.csv, test.csv, right.csv."""

    def write(rows=60, tested=12, checked=18) -> Path:
        folder = tmp_path / "pictures"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        names, random = np.array(["ant", "bee", "cat"]), np.random.default_rng(0)
        codes = np.arange(rows + tested) % 3
        paths = [f"images/{number:03d}.png" for number in range(rows + tested)]
        for number, (code, path) in enumerate(zip(codes, paths, strict=True)):
            Image.fromarray(draw_picture(code, number)).save(folder / path)
        table = pd.DataFrame({"image": paths, "label": names[codes]})
        table[rows:].to_csv(folder / "test.csv", index=False)
        table[:rows].to_csv(folder / "right.csv", index=False)
        table[:checked].to_csv(folder / "clean.csv", index=False)
        wrong = random.permutation(rows)[: round(0.3 * rows)]
        table.loc[wrong, "label"] = names[(codes[wrong] + 1) % 3]
        table[:rows].to_csv(folder / "data.csv", index=False)
        return folder

    return write


@pytest.fixture
def two_nodes(tmp_path):
    """Runs a command as two nodes would, each with its own temporary folder.

    Words that hold {rank} differ. Returns each node's exit status and what it printed.
    """

    def run(*words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        nodes = []
        for rank in range(2):
            own = tmp_path / f"disk{rank}"
            own.mkdir(exist_ok=True)
            address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TMPDIR": str(own)}
            nodes.append(
                subprocess.Popen(
                    [str(word).replace("{rank}", str(rank)) for word in words],
                    env=os.environ | address | {"NODE_RANK": str(rank), "PYTHONPATH": os.getcwd()},
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                )
            )  # fmt: skip
        try:
            said = [node.communicate(timeout=300)[0] for node in nodes]
        finally:
            for node in nodes:
                node.kill()
        return [node.returncode for node in nodes], said

    return run

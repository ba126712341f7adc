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
from PIL import Image

from labelfix.methods.targets import FoldTargets


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Gaussian blobs with noisy labels: arrays as the methods take them, -1 = none."""

    features: np.ndarray
    right: np.ndarray
    given: np.ndarray
    checked: np.ndarray
    folds: np.ndarray


def make_blobs(
    rows=300, classes=3, columns=8, noise=0.3, checked=45, spread=3.0, missing=0, seed=0
) -> Blobs:
    """Rows in folds 0..4 by position, labels flipped uniformly, the first rows checked."""
    random = np.random.default_rng(seed)
    right = random.permutation(np.arange(rows) % classes).astype(np.int32)
    centres = spread * np.linalg.qr(random.normal(size=(columns, columns)))[0][:classes]
    features = (centres[right] + random.normal(size=(rows, columns))).astype(np.float32)
    given = right.copy()
    flipped = random.permutation(rows)[: round(noise * rows)]
    given[flipped] = (right[flipped] + random.integers(1, classes, len(flipped))) % classes
    given[random.permutation(rows)[:missing]] = -1
    known = np.where(np.arange(rows) < checked, right, -1).astype(np.int32)
    folds = (np.arange(rows) % 5).astype(np.int8)
    return Blobs(features=features, right=right, given=given, checked=known, folds=folds)


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


def draw_picture(code: int, number: int, size: int = 8) -> np.ndarray:
    """A bright quarter on dark noise; where it lies and its colour tell the class."""
    random = np.random.default_rng(1000 * code + number)
    pixels = random.integers(0, 60, (size, size, 3), dtype=np.uint8)
    half = size // 2
    pixels[half * (code // 2) :, half * (code % 2) :][:half, :half, code] += 180
    return pixels


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

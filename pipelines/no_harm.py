"""Does purify ever make labels worse? A grid of noises, rates and numbers of checked rows.

    python pipelines/no_harm.py DATA_FOLDER --out CELLS.jsonl [--part 0/2] [--data digits,cifar]
    python pipelines/no_harm.py DATA_FOLDER --out CELLS.jsonl --digits-table
    python pipelines/no_harm.py DATA_FOLDER --out CELLS.jsonl --apart

Data: scikit-learn's digits (1,797 x 64 pixels) and the first 10,000 rows of CIFAR-10 as features
(DATA_FOLDER holds `cifar10_features_train.npy`, 512 unsupervised features a row, and
`cifar10_truth.csv`, columns id, label, row i = official train image i). Noise: symmetric,
asymmetric (each class to the next) and instance-dependent, at 0, 5, 10, 20, 40, 60 and 80 %; 100,
300 or 1,000 checked rows drawn uniformly. One cell = one call of `labelfix.purify` with its
defaults; the figures are over the rows that were not checked. Finished cells are appended to CELLS
and skipped by a second call; `--part i/n` takes every n-th cell, so that n processes can share the
grid. `--apart` runs 24 cells whose 100 checked rows are a clean set beside the data, so that no
given label is audited. `--digits-table` runs eleven digits cells (100 checked rows, seeds 0 to 4)
beside :func:`sketch`, the forty lines where the project began, on the same draws. At the end every
cell of CELLS is summed up.

Measured on a 2-core AMD EPYC (bf16) with other work, 8 to 15 s a digits cell and 20 to 50 s a CIFAR
one, one seed. All 126 cells: no cell lost, not one label changed at 0 % noise, and the evidence's
interval held the accuracy of the unchecked rows in 119. CIFAR, 100 checked rows: symmetric 5 % 95.0
-> 96.0, 20 % 80.0 -> 86.3, 40 % 60.0 -> 74.4, 80 % 20.0 -> 37.3; asymmetric 20 % 80.0 -> 91.7, 40 %
60.0 -> 85.3, 60 % 40.0 -> 65.5, 80 % 20.0 -> 69.2; instance 20 % 79.3 -> 84.8, 40 % 59.6 -> 74.5,
80 % 20.0 -> 37.8.

`--apart`: 24 cells, none lost (CIFAR asymmetric 5 % level: 95.0 -> 95.0), not one label changed at
0 % noise; digits 40 % symmetric 98.0, asymmetric 97.7, instance 97.5; CIFAR 72.8, 78.9, 73.1. While
the least margin took no noise for granted there, the last three were 69.4, 74.9 and 70.1.

`--digits-table`, none lost; mean of five seeds, with the least margin (0 %: one row in its prior):

    digits asymmetric 0.05 | 100: 94.9 -> 99.76 (sketch 99.55)
    digits asymmetric 0.2 | 100: 79.9 -> 99.54 (sketch 98.62)
    digits asymmetric 0.4 | 100: 60.0 -> 98.75 (sketch 98.86)
    digits instance 0.05 | 100: 94.3 -> 99.60 (sketch 99.69)
    digits instance 0.2 | 100: 79.7 -> 99.01 (sketch 98.88)
    digits instance 0.4 | 100: 59.6 -> 98.20 (sketch 98.23)
    digits symmetric 0.0 | 100: 100.0 -> 100.00 (sketch 100.00)
    digits symmetric 0.05 | 100: 94.9 -> 99.52 (sketch 99.53)
    digits symmetric 0.2 | 100: 79.9 -> 99.22 (sketch 98.74)
    digits symmetric 0.4 | 100: 60.0 -> 98.36 (sketch 98.94)
    digits symmetric 0.7 | 100: 29.9 -> 95.29 (sketch 96.03)

The project began with the sketch's figures from one draw with fewer wrong labels: symmetric 99.8,
98.6, 97.1, 69.5; next class 99.7, 97.3, 89.6; instance 96.1, 90.8, 79.2. All are reached but the
first, by 0.28 points. That figure is a good draw's: over 30 draws (seeds 0 to 29) the sketch has
99.67 in the mean (standard deviation of a draw 0.20; 8 draws reach 99.8) and labelfix 99.63 (0.18;
4 draws), a difference of 0.04 with a standard error of 0.03. What stays wrong there is a handful of
odd digits (rows 5, 794, 1658 and 1662 of scikit-learn's) that look like another class to every
witness. The sketch as written here does better in six cells, by 0.01 to 0.74 points: its machine is
the better classifier of 8 x 8 digits, and it learns twice from its own labels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.datasets import load_digits
from sklearn.svm import SVC

import labelfix
from labelfix.equations import corruption, posterior

NOISES = ("symmetric", "asymmetric", "instance")
RATES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
CHECKED = (100, 300, 1000)
TABLE = {
    "symmetric": (0.0, 0.05, 0.2, 0.4, 0.7),
    "asymmetric": (0.05, 0.2, 0.4),
    "instance": (0.05, 0.2, 0.4),
}
KEYS = ("data", "noise", "rate", "checked", "seed")
Cell = dict[str, Any]


def load(name: str, folder: Path) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Features and right codes."""
    if name == "digits":
        features, right = load_digits(return_X_y=True)
        return features.astype(np.float32), right.astype(np.int32)
    features = np.load(folder / "cifar10_features_train.npy", mmap_mode="r")[:10_000]
    names = pd.read_csv(folder / "cifar10_truth.csv")["label"][:10_000]
    return features.astype(np.float32), pd.factorize(names, sort=True)[0].astype(np.int32)


def break_labels(
    right: NDArray[np.int32], features: NDArray[np.float32], cell: Cell
) -> NDArray[np.int32]:
    generator = np.random.default_rng(cell["seed"])
    rate, classes = cell["rate"], int(right.max()) + 1
    if cell["noise"] == "symmetric":
        return corruption.symmetric(right, rate, classes, generator)
    if cell["noise"] == "asymmetric":
        following = (np.arange(classes, dtype=np.int32) + 1) % classes
        return corruption.asymmetric(right, rate, following, generator)
    return corruption.instance_dependent(right, rate, features, classes, generator)


def sketch(
    features: NDArray[np.float32], given: NDArray[np.int32], audited: dict[int, int], seed: int
) -> NDArray[np.int64]:
    """The level to beat: a support vector machine's out-of-fold p, and three fitted weights.

    ``log q = a log p(y|x) + b log T[y, given] + c [y = given]`` by maximum likelihood on the
    checked rows, T shrunk towards symmetric noise; then two rounds of training on q.
    """
    classes, rows = int(given.max()) + 1, np.array(list(audited))
    right = np.array(list(audited.values()))
    fold = np.random.default_rng(seed).permutation(len(given)) % 5
    labels, trust = given.astype(np.int64), np.ones(len(given))
    labels[rows] = right

    def likelihood(seen: NDArray[np.bool_], codes: NDArray[np.int32]) -> NDArray[np.float64]:
        known = [torch.from_numpy(each[seen].astype(np.int64)) for each in (right, given[rows])]
        return np.log(posterior.transition_matrix(*known, classes).numpy())[:, codes].T

    unseen = np.empty((len(rows), classes))
    for each in range(5):
        own = fold[rows] == each
        unseen[own] = likelihood(~own, given[rows][own])
    everywhere, agrees = likelihood(np.ones(len(rows), bool), given), np.eye(classes)[given]
    for _ in range(3):
        logs = np.empty((len(given), classes))
        for each in range(5):
            train = fold != each
            machine = SVC(gamma=0.001, probability=True, random_state=0)
            machine.fit(features[train], labels[train], sample_weight=trust[train])
            logs[~train] = np.log(machine.predict_proba(features[~train]).clip(1e-9))
        terms = np.stack([logs[rows], unseen, agrees[rows]], -1)

        def loss(weights: NDArray[np.float64], terms: NDArray[np.float64] = terms) -> float:
            chosen = log_softmax(terms @ weights, 1)[np.arange(len(rows)), right]
            return -chosen.sum() + 0.01 * ((weights - [1, 1, 0]) ** 2).sum()

        fitted = minimize(loss, [1.0, 1.0, 0.0]).x
        q = softmax(np.stack([logs, everywhere, agrees], -1) @ fitted, 1)
        labels, trust = q.argmax(1), q.max(1)
        labels[rows], trust[rows] = right, 1
    return labels


def purify(
    features: NDArray[np.float32], given: NDArray[np.int32], audited: dict[int, int], cell: Cell
) -> tuple[labelfix.Result, NDArray[np.bool_]]:
    """The result, and which rows it is about: all, or where checked rows lie apart the others."""
    rest = np.ones(len(given), bool)
    if not cell.get("apart"):
        return labelfix.purify(features, given, audited=audited, seed=cell["seed"]), rest
    rows = np.array(list(audited))
    rest[rows] = False
    clean = {"clean_features": features[rows], "clean_labels": np.array(list(audited.values()))}
    return labelfix.purify(features[rest], given[rest], **clean, seed=cell["seed"]), rest


def measure(cell: Cell, folder: Path, beside_sketch: bool) -> Cell:
    features, right = load(cell["data"], folder)
    given = break_labels(right, features, cell)
    drawn = np.random.default_rng(cell["seed"] + 1000).choice(
        len(right), cell["checked"], replace=False
    )
    audited = {int(row): int(right[row]) for row in drawn}
    started = time.monotonic()
    found, rest = purify(features, given, audited, cell)
    seconds = round(time.monotonic() - started, 1)
    labels = np.full(len(right), -1, np.int32)
    labels[rest] = found.labels
    unseen = np.ones(len(right), bool)
    unseen[drawn] = False
    changed = (labels != given)[unseen]
    beside = {}
    if beside_sketch:
        others = sketch(features, given, audited, cell["seed"])
        beside["sketch"] = float((others == right)[unseen].mean())
    inside = found.evidence.label_accuracy_after
    return (
        cell
        | {
            "before": float((given == right)[unseen].mean()),
            "after": float((labels == right)[unseen].mean()),
            "changed": float(changed.mean()),
            "evidence": [inside.low, inside.high],
            "seconds": seconds,
        }
        | beside
    )


def grid(data: list[str]) -> Iterator[Cell]:
    for name in data:
        for noise in NOISES:
            for rate in RATES:
                for checked in CHECKED:
                    values = (name, noise, rate, checked, 0)
                    yield dict(zip(KEYS, values, strict=True))


def apart() -> Iterator[Cell]:
    """100 checked rows that are not rows of the data."""
    for name in ("digits", "cifar"):
        for noise in NOISES:
            for rate in (0.0, 0.05, 0.2, 0.4):
                yield dict(zip(KEYS, (name, noise, rate, 100, 0), strict=True)) | {"apart": True}


def digits_table() -> Iterator[Cell]:
    for noise, rates in TABLE.items():
        for rate in rates:
            for seed in range(5):
                yield dict(zip(KEYS, ("digits", noise, rate, 100, seed), strict=True))


def summarise(cells: list[Cell]) -> None:
    """One line for each data set, noise and rate: before -> after, by checked rows."""
    frame = pd.DataFrame(cells)
    frame["gain"] = 100 * (frame["after"] - frame["before"])
    shown_columns = ["before", "after", *({"sketch"} & set(frame))]
    means = 100 * frame.groupby(list(KEYS[:4]))[shown_columns].mean()
    for place, group in means.groupby(list(KEYS[:3])):
        shown = ", ".join(
            f"{name[3]}: {row.before:.1f} -> {row.after:.2f}"
            + (f" (sketch {row.sketch:.2f})" if "sketch" in shown_columns else "")
            for name, row in zip(group.index, group.itertuples(), strict=True)
        )
        print(*place, "|", shown)
    clean = frame[frame["rate"] == 0]
    print(f"cells: {len(frame)}; worst gain: {frame['gain'].min():+.2f} points", end="")
    print(f"; below -0.3: {(frame['gain'] < -0.3).sum()}", end="")
    print(f"; most changed at 0 %: {100 * clean['changed'].max():.2f} %" if len(clean) else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--data", default="digits,cifar")
    parser.add_argument("--digits-table", action="store_true")
    parser.add_argument("--apart", action="store_true")
    options = parser.parse_args()
    part, parts = map(int, options.part.split("/"))
    wanted = list(grid(options.data.split(",")))
    if options.apart or options.digits_table:
        wanted = list(apart() if options.apart else digits_table())
    for cell in wanted[part::parts]:
        lines = options.out.read_text().splitlines() if options.out.exists() else []
        if any(cell.items() <= json.loads(line).items() for line in lines):
            continue
        line = json.dumps(measure(cell, options.folder, options.digits_table))
        print(line, flush=True)
        with options.out.open("a") as file:
            file.write(line + "\n")
    summarise([json.loads(line) for line in options.out.read_text().splitlines()])


if __name__ == "__main__":
    main()

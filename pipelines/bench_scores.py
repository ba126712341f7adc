"""How well the scores of single rows find wrong labels, on CIFAR-10's human labels.

    python pipelines/bench_scores.py DATA_FOLDER

DATA_FOLDER holds, row i = official CIFAR-10 train image i: `cifar10_features_train.npy` (50,000 x D
features; any that used no label), `cifar10_truth.csv`, `cifar10n_worse.csv`, `cifar10n_aggre.csv`
(columns id, label; the official labels, and the human labels of CIFAR-10N, from
https://github.com/UCSC-REAL/cifar-10-100n) and `cifar10_checked1000.csv` (id, label of 1,000 rows
drawn uniformly: the clean set).

Predictions are DMLP's, out of fold; the posterior is the judge's. A second line for each set hides
the checked rows from the scores, so that CLID gives the direction. AUROC over the rows that were
not checked: label_reliability and clid for wrong given labels, pseudo_reliability for wrong labels
of the model, and the correlation (Pearson) of the two reliabilities.

Measured in 3 minutes on a 2-core AMD EPYC under other load (CPU seconds count busy waits):

    labels  direction       label  pseudo    clid   corr.   CPU s
    worse   soft_labels     0.876   0.779   0.859   0.236    22.6
    worse   clid            0.834   0.700   0.859   0.202    26.7
    aggre   soft_labels     0.853   0.784   0.849   0.535    19.3
    aggre   clid            0.806   0.713   0.849   0.472    16.8

With an MLP beside DMLP (the reliabilities then judge the MLP's labels): 0.878, 0.763
and 0.863 on worse, 0.853, 0.755 and 0.851 on aggre. The goals: 0.75, 0.75 and 0.85 on worse.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from labelfix.methods import dmlp, folds
from labelfix.methods.judge import judge
from labelfix.methods.scores import Scores, score

HEADER = f"{'labels':8}{'direction':13}{'label':>8}{'pseudo':>8}{'clid':>8}{'corr.':>8}{'CPU s':>8}"


def codes(table: Path, rows: int, names: list[str]) -> NDArray[np.int32]:
    """Class codes by row, -1 where the table has no such row."""
    read = pd.read_csv(table)
    found = np.full(rows, -1, np.int32)
    found[read["id"].to_numpy()] = pd.Index(names).get_indexer(read["label"])
    return found


def line(
    which: str,
    scores: Scores,
    wrong: NDArray[np.bool_],
    mistaken: NDArray[np.bool_],
    seconds: float,
) -> str:
    label, pseudo = scores.label_reliability, scores.pseudo_reliability
    figures = (
        roc_auc_score(wrong, -label),
        roc_auc_score(mistaken, -pseudo),
        roc_auc_score(wrong, scores.clid),
        np.corrcoef(label, pseudo)[0, 1],
    )
    shown = "".join(f"{figure:8.3f}" for figure in figures)
    return f"{which:8}{scores.direction:13}{shown}{seconds:8.1f}"


def part(scores: Scores, rows: NDArray[np.bool_]) -> Scores:
    return Scores(
        label_reliability=scores.label_reliability[rows],
        pseudo_reliability=scores.pseudo_reliability[rows],
        clid=scores.clid[rows],
        direction=scores.direction,
    )


def main(folder: Path) -> None:
    features = np.load(folder / "cifar10_features_train.npy", mmap_mode="r")
    rows = len(features)
    names = sorted(pd.read_csv(folder / "cifar10_truth.csv")["label"].unique())
    truth = codes(folder / "cifar10_truth.csv", rows, names)
    checked = codes(folder / "cifar10_checked1000.csv", rows, names)
    unseen = checked < 0
    print(HEADER)
    for which in ("worse", "aggre"):
        given = codes(folder / f"cifar10n_{which}.csv", rows, names)
        strata = (checked + 1) * (len(names) + 1) + given + 1
        fold = folds.assign(np.arange(rows).astype(np.uint64), strata, seed=0)
        logs = dmlp.purify(features, given, checked, fold, len(names)).log_probabilities
        soft = judge({"dmlp": logs}, given, checked, fold).soft_labels
        for known in (checked, np.full_like(checked, -1)):
            start = time.process_time()
            found = score(features, given, known, fold, soft, logs)
            seconds = time.process_time() - start
            wrong, mistaken = given != truth, logs.argmax(1) != truth
            shown = part(found, unseen)
            print(line(which, shown, wrong[unseen], mistaken[unseen], seconds), flush=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python pipelines/bench_scores.py DATA_FOLDER")
    main(Path(sys.argv[1]))

"""Human labels of CIFAR-10: what purify makes of them, beside cleanlab on the same features.

    pip install 'labelfix[bench]'
    python pipelines/bench_cifar10n.py DATA_FOLDER [--draws 3] [--sets worse,aggre]

DATA_FOLDER holds, row i = official CIFAR-10 train image i: `cifar10_features_train.npy` (50,000 x D
features; any that used no label), `cifar10_truth.csv`, `cifar10n_worse.csv`, `cifar10n_aggre.csv`
(columns id, label; the official labels, and the human labels of CIFAR-10N, from
https://github.com/UCSC-REAL/cifar-10-100n) and `cifar10_checked1000.csv` (id, label of 1,000 rows
drawn uniformly: the first draw; the others are drawn here).

labelfix is `labelfix.purify` with its defaults. cleanlab is `find_label_issues` (its defaults) on
five-fold out-of-fold probabilities, of scikit-learn's logistic regression and of the same net as
labelfix's head trained on the given labels; flagged rows get the classifier's label. It takes no
checked rows. All figures are over the rows that were not checked in that draw:

    right    share of right labels after (%)          calib.  calibration error of the soft labels
    rank     AUROC of review_rank (cleanlab: of self-confidence) for wrong given labels
    alpha    AUROC of label_reliability for the same  beta    of pseudo_reliability for the model's
    clid     AUROC of clid for wrong given labels     corr.   Pearson, alpha with beta

Measured in one run of 36 minutes, one thread of a 2-core AMD EPYC that had two to four other
processes to run (seconds are wall time under that load, 50,000 rows each: 108 to 141 in an earlier
run beside one or two; the prior of `decide.threshold` was one row at -1 and one at 1, which
among hundreds of changed rows decides nothing):

    worse                              right calib.   rank  alpha   beta   clid  corr.      s
    given                              59.79
    labelfix, 1,000 checked, draw 1    75.16  0.007  0.909  0.877  0.760  0.859  0.243    286
    labelfix, 1,000 checked, draw 2    75.07  0.013  0.907  0.875  0.756  0.858  0.235    225
    labelfix, 1,000 checked, draw 3    74.97  0.017  0.908  0.876  0.758  0.861  0.235    297
    labelfix, nobody checked           72.12  0.075  0.897  0.834  0.696  0.852  0.209    147
    cleanlab, net                      70.75      -  0.874
    cleanlab, logistic regression      69.09      -  0.860

    aggre                              right calib.   rank  alpha   beta   clid  corr.      s
    given                              90.99
    labelfix, 1,000 checked, draw 1    92.09  0.003  0.901  0.852  0.768  0.847  0.540    401
    labelfix, 1,000 checked, draw 2    92.13  0.004  0.901  0.853  0.766  0.851  0.537    285
    labelfix, 1,000 checked, draw 3    92.04  0.004  0.901  0.851  0.771  0.845  0.540    177
    labelfix, nobody checked           91.77  0.040  0.883  0.806  0.691  0.846  0.483     91
    cleanlab, net                      81.93      -  0.881
    cleanlab, logistic regression      77.92      -  0.857

Again with that prior as it is, in bf16 on another machine (60 to 90 s of a busy core a run): worse
75.17, 74.91, 75.04, calibration 0.006 to 0.015, rank 0.907 to 0.909, nobody checked 72.17; aggre
92.03, 92.19, 91.93, calibration 0.003 to 0.006, rank 0.900 to 0.901, nobody checked 91.79.

CPU seconds of one thread on worse: the logistic regression 8, purify with `dmlp` 26 (73.8 % right),
with `auto` 116.

The goals on worse: 74.5 right, calibration 0.03, rank 0.90 and 0.03 above cleanlab's logistic
regression, alpha 0.75, beta 0.75, clid 0.85; 70 without checked rows. On aggre: 91.3 right.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import labelfix
from labelfix.decide.soft_targets import FoldTargets
from labelfix.equations.calibration import expected_calibration_error
from labelfix.features import folds
from labelfix.predictors.dmlp_naive import FoldMLPConfig, fit_fold_mlps
from labelfix.training.config import LoopConfig

CHECKED = 1000
COLUMNS = ("right", "calib.", "rank", "alpha", "beta", "clid", "corr.", "seconds")
Codes = NDArray[np.int32]


def codes(table: Path, names: list[str]) -> Codes:
    """Class codes by row, -1 where the table has no such row."""
    read = pd.read_csv(table)
    found = np.full(50_000, -1, np.int32)
    found[read["id"].to_numpy()] = pd.Index(names).get_indexer(read["label"])
    return found


def show(name: str, *figures: float) -> None:
    shown = [f"{figure:9.2f}" if figure > 1.5 else f"{figure:9.3f}" for figure in figures]
    print(f"{name:34}" + "".join(shown), flush=True)


def with_labelfix(
    name: str, features: NDArray[np.floating], given: Codes, truth: Codes, checked: Codes, seed: int
) -> None:
    audited = {int(row): int(checked[row]) for row in np.flatnonzero(checked >= 0)}
    started = time.monotonic()
    found = labelfix.purify(features, given, audited=audited, seed=seed)
    seconds = time.monotonic() - started
    unseen = checked < 0
    soft = torch.from_numpy(found.soft_labels[unseen])
    hit = torch.from_numpy(soft.argmax(1).numpy() == truth[unseen])
    wrong, right = (given != truth)[unseen], (found.labels == truth)[unseen]
    mistaken = (found.model_labels != truth)[unseen]
    label, pseudo = found.label_reliability[unseen], found.pseudo_reliability[unseen]
    show(
        name,
        100 * right.mean(),
        expected_calibration_error(soft.max(1).values, hit),
        roc_auc_score(wrong, -found.review_ranks[unseen]),
        roc_auc_score(wrong, -label),
        roc_auc_score(mistaken, -pseudo),
        roc_auc_score(wrong, found.clid[unseen]),
        np.corrcoef(label, pseudo)[0, 1],
        seconds,
    )


def with_cleanlab(name: str, predicted: NDArray[np.floating], given: Codes, truth: Codes) -> None:
    flagged = find_label_issues(given, predicted)
    after = np.where(flagged, predicted.argmax(1), given)
    confidence = predicted[np.arange(len(given)), given]
    show(name, 100 * (after == truth).mean(), np.nan, roc_auc_score(given != truth, -confidence))


def by_logistic_regression(features: NDArray[np.floating], given: Codes) -> NDArray[np.floating]:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    wide = features.astype(np.float32)
    return cross_val_predict(model, wide, given, cv=5, method="predict_proba")


def by_net(features: NDArray[np.floating], given: Codes) -> NDArray[np.floating]:
    """The head's net on the given labels as they are, out of fold."""
    classes = int(given.max()) + 1
    fold = folds.assign(np.arange(len(given)).astype(np.uint64), given, seed=0)
    hard = np.eye(classes, dtype=np.float32)[given]
    targets = FoldTargets(
        soft_GNK=np.broadcast_to(hard, (folds.FOLDS, *hard.shape)).copy(),
        transition_GKK=np.tile(np.eye(classes, dtype=np.float32), (folds.FOLDS, 1, 1)),
        given=np.full(len(given), -1, np.int32),
        folds=fold,
    )
    # on labels as they are twice the epochs learn more of the noise: 67.7 on worse, not 70.7
    config = FoldMLPConfig(forward_share=0.0, epochs=6)
    return np.exp(fit_fold_mlps(features, targets, config=config, loop=LoopConfig(epochs=1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--sets", default="worse,aggre")
    options = parser.parse_args()
    features = np.load(options.folder / "cifar10_features_train.npy")
    names = sorted(pd.read_csv(options.folder / "cifar10_truth.csv")["label"].unique())
    truth = codes(options.folder / "cifar10_truth.csv", names)
    for which in options.sets.split(","):
        given = codes(options.folder / f"cifar10n_{which}.csv", names)
        print(f"\n{which:34}" + "".join(f"{column:>9}" for column in COLUMNS))
        show("given", 100 * (given == truth).mean())
        for draw in range(options.draws):
            checked = codes(options.folder / "cifar10_checked1000.csv", names)
            if draw:
                rows = np.random.default_rng(draw).choice(len(truth), CHECKED, replace=False)
                checked = np.full(len(truth), -1, np.int32)
                checked[rows] = truth[rows]
            name = f"labelfix, 1,000 checked, draw {draw + 1}"
            with_labelfix(name, features, given, truth, checked, draw)
        nobody = np.full(len(truth), -1, np.int32)
        with_labelfix("labelfix, nobody checked", features, given, truth, nobody, 0)
        with_cleanlab("cleanlab, net", by_net(features, given), given, truth)
        logistic = by_logistic_regression(features, given)
        with_cleanlab("cleanlab, logistic regression", logistic, given, truth)


if __name__ == "__main__":
    main()

"""Every method on every noise: share of right labels, alone and as purify runs it, beside plain CE.

    python pipelines/table_methods.py DATA_FOLDER --out cells.jsonl
    python pipelines/table_methods.py DATA_FOLDER --tiny

DATA_FOLDER holds `cifar10_features_train.npy` (N x 512 unsupervised features of CIFAR-10's train
images in official order), `cifar10_truth.csv` and `cifar10n_worse.csv` (id, label): the official
labels, and the human ones of CIFAR-10N (http://noisylabels.com, CC BY-NC 4.0). Without it, or with
`--datasets digits`, only scikit-learn's handwritten digits are used.

Datasets: digits (1,797 rows, 100 checked) and the first 10,000 rows of CIFAR-10's features (500
checked). Noises: symmetric 40 and 80 %, asymmetric 40 % (each class to the next), instance 40 %,
and CIFAR-10N "worse" (40 %). A cell is one dataset, noise, method and seed, appended to
`--out` as a line of JSON; cells that are there are not computed again. Accuracies are shares of
right labels over the rows that nobody checked:

- student: the best class of the method's out-of-fold prediction;
- teacher: of the teacher's corrected label, where there is one;
- alone: what the judge makes of these and the given label;
- purified: of the purified set, as `labelfix purify --method` makes it: with the kernel classifier
  and the neighbours' votes beside the method (`dmlp`: the votes).

`ce` is plain cross-entropy: the same student, settings and snapshots, on the given labels, checked
rows as they came; judged like the others, and with nothing beside it.

- seconds: of the process's CPU time, judge included.

Measured: mean of three seeds, alone (student), in %, one thread of a 2-core AMD EPYC with two
other jobs to run; 7 to 41 CPU seconds a cell on digits, 13 to 98 on cifar (dmlp 1 and 3), 2.2 hours
in all. One standard error of a difference from ce at 40 % symmetric is 0.2 to 0.9 points on digits,
0.1 to 0.5 on cifar. That was before labels changed by a least margin (`labelfix.methods.margins`).

| digits        | given | ce          | dmlp        | dmlp-naive  | mlc         | mlc-d       |
| ------------- | ----- | ----------- | ----------- | ----------- | ----------- | ----------- |
| symmetric 40  | 59.9  | 95.9 (94.3) | 94.7 (92.8) | 98.1 (97.3) | 96.7 (95.4) | 95.1 (93.0) |
| symmetric 80  | 19.8  | 58.1 (57.8) | 36.8 (45.1) | 92.9 (92.9) | 85.0 (85.4) | 86.1 (86.4) |
| asymmetric 40 | 60.0  | 89.9 (74.0) | 93.8 (85.2) | 98.5 (96.7) | 98.0 (94.2) | 96.2 (88.7) |
| instance 40   | 60.5  | 95.4 (93.7) | 93.4 (91.0) | 97.3 (96.6) | 95.9 (94.2) | 93.1 (90.3) |

| cifar         | given | ce          | dmlp        | dmlp-naive  | mlc         | mlc-d       |
| ------------- | ----- | ----------- | ----------- | ----------- | ----------- | ----------- |
| symmetric 40  | 60.0  | 71.7 (56.3) | 69.6 (53.7) | 74.0 (60.3) | 73.1 (58.0) | 68.4 (49.9) |
| symmetric 80  | 20.0  | 25.0 (22.9) | 20.5 (20.8) | 47.9 (46.6) | 31.4 (26.9) | 43.5 (42.3) |
| asymmetric 40 | 60.0  | 77.8 (45.2) | 82.5 (51.8) | 87.4 (62.7) | 80.0 (48.4) | 83.4 (48.4) |
| instance 40   | 59.7  | 71.2 (56.0) | 69.2 (54.2) | 73.6 (59.7) | 72.4 (57.6) | 68.6 (50.4) |
| human worse   | 58.9  | 67.4 (57.5) | 66.7 (56.5) | 69.6 (59.3) | 68.6 (58.5) | 64.0 (49.0) |

| digits        | emlc        | ebomlc      | mw-net      | clid        | vri         |
| ------------- | ----------- | ----------- | ----------- | ----------- | ----------- |
| symmetric 40  | 95.7 (94.1) | 95.8 (94.8) | 96.9 (95.7) | 96.1 (94.6) | 96.3 (95.0) |
| symmetric 80  | 89.3 (89.0) | 88.9 (88.8) | 59.4 (58.3) | 73.2 (73.0) | 72.8 (72.5) |
| asymmetric 40 | 97.1 (90.3) | 98.4 (95.2) | 95.3 (76.0) | 93.0 (77.8) | 93.9 (77.9) |
| instance 40   | 94.7 (92.6) | 95.7 (94.1) | 95.9 (94.8) | 95.5 (93.5) | 95.7 (94.3) |

| cifar         | emlc        | ebomlc      | mw-net      | clid        | vri         |
| ------------- | ----------- | ----------- | ----------- | ----------- | ----------- |
| symmetric 40  | 72.0 (56.6) | 72.1 (56.1) | 72.5 (57.4) | 72.7 (57.3) | 72.3 (57.3) |
| symmetric 80  | 37.9 (36.6) | 46.0 (44.8) | 24.8 (22.8) | 31.4 (29.7) | 30.1 (28.4) |
| asymmetric 40 | 83.0 (51.9) | 86.9 (57.4) | 76.8 (44.2) | 80.2 (47.5) | 79.8 (47.3) |
| instance 40   | 71.9 (56.6) | 72.2 (56.5) | 72.0 (57.1) | 71.7 (57.2) | 71.7 (56.8) |
| human worse   | 67.7 (57.4) | 67.6 (56.8) | 67.3 (57.0) | 68.4 (58.0) | 68.2 (58.3) |

Purified, symmetric 40 %; digits, seeds 0 and 1, with a least margin (its prior one row at -1 and
one at 1); cifar, seeds 0 and 2, before it. Three seeds are not yet measured. Here and in the places
run with one seed (cifar, all noises; digits, symmetric 80 %) ebomlc is above mlc-d purified, too:

| symmetric 40 | ce   | dmlp | dmlp-naive | mlc  | mlc-d | emlc | ebomlc | mw-net | clid | vri  |
| ------------ | ---- | ---- | ---------- | ---- | ----- | ---- | ------ | ------ | ---- | ---- |
| digits       | 95.4 | 97.3 | 98.8       | 97.8 | 97.6  | 98.1 | 97.6   | 98.1   | 98.1 | 98.1 |
| cifar        | 71.7 | 73.4 | 75.5       | 75.6 | 75.0  | 74.8 | 75.3   | 75.4   | 75.4 | 75.4 |

What was found:

- As purify runs them, all methods are above ce at 40 % symmetric, by 1.7 points at least.
- ebomlc is above mlc-d in all nine places, as its paper says. On digits with 80 % symmetric noise
  it was not while the inner steps were plain ones at AdamW's rate (`methods/ebomlc.py`).
- Alone, at 40 % symmetric, every method is above ce on cifar but dmlp and mlc-d; on digits mlc,
  mw-net, clid, vri and dmlp-naive are, emlc and ebomlc are level with it (95.7 and 95.8 against
  95.9; their students 94.1 and 94.8 against 94.3), dmlp and mlc-d below. dmlp is a linear
  classifier; dmlp-naive has ce's hidden layer.
- mlc-d stays below ce there because its student follows the gradient of few clean rows (80 of
  digits a fold), whole. The paper names that as its fault and has it last of all its methods at
  40 % (67.6, MLC 86.1, Meta-Weight-Net 71.6). At 80 %, where given labels say little, it passes ce.
- At 80 % mw-net is level with ce: a weight cannot mend a label, and with four of five wrong there
  is little to weigh (the paper of ebomlc: 48.4, MLC 74.1). dmlp fails there by itself: what it
  corrects is a linear fit of labels that are four fifths wrong, and the checked rows prefer its
  snapshot before any correction.
- On cifar at 80 % and under asymmetric noise ebomlc is the best of the bilevel methods, by 2.5 and
  3.5 points.
- ebomlc's teacher has to read checked rows' labels as they were given (`methods/ebomlc.py`).
- Tried and not kept, one or two seeds, digits at 80 % symmetric with plain inner steps (ebomlc
  89.4 and 87.2): rho 0.5 89.3 and 87.7, xi 1 88.9 and 86.5, delta 0.1 89.1 and 87.8, 0.5 88.9 and
  86.5, 1 87.1 and 86.6; trust started at the checked rows' log odds 88.7 and 87.2 (mlc 54.3 and
  37.4, from 85). In earlier sessions a teacher rate of 1e-3, no belief, a small last layer and half
  the steps at twice the rates were no better either.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from labelfix import inputs
from labelfix.equations import corruption
from labelfix.equations.mlc import lower_loss
from labelfix.methods.bilevel import Learner
from labelfix.methods.cross_fit import cross_fit
from labelfix.methods.design import Design
from labelfix.methods.judge import judge
from labelfix.methods.kernel import KernelColumns, KernelRidge
from labelfix.methods.neighbours import Neighbours, nearest
from labelfix.methods.opinions import neighbour_opinions
from labelfix.methods.plan import BilevelConfig, Plan
from labelfix.methods.plans import PLANS, sized
from labelfix.methods.teachers import WeightNet
from labelfix.prediction import folds_of, run_methods, task_of
from labelfix.rows import Prediction, Rows
from labelfix.run import PurifyConfig

METHODS = ("ce", "dmlp", "dmlp-naive", *PLANS)
SHARES = ("purified", "alone", "student")
NOISES = {
    "symmetric 40": ("symmetric", 0.4),
    "symmetric 80": ("symmetric", 0.8),
    "asymmetric 40": ("asymmetric", 0.4),
    "instance 40": ("instance", 0.4),
    "human worse": ("human", 0.4),
}


@dataclass(kw_only=True)
class Data:
    """A dataset with its truth: features, right and (where people gave them) human labels."""

    features: np.ndarray
    right: np.ndarray
    human: np.ndarray | None
    checked: int

    @cached_property
    def graph(self) -> Neighbours:
        return nearest(self.features)


def digits(rows: int) -> Data:
    features, right = load_digits(return_X_y=True)
    return Data(
        features=features[:rows].astype(np.float32),
        right=right[:rows].astype(np.int32),
        human=None,
        checked=100,
    )


def cifar(folder: Path, rows: int) -> Data:
    features = np.load(folder / "cifar10_features_train.npy", mmap_mode="r")[:rows]
    truth, human = (
        pd.read_csv(folder / f"{name}.csv")["label"][:rows]
        for name in ("cifar10_truth", "cifar10n_worse")
    )
    codes = {name: code for code, name in enumerate(sorted(truth.unique()))}
    right, given = (labels.map(codes).to_numpy(np.int32) for labels in (truth, human))
    return Data(features=np.array(features), right=right, human=given, checked=500)


def rows_of(data: Data, noise: str, seed: int) -> Rows:
    """The dataset under a noise, some rows checked."""
    random = np.random.default_rng(seed)
    kind, rate = NOISES[noise]
    classes = int(data.right.max()) + 1
    if kind == "symmetric":
        given = corruption.symmetric(data.right, rate, classes, random)
    elif kind == "asymmetric":
        following = np.roll(np.arange(classes, dtype=np.int32), -1)
        given = corruption.asymmetric(data.right, rate, following, random)
    elif kind == "instance":
        values = data.features.astype(np.float32)
        given = corruption.instance_dependent(data.right, rate, values, classes, random)
    else:
        assert data.human is not None, "only CIFAR-10 has human labels"
        given = data.human
    checked = np.full(len(given), -1, np.int32)
    known = random.permutation(len(given))[: data.checked]
    checked[known] = data.right[known]
    return Rows(
        features=data.features, given=given, checked=checked,
        content=inputs.content_keys(data.features), classes=classes, key="",
    )  # fmt: skip


class Given:
    """The rule of plain training: cross-entropy to the given labels."""

    def step(self, learner: Learner, rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        batch = learner.data.batch(rows, generator)
        logs_BK = learner.student.log_probs(batch.x)
        targets_BK = F.one_hot(batch.labels, logs_BK.shape[1]) / len(batch.labels)
        loss = lower_loss(targets_BK, logs_BK)
        learner.student.step(learner.student.gradient(loss))
        return {"loss": loss, "upper": loss}


PLAIN = Plan(
    rule=Given(), make_teacher=lambda task: WeightNet(), upper="clid", config=BilevelConfig()
)


def predict(rows: Rows, graph: Neighbours, method: str, seed: int) -> Prediction:
    """What the method predicts, and what stands beside it in purify."""
    config = PurifyConfig(method="auto" if method == "ce" else method, seed=seed, device="cpu")
    if method != "ce":
        return run_methods(rows, graph, config)
    fold = folds_of(rows, seed)
    task = task_of(replace(rows, checked=np.full_like(rows.checked, -1)), fold, config)
    plan, epochs = sized(PLAIN, task)
    found = cross_fit(task, plan, replace(config.loop, seed=seed, epochs=epochs))
    votes_NK = neighbour_opinions(graph, rows.known, fold, rows.classes)
    kernel = KernelRidge(KernelColumns(Design.of(rows.features)), rows.known, fold, rows.classes)
    return Prediction(
        log_probabilities={"ce": found.log_probabilities},
        opinions=np.stack([votes_NK, kernel.own()]),
        folds=fold,
        account={"ce": found.account},
    )


def cell(data: Data, noise: str, method: str, seed: int) -> dict[str, Any]:
    """The figures of one cell."""
    rows = rows_of(data, noise, seed)
    started = time.process_time()
    made = predict(rows, data.graph, method, seed)
    found, labelled = made.log_probabilities, (rows.given, rows.checked, made.folds)
    alone = judge({name: [logs] for name, logs in found.items()}, *labelled)
    seconds = time.process_time() - started
    purified = judge(made.candidates, *labelled)
    free = rows.checked < 0

    def share(labels: np.ndarray) -> float:
        return float((labels == data.right)[free].mean())

    teacher = found.get(f"{method}-teacher")
    return {
        "given": share(rows.given),
        "student": share(found[method].argmax(1)),
        "teacher": None if teacher is None else share(teacher.argmax(1)),
        "alone": share(alone.labels),
        "purified": share(purified.labels),
        "believed": alone.witness,
        "seconds": seconds,
        "alarms": made.account[method].get("alarms", []),
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All cells that are asked for; those in ``--out`` are taken from there."""
    done = []
    if options.out and options.out.exists():
        done = [json.loads(line) for line in options.out.read_text().splitlines()]
    names = ("dataset", "noise", "method", "seed")
    there = {tuple(cell[name] for name in names) for cell in done}
    for dataset in options.datasets:
        size = options.rows or {"digits": 1797, "cifar": 10_000}[dataset]
        data = digits(size) if dataset == "digits" else cifar(options.data, size)
        for seed in range(options.seeds):
            for noise in options.cells:
                for method in options.methods:
                    key = (dataset, noise, method, seed)
                    if key in there or (noise == "human worse" and data.human is None):
                        continue
                    found = dict(zip(names, key, strict=True)) | cell(data, noise, method, seed)
                    done.append(found)
                    line = f"{dataset:7} {noise:14} {method:8} {seed}  "
                    line += "  ".join(f"{n} {found[n]:.3f}" for n in SHARES)
                    print(f"{line}  {found['seconds']:.0f} s", flush=True)
                    if options.out:
                        with options.out.open("a") as file:
                            file.write(json.dumps(found) + "\n")
    return done


def show(cells: list[dict[str, Any]], methods: list[str]) -> None:
    """The table: means over the seeds, purified / alone / student."""
    by = defaultdict(list)
    for found in cells:
        by[found["dataset"], found["noise"], found["method"]].append(found)
    print(f"\n{'':24}{'given':>8}" + "".join(f"{method:>22}" for method in methods))
    for dataset, noise in dict.fromkeys((key[0], key[1]) for key in by):
        line = f"{dataset:8}{noise:16}"
        first = next(
            iter(by[dataset, noise, method] for method in methods if by[dataset, noise, method])
        )
        line += f"{np.mean([found['given'] for found in first]):8.1%}"
        for method in methods:
            here = by[dataset, noise, method]
            means = [f"{np.mean([found[name] for found in here]):.1%}" for name in SHARES if here]
            line += f"{' / '.join(means) or '-':>22}"
        print(line)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All methods on all noises.")
    parser.add_argument("data", type=Path, nargs="?", help="folder with CIFAR-10's features")
    parser.add_argument("--out", type=Path, help="file of finished cells, JSON lines")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--cells", nargs="+", choices=NOISES, default=list(NOISES))
    parser.add_argument("--datasets", nargs="+", choices=["digits", "cifar"])
    parser.add_argument("--rows", type=int, help="of each dataset, the first so many")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--tiny", action="store_true", help="300 digits, one noise, one seed")
    options = parser.parse_args(words)
    if options.datasets is None:
        options.datasets = ["digits", "cifar"] if options.data else ["digits"]
    if options.tiny:
        options.datasets, options.rows, options.seeds = ["digits"], 300, 1
        options.cells = options.cells[:1]
    return options


def main(words: list[str] | None = None) -> list[dict[str, Any]]:
    options = parse(words)
    torch.set_num_threads(options.threads)
    cells = run(options)
    show(cells, options.methods)
    return cells


if __name__ == "__main__":
    main()

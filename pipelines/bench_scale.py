"""What many rows cost: purify beside five-fold logistic regression with cleanlab, and as N grows.

    pip install 'labelfix[bench]'
    python pipelines/bench_scale.py [--rows 200000] [--against dmlp,auto,cleanlab]
    python pipelines/bench_scale.py --grow 50000,1000000 [--method dmlp]

Features are made here: 10 classes of five Gaussian clusters each in 512 columns, float32, on disk
and read as a memory map; 40 % of the labels are wrong (symmetric), 1,000 rows are checked. Each
side runs in a process of its own, one after the other, so that its peak memory is its own; seconds
are those of the calls alone, without imports and data. cleanlab is `find_label_issues` on
scikit-learn's out-of-fold probabilities, flagged rows replaced by the classifier's class.

Measured, one thread of a 2-core AMD EPYC with another process to run:

       200000 rows  dmlp         142.3 s  right 73.98%  peak  1.94 GiB
       200000 rows  auto         360.1 s  right 76.58%  peak  2.36 GiB
       200000 rows  cleanlab      32.9 s  right 61.22%  peak  2.30 GiB

So purify is slower than this rival, by 4.3 and 10.9 times, and puts right what it does not (auto
before its net learned for two more epochs of these rows). On 50,000 rows of CIFAR-10's features it
is 3 and 15 times slower: scikit-learn fits a logistic regression in 1.6 CPU seconds there. In a
profile of dmlp on 50,000 of the rows made here, neighbours took 43 % of the time, the passes of all
folds 26 %, the scores 8 %.

    dmlp, 1,000,000 rows: 698 s, peak 3.78 GiB; 26.5 times the time of 50,000 rows (26.3 s), and
    1.43 times the own bytes of features and soft labels, above 1 GiB

From 200,000 rows on the time is linear (4.9 times for five times the rows); below, the bank in
which neighbours are searched still grows.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES, CLUSTERS, COLUMNS, CHECKED, NOISE = 10, 5, 512, 1000, 0.4
BLOCK = 50_000
Figures = tuple[float, float, float]  # seconds, share of right labels, peak memory in GiB


def make(folder: Path, rows: int) -> None:
    """features.npy, right.npy and given.npy."""
    generator = np.random.default_rng(0)
    right = generator.integers(0, CLASSES, rows).astype(np.int32)
    cluster = right * CLUSTERS + generator.integers(0, CLUSTERS, rows)
    centres = generator.normal(size=(CLASSES * CLUSTERS, COLUMNS)).astype(np.float32)
    features = np.lib.format.open_memmap(
        folder / "features.npy", "w+", dtype=np.float32, shape=(rows, COLUMNS)
    )
    for start in range(0, rows, BLOCK):
        here = cluster[start : start + BLOCK]
        noise = generator.standard_normal((len(here), COLUMNS), dtype=np.float32)
        features[start : start + BLOCK] = centres[here] + 7 * noise
    wrong = generator.random(rows) < NOISE
    given = np.where(wrong, (right + generator.integers(1, CLASSES, rows)) % CLASSES, right)
    np.save(folder / "right.npy", right)
    np.save(folder / "given.npy", given.astype(np.int32))


def with_labelfix(
    method: str, features: NDArray[np.float32], given: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.int32]:
    import labelfix

    checked = np.random.default_rng(1).choice(len(given), CHECKED, replace=False)
    audited = {int(row): int(right[row]) for row in checked}
    return labelfix.purify(features, given, audited=audited, method=method).labels


def with_cleanlab(features: NDArray[np.float32], given: NDArray[np.int32]) -> NDArray[np.int32]:
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    predicted = cross_val_predict(model, features, given, cv=5, method="predict_proba")
    return np.where(find_label_issues(given, predicted, n_jobs=1), predicted.argmax(1), given)


def side(name: str, folder: Path) -> Figures:
    """One side, in a process of its own."""
    features = np.load(folder / "features.npy", mmap_mode="r")
    given, right = np.load(folder / "given.npy"), np.load(folder / "right.npy")
    for module in ("cleanlab.filter", "sklearn.linear_model", "labelfix.api"):
        importlib.import_module(module)  # imports are not timed
    started = time.monotonic()
    labels = (
        with_cleanlab(features, given)
        if name == "cleanlab"
        else with_labelfix(name, features, given, right)
    )
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return seconds, float((labels == right).mean()), peak


def measure(names: list[str], rows: int) -> Iterator[tuple[str, Figures]]:
    with tempfile.TemporaryDirectory() as temporary:
        make(Path(temporary), rows)
        for name in names:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=context) as process:
                found = process.submit(side, name, Path(temporary)).result()
            seconds, share, peak = found
            print(f"{rows:>9} rows  {name:9} {seconds:8.1f} s  right {share:6.2%}", end="")
            print(f"  peak {peak:5.2f} GiB", flush=True)
            yield name, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--against", default="dmlp,auto,cleanlab")
    parser.add_argument("--grow", help="numbers of rows, smallest first, in place of --rows")
    parser.add_argument("--method", default="dmlp", help="with --grow")
    options = parser.parse_args()
    if not options.grow:
        found = dict(measure(options.against.split(","), options.rows))
        for name in found.keys() - {"cleanlab"} if "cleanlab" in found else ():
            print(f"cleanlab / {name}: {found['cleanlab'][0] / found[name][0]:.1f}x")
        return
    sizes = [int(size) for size in options.grow.split(",")]
    figures = [dict(measure([options.method], rows))[options.method] for rows in sizes]
    for rows, (seconds, _, peak) in zip(sizes, figures, strict=True):
        own = rows * 4 * (COLUMNS + CLASSES) / 2**30
        times = seconds / figures[0][0]
        print(f"{rows:>9} rows: {times:5.1f}x the time of {sizes[0]}; ", end="")
        print(f"{(peak - 1) / own:.2f}x the own bytes, above 1 GiB")


if __name__ == "__main__":
    main()

"""The data of the tour: scikit-learn's handwritten digits as files, as a user would have them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from labelfix.errors import InputError

TEST_ROWS, CHECKED_ROWS, NOISE = 400, 100, 0.4
MARKER = "about.json"


def prepare(folder: Path, seed: int) -> list[tuple[str, ...]]:
    """Write the digits once, and return the commands of the tour.

    ``images/`` holds 1,797 PNG files of 8 x 8 pixels; ``right.csv`` the training rows with right
    labels, ``checked.csv`` 100 of them, and ``test.csv`` the test rows.

    Raises:
        InputError: the folder holds something else, or the seed is negative.
    """
    if seed < 0:
        raise InputError(f"--seed is {seed}", hint="use a number from 0 up")
    about = {"what": "scikit-learn's handwritten digits, for labelfix demo", "seed": seed}
    if not _is_ours(folder, about):
        _write(folder, seed)
        (folder / MARKER).write_text(json.dumps(about) + "\n")
    run, seeded = str(folder / "run"), ("--seed", str(seed))
    return [
        ("corrupt", str(folder / "right.csv"), "--noise", "asymmetric", "--rate", str(NOISE),
         "--out", str(folder / "data.csv"), *seeded),
        ("purify", str(folder / "data.csv"), "--clean-set", str(folder / "checked.csv"),
         "--out", run, *seeded),
        ("evaluate", run, "--truth", str(folder / "right.csv")),
        ("retrain", run, "--test", str(folder / "test.csv"), "--compare", *seeded),
    ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The two figures of the demo.

    Attributes:
        wrong_before, wrong_after: wrong labels of the training rows that were not checked.
        test_accuracy_given, test_accuracy_purified: of the nets trained on these labels, in [0, 1].
    """

    wrong_before: int
    wrong_after: int
    test_accuracy_given: float
    test_accuracy_purified: float


def result_of(folder: Path) -> DemoResult:
    """What the demo's commands brought."""
    from labelfix.workflows.evaluate import evaluate_labels

    figures = evaluate_labels(folder / "run", folder / "right.csv")
    metrics = json.loads((folder / "run" / "retrain" / "compare.json").read_text())
    return DemoResult(
        wrong_before=round((1 - figures.label_accuracy_before) * figures.rows),
        wrong_after=round((1 - figures.label_accuracy_after) * figures.rows),
        test_accuracy_given=metrics["given"]["test_accuracy"],
        test_accuracy_purified=metrics["purified"]["test_accuracy"],
    )


def _is_ours(folder: Path, about: dict[str, object]) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    hint = "name a new folder for the demo, such as labelfix demo tour"
    if not (folder / MARKER).is_file():
        raise InputError("is not empty and is no demo of labelfix", hint=hint, file=folder)
    if json.loads((folder / MARKER).read_text()) != about:
        raise InputError("holds the demo of another seed", hint=hint, file=folder)
    return True


def _write(folder: Path, seed: int) -> None:
    digits = load_digits()
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    names = [f"images/{row:04d}.png" for row in range(len(digits.target))]
    for name, pixels in zip(names, digits.images, strict=True):
        grey = (pixels * 255 / 16).round().astype(np.uint8)  # the digits' grey runs from 0 to 16
        Image.fromarray(grey).save(folder / name)
    table = pd.DataFrame({"image": names, "label": digits.target})
    order = np.random.default_rng(seed).permutation(len(table))
    train = table.iloc[np.sort(order[TEST_ROWS:])]
    checked = table.iloc[np.sort(order[TEST_ROWS : TEST_ROWS + CHECKED_ROWS])]
    train.to_csv(folder / "right.csv", index=False)
    checked.to_csv(folder / "checked.csv", index=False)
    table.iloc[np.sort(order[:TEST_ROWS])].to_csv(folder / "test.csv", index=False)

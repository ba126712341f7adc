"""retrain --compare: the same method on given and on purified labels, and which did better.

Both nets are tested on the same rows, so only the rows where they differ tell which is better.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from labelfix.equations.intervals import paired_difference
from labelfix.errors import InputError
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.output_folder import write_json
from labelfix.workflows.retrain import Outcome, RetrainConfig, train_and_test

LEAST_CHECKED = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which of two nets did better on the same rows.

    Attributes:
        better: purified, given or undecided (the 95 % interval of the difference holds 0).
        difference: of the accuracies in [-1, 1], purified less given.
        interval: its 95 % interval, over test rows, not over seeds.
        p_value: of McNemar's exact test.
        rows: how many rows they were tested on.
        words: all that in a sentence.
        tested_on: which rows these are.
    """

    better: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    rows: int
    words: str
    tested_on: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The same training on given and on purified labels, and which did better."""

    given: Outcome
    purified: Outcome
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """As in compare.json: the metrics of the purified labels, both, and the verdict."""
        given, purified = self.given.metrics.to_dict(), self.purified.metrics.to_dict()
        both = {"given": given, "purified": purified}
        return purified | both | {"verdict": asdict(self.verdict)}


def compare(
    dataset: CorrectedDataset, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> Comparison:
    """Train on the given and on the purified labels, and say which did better.

    Without a test table, half of the checked rows are held out of both trainings and tested on.
    Each training writes its files into a folder of its name, and compare.json holds both.

    Raises:
        InputError: there are neither test rows nor checked ones, or as
            :func:`labelfix.workflows.retrain.run`.
    """
    tested_on = "test table"
    if dataset.test is None:
        dataset, tested_on = hold_out(dataset, config.seed), "held-out checked rows"
        assert dataset.test is not None
        report.say(
            f"no --test: {len(dataset.test.ids)} checked rows are held out of both trainings; "
            "purify knew their labels, which may favour the purified ones a little"
        )
    assert dataset.test is not None
    given, purified = (
        train_and_test(dataset, out / labels, replace(config, labels=labels), report=report)
        for labels in ("given", "purified")
    )
    verdict = verdict_on(given, purified, dataset.test.labels, tested_on)
    found = Comparison(given=given, purified=purified, verdict=verdict)
    if is_rank_zero(config.num_nodes):
        write_json(out / "compare.json", found.to_dict())
    barrier(config.num_nodes)
    return found


def verdict_on(
    given: Outcome, purified: Outcome, labels: NDArray[np.int32], tested_on: str
) -> Verdict:
    """The verdict on two nets that were tested on the same rows, with right labels ``(T,)``."""
    was, now = (outcome.logits.argmax(1).numpy() == labels for outcome in (given, purified))
    won, lost = int((now & ~was).sum()), int((was & ~now).sum())
    difference, low, high = paired_difference(won, lost, len(labels))
    better = "purified" if low > 0 else "given" if high < 0 else "undecided"
    return Verdict(
        better=better,
        difference=difference,
        interval=(low, high),
        p_value=float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
        rows=len(labels),
        words=f"{WORDS[better]}: {100 * difference:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f}) on {len(labels)} rows",
        tested_on=tested_on,
    )


WORDS = {
    "purified": "train on the purified labels",
    "given": "train on the given labels, purifying did harm",
    "undecided": "no difference between given and purified labels could be shown",
}


def hold_out(dataset: CorrectedDataset, seed: int) -> CorrectedDataset:
    """The dataset with half of its checked rows as test rows.

    Raises:
        InputError: fewer than ``LEAST_CHECKED`` rows are checked.
    """
    checked = np.flatnonzero(dataset.labels.checked)
    if len(checked) < LEAST_CHECKED:
        raise InputError(
            f"--compare has nothing to compare on ({len(checked)} checked rows)",
            hint=f"pass --test TABLE, or check {LEAST_CHECKED} rows or more",
        )
    random = np.random.default_rng(seed)
    mixed = random.permutation(checked)
    by_class = mixed[np.argsort(dataset.labels.label[mixed], kind="stable")]
    return replace(dataset, test=dataset.train.part(np.sort(by_class[::2])))

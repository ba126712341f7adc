"""retrain --compare: the same recipe on given and on purified labels, and which did better.

The do-no-harm gate: both nets are tested on the same rows, so what counts is where they differ.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from labelfix.equations.intervals import paired_difference
from labelfix.errors import InputError
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.output_folder import write_json
from labelfix.workflows.progress import SILENT, Reporter
from labelfix.workflows.retrain import Outcome, RetrainConfig, train_and_test

LEAST_CHECKED = 20


def compare(
    material: CorrectedDataset, out: Path, config: RetrainConfig, *, report: Reporter = SILENT
) -> dict[str, Any]:
    """Train on the given and on the purified labels, and judge the difference.

    Without a test table, half of the checked rows are held out of both trainings and tested on.

    Returns:
        The metrics of the purified labels, both under ``given`` and ``purified``, and the
        ``verdict``; as in compare.json. Each training writes its files into a folder of its name.

    Raises:
        InputError: there are neither test rows nor checked ones, or as
            :func:`labelfix.workflows.retrain.run`.
    """
    tested_on = "test table"
    if material.test is None:
        material, tested_on = hold_out(material, config.seed), "held-out checked rows"
        assert material.test is not None
        report.say(
            f"no --test: {len(material.test.ids)} checked rows are held out of both trainings; "
            "purify knew their labels, which may favour the purified ones a little"
        )
    found = {}
    for labels in ("given", "purified"):
        mine = replace(config, labels=labels)
        found[labels] = train_and_test(material, out / labels, mine, report=report)
    assert material.test is not None
    verdict = judge(found["given"], found["purified"], material.test.labels)
    both = {labels: outcome.metrics for labels, outcome in found.items()}
    metrics = both["purified"] | both | {"verdict": verdict | {"tested_on": tested_on}}
    if is_rank_zero(config.num_nodes):
        write_json(out / "compare.json", metrics)
    barrier(config.num_nodes)
    return metrics


def judge(given: Outcome, purified: Outcome, labels: NDArray[np.int32]) -> dict[str, Any]:
    """The verdict on two nets that were tested on the same rows.

    Returns:
        ``better``: purified, given or undecided (the 95 % interval of the difference holds 0);
        ``difference`` of the accuracies, purified less given, with its ``interval``; ``p_value`` of
        McNemar's exact test; ``rows``; ``words``: all that in a sentence. The interval is over test
        rows, not over seeds.
    """
    was, now = (outcome.logits.argmax(1).numpy() == labels for outcome in (given, purified))
    won, lost = int((now & ~was).sum()), int((was & ~now).sum())
    difference, low, high = paired_difference(won, lost, len(labels))
    better = "purified" if low > 0 else "given" if high < 0 else "undecided"
    return {
        "better": better,
        "difference": difference,
        "interval": [low, high],
        "p_value": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
        "rows": len(labels),
        "words": f"{WORDS[better]}: {100 * difference:+.1f} points "
        f"({100 * low:+.1f} to {100 * high:+.1f}) on {len(labels)} rows",
    }


WORDS = {
    "purified": "train on the purified labels",
    "given": "train on the given labels, purifying did harm",
    "undecided": "no difference between given and purified labels could be shown",
}


def hold_out(material: CorrectedDataset, seed: int) -> CorrectedDataset:
    """The material with half of its checked rows as test rows.

    Raises:
        InputError: fewer than ``LEAST_CHECKED`` rows are checked.
    """
    checked = np.flatnonzero(material.labels.checked)
    if len(checked) < LEAST_CHECKED:
        raise InputError(
            f"--compare has nothing to compare on ({len(checked)} checked rows)",
            hint=f"pass --test TABLE, or check {LEAST_CHECKED} rows or more",
        )
    random = np.random.default_rng(seed)
    mixed = random.permutation(checked)
    by_class = mixed[np.argsort(material.labels.label[mixed], kind="stable")]
    return replace(material, test=material.train.part(np.sort(by_class[::2])))

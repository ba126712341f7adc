"""evaluate: every figure by hand on a tiny labels.parquet."""

import math

import numpy as np
import pandas as pd
import pytest

from labelfix import contract
from labelfix.errors import InputError
from labelfix.workflows.evaluate import evaluate_labels

KEEP, CORRECT, REVIEW, FILL, CHECKED = range(5)
#       right given label decision                    what happened
ROWS = [
    (0, 0, 0, KEEP),  # right, stays
    (0, 1, 0, CORRECT),  # wrong, mended
    (1, 0, 0, REVIEW),  # wrong, stays
    (1, 1, 0, CORRECT),  # right, broken
    (1, 1, 1, KEEP),  # right, stays
    (0, -1, 0, FILL),  # filled rightly
    (1, -1, 0, FILL),  # filled wrongly
    (0, 1, 0, CHECKED),  # does not count
]


@pytest.fixture
def run(tmp_path):
    """A run, and its truth in another order with rows of its own."""
    right, given, label, decision = map(np.array, zip(*ROWS, strict=True))
    confidence = np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.75, 0.65, 1.0], dtype=np.float32)
    soft = np.where(np.arange(2) == label[:, None], confidence[:, None], 1 - confidence[:, None])
    labels = contract.Labels(
        ids=np.array(list("abcdefgh"), dtype=object),
        class_names=("no", "yes"),
        given=given.astype(np.int32),
        label=label.astype(np.int32),
        decision=decision.astype(np.int8),
        soft_label=soft.astype(np.float32),
        weight=np.ones(8, dtype=np.float32),
        review_rank=np.array([4, 1, 3, 2, 7, 5, 6, 8], dtype=np.int32),
        doubt=1 - confidence,
    )
    contract.write_labels(tmp_path / "labels.parquet", labels)
    truth = pd.DataFrame({"id": list("abcdefgh"), "label": np.array(["no", "yes"])[right]})
    truth = pd.concat([truth, pd.DataFrame({"id": ["z"], "label": ["no"]})])[::-1]
    truth.to_csv(tmp_path / "truth.csv", index=False)
    return tmp_path


def test_figures_by_hand(run):
    found = evaluate_labels(run, run / "truth.csv")
    expected = {
        "rows": 7,
        "checked_rows": 1,
        "label_accuracy_before": 3 / 5,
        "label_accuracy_after": 3 / 5,
        "fill_accuracy": 1 / 2,
        "changes": 2,
        "change_precision": 1 / 2,
        "change_recall": 1 / 2,
        # one row a bin, hits: a b e f
        "calibration_error": (0.1 + 0.2 + 0.7 + 0.6 + 0.05 + 0.25 + 0.65) / 7,
        # wrong rows stand at ranks 1 and 3, right ones at 2, 4, 7: five pairs of six in order
        "ranking_auroc": 5 / 6,
    }
    assert found.to_dict() == {
        name: pytest.approx(value, abs=1e-6) for name, value in expected.items()
    }
    assert evaluate_labels(run / "labels.parquet", run / "truth.csv") == found


def test_nothing_to_measure_on_is_nan(run):
    labels = contract.read_labels(run)
    from dataclasses import replace

    same = labels.given.clip(0)
    contract.write_labels(run / "labels.parquet", replace(labels, given=same, label=same))
    truth = pd.DataFrame({"id": labels.ids, "label": np.array(["no", "yes"])[same]})
    truth.to_csv(run / "truth.csv", index=False)
    found = evaluate_labels(run, run / "truth.csv")
    assert found.label_accuracy_before == found.label_accuracy_after == 1
    for name in ("fill_accuracy", "change_precision", "change_recall", "ranking_auroc"):
        assert math.isnan(getattr(found, name)), name


def test_columns_can_be_named(run):
    truth = pd.read_csv(run / "truth.csv").rename(columns={"id": "who", "label": "what"})
    truth["other"] = "x"
    truth.to_csv(run / "odd.csv", index=False)
    found = evaluate_labels(run, run / "odd.csv", label_column="what", id_column="who")
    assert found == evaluate_labels(run, run / "truth.csv")


def test_a_class_that_no_given_label_has_is_right_for_none(run):
    truth = pd.read_csv(run / "truth.csv")
    truth.loc[truth["id"] == "a", "label"] = "maybe"
    truth.to_csv(run / "more.csv", index=False)
    found = evaluate_labels(run, run / "more.csv")
    assert found.label_accuracy_before == pytest.approx(2 / 5)
    assert found.label_accuracy_after == pytest.approx(2 / 5)
    assert found.change_recall == pytest.approx(1 / 3)


def test_errors(run):
    truth = pd.read_csv(run / "truth.csv")
    truth[truth["id"] != "c"].to_csv(run / "short.csv", index=False)
    with pytest.raises(InputError, match="has no row for id 'c'"):
        evaluate_labels(run, run / "short.csv")
    truth.assign(label="maybe").to_csv(run / "maybe.csv", index=False)
    with pytest.raises(InputError, match="'maybe'"):
        evaluate_labels(run, run / "maybe.csv")
    with pytest.raises(InputError, match="there is no such file"):
        evaluate_labels(run / "nothing", run / "truth.csv")


def test_checked_rows_alone_are_no_evidence(run):
    from dataclasses import replace

    labels = contract.read_labels(run)
    contract.write_labels(
        run / "labels.parquet", replace(labels, decision=np.full(8, CHECKED, dtype=np.int8))
    )
    with pytest.raises(InputError, match="holds checked rows only"):
        evaluate_labels(run, run / "truth.csv")

"""evaluate: how right a corrected dataset is, where the truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from labelfix import contract, inputs
from labelfix.equations.calibration import expected_calibration_error
from labelfix.errors import InputError


def evaluate(
    run: Path, truth: Path, *, label_column: str | None = None, id_column: str | None = None
) -> dict[str, Any]:
    """Measure RUN against the truth, over the rows that were not checked.

    Args:
        run: a purify output folder or a labels.parquet.
        truth: a table that names the right label of every id.
        label_column, id_column: its columns, where their names do not tell.

    Returns:
        ``label_accuracy_before`` and ``_after`` (share of right labels, over rows that had one),
        ``change_precision`` (share of the changes that end right), ``change_recall`` (share of the
        wrong labels that end right), ``calibration_error`` of soft_label, ``ranking_auroc`` of
        review_rank for wrong given labels; each NaN where there is nothing to measure it on.
        ``fill_accuracy`` is the share of right labels over rows that had none.

    Raises:
        InputError: the truth lacks an id or names an unknown class; every row was checked.
    """
    labels = contract.read(run)
    right = inputs.read_truth(
        truth,
        ids=labels.ids,
        like=labels.class_names,
        label_column=label_column,
        id_column=id_column,
    )
    open_rows = np.array(contract.DECISIONS)[labels.decision] != "checked"
    if not open_rows.any():
        raise InputError(
            "holds checked rows only", mend="there is nothing left to evaluate", file=run
        )
    had = open_rows & (labels.given >= 0)
    was_right, is_right = labels.given == right, labels.label == right
    changed = had & (labels.label != labels.given)
    wrong = had & ~was_right
    return {
        "rows": int(open_rows.sum()),
        "checked_rows": int((~open_rows).sum()),
        "label_accuracy_before": _share(was_right[had]),
        "label_accuracy_after": _share(is_right[had]),
        "fill_accuracy": _share(is_right[open_rows & ~had]),
        "changes": int(changed.sum()),
        "change_precision": _share(is_right[changed]),
        "change_recall": _share(is_right[wrong]),
        "calibration_error": expected_calibration_error(
            torch.from_numpy(labels.soft_label[open_rows].max(1)),
            torch.from_numpy((labels.soft_label.argmax(1) == right)[open_rows]),
        ),
        "ranking_auroc": _auroc(wrong[had], -labels.review_rank[had]),
    }


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def _auroc(wrong: np.ndarray, suspicion: np.ndarray) -> float:
    return float(roc_auc_score(wrong, suspicion)) if 0 < wrong.sum() < len(wrong) else float("nan")

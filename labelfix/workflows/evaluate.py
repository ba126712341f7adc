"""evaluate: how right a corrected dataset is, where the truth is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from labelfix import contract, inputs
from labelfix.equations.calibration import expected_calibration_error
from labelfix.equations.ood import energy_score, msp_score
from labelfix.errors import InputError
from labelfix.nets.classifiers import predict_logits
from labelfix.training.devices import pick_device
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.model_files import WEIGHTS, load_model, read_test_scores
from labelfix.workflows.row_content import samples_like
from labelfix.workflows.source import Source


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """How right a corrected dataset is, over the rows that were not checked.

    Shares lie in [0, 1]; NaN where there is nothing to measure on.

    Attributes:
        rows, checked_rows: rows that were measured, and checked rows that were not.
        label_accuracy_before, label_accuracy_after: share of right labels, over the rows that had
            one.
        fill_accuracy: share of right labels, over the rows that had none.
        changes: labels that were changed.
        change_precision: share of the changes that end at the right label.
        change_recall: share of the wrong labels that end at the right one.
        calibration_error: of soft_label.
        ranking_auroc: of review_rank, for wrong given labels.
    """

    rows: int
    checked_rows: int
    label_accuracy_before: float
    label_accuracy_after: float
    fill_accuracy: float
    changes: int
    change_precision: float
    change_recall: float
    calibration_error: float
    ranking_auroc: float

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class OutlierFigures:
    """How well a model tells its test rows from rows of no class.

    Attributes:
        test_rows, ood_rows: how many there are of each.
        msp_auroc, energy_auroc: area under the ROC curve of the largest probability and of the
            energy; test rows count as positive.
        msp_fpr95, energy_fpr95: share of rows of no class that pass where 95 % of the test rows do.
    """

    test_rows: int
    ood_rows: int
    msp_auroc: float
    msp_fpr95: float
    energy_auroc: float
    energy_fpr95: float

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


def evaluate_labels(
    run: Path,
    truth: Path,
    *,
    label_column: str | None = None,
    image_column: str | None = None,
    id_column: str | None = None,
    report: Reporter = SILENT,
) -> LabelFigures:
    """Measure RUN against the truth, over the rows that were not checked.

    Args:
        run: a purify output folder or a labels.parquet.
        truth: a table that names the right label of every id; a class that no given label has is
            right for none.
        label_column, image_column, id_column: its columns, where their names do not tell.
        report: where the columns that were taken are said.

    Raises:
        InputError: the truth lacks an id or a label; every row was checked.
    """
    labels = contract.read_labels(run)
    found = inputs.read_truth(
        truth,
        ids=labels.ids,
        like=labels.class_names,
        wanted=inputs.Columns(label=label_column, image=image_column, id=id_column),
        usual=Source.of_labels(labels).columns,
    )
    for line in found.notices:
        report.say(line)
    right = found.labels
    open_rows = ~labels.checked
    if not open_rows.any():
        raise InputError(
            "holds checked rows only", hint="there is nothing left to evaluate", file=run
        )
    had = open_rows & (labels.given >= 0)
    was_right, is_right = labels.given == right, labels.label == right
    changed = had & (labels.label != labels.given)
    wrong = had & ~was_right
    return LabelFigures(
        rows=int(open_rows.sum()),
        checked_rows=int((~open_rows).sum()),
        label_accuracy_before=_share(was_right[had]),
        label_accuracy_after=_share(is_right[had]),
        fill_accuracy=_share(is_right[open_rows & ~had]),
        changes=int(changed.sum()),
        change_precision=_share(is_right[changed]),
        change_recall=_share(is_right[wrong]),
        calibration_error=expected_calibration_error(
            torch.from_numpy(labels.soft_label[open_rows].max(1)),
            torch.from_numpy((labels.soft_label.argmax(1) == right)[open_rows]),
        ),
        ranking_auroc=_auroc(wrong[had], -labels.review_rank[had]),
    )


def _share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def _auroc(wrong: np.ndarray, suspicion: np.ndarray) -> float:
    return float(roc_auc_score(wrong, suspicion)) if 0 < wrong.sum() < len(wrong) else float("nan")


def evaluate_outliers(
    model: Path, ood: Path, *, ood_features: Path | None = None, device: str = "auto"
) -> OutlierFigures:
    """Score the rows of a second table against the test rows that the model was trained with.

    Args:
        model: a folder that ``labelfix retrain --test`` wrote.
        ood: a table of rows that belong to none of the classes; labels are not read.
        ood_features: their features, for models of features.
        device: auto, cpu, cuda or mps.

    Raises:
        InputError: there is no such model, it was trained without test rows, or the table does not
            fit it.
    """
    net, card = load_model(model)
    inside = read_test_scores(model)
    shape = card.data.shape
    if (len(shape) == 1) != (ood_features is not None):
        hint = "pass --ood-features FILE" if len(shape) == 1 else "leave --ood-features out"
        kind = "features" if len(shape) == 1 else "images"
        raise InputError(f"the model was trained on {kind}", hint=hint, file=ood)
    with TemporaryDirectory(prefix="labelfix-") as scratch:
        table = inputs.read_unlabelled(ood, features=ood_features)
        samples = samples_like(table, shape, Path(scratch) / "ood.npy", ood_features or ood)
        place = pick_device(device)
        logits = predict_logits(net.to(place), samples.source.to(place))
    msp = separation(inside.msp, msp_score(logits).numpy())
    energy = separation(inside.energy, energy_score(logits).numpy())
    return OutlierFigures(
        test_rows=len(inside.msp), ood_rows=len(logits), msp_auroc=msp[0], msp_fpr95=msp[1],
        energy_auroc=energy[0], energy_fpr95=energy[1],
    )  # fmt: skip


def separation(
    inside_N: NDArray[np.floating], outside_M: NDArray[np.floating]
) -> tuple[float, float]:
    """How well a score tells two sets of rows apart; high = inside.

    Returns:
        AUROC, and FPR95: the share of rows from outside that pass where 95 % from inside pass.
    """
    is_inside = np.repeat([True, False], [len(inside_N), len(outside_M)])
    scores = np.concatenate([inside_N, outside_M])
    false_positive, true_positive, _ = roc_curve(is_inside, scores, drop_intermediate=False)
    fpr95 = false_positive[np.argmax(true_positive >= 0.95)]
    return float(roc_auc_score(is_inside, scores)), float(fpr95)


def model_of(run: Path) -> Path:
    """The model that retrain left beside RUN; of a comparison, the one on purified labels."""
    folder = (run if run.is_dir() else run.parent) / "retrain"
    both = folder / "purified"
    return both if (both / WEIGHTS).is_file() and not (folder / WEIGHTS).is_file() else folder

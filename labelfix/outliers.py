"""evaluate --ood: does a model tell rows from outside its distribution? (HRP, Table 5)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from labelfix import inputs
from labelfix.equations.ood import auroc, energy_score, fpr_at_95, msp_score
from labelfix.errors import InputError
from labelfix.material import samples_like
from labelfix.methods.classifiers import predict_logits
from labelfix.methods.devices import pick_device
from labelfix.model import WEIGHTS, load_model
from labelfix.predictions import read_test_scores


def outliers(
    model: Path, ood: Path, *, ood_features: Path | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Score the rows of a second table against the test rows that the model was trained with.

    Args:
        model: a folder that ``labelfix retrain --test`` wrote.
        ood: a table of rows that belong to none of the classes; labels are not read.
        ood_features: their features, for models of features.
        device: auto, cpu, cuda or mps.

    Returns:
        ``msp_auroc``, ``msp_fpr95``, ``energy_auroc``, ``energy_fpr95``; test rows count as
        positive; ``test_rows`` and ``ood_rows``.

    Raises:
        InputError: there is no such model, it was trained without test rows, or the table does not
            fit it.
    """
    net, card = load_model(model)
    inside = read_test_scores(model)
    shape = tuple(card["data"]["shape"])
    if (len(shape) == 1) != (ood_features is not None):
        mend = "pass --ood-features FILE" if len(shape) == 1 else "leave --ood-features out"
        kind = "features" if len(shape) == 1 else "images"
        raise InputError(f"the model was trained on {kind}", mend=mend, file=ood)
    with TemporaryDirectory(prefix="labelfix-") as scratch:
        table = inputs.read_unlabelled(ood, features=ood_features)
        samples = samples_like(table, shape, Path(scratch) / "ood.npy", ood_features or ood)
        place = pick_device(device)
        logits = predict_logits(net.to(place), samples.source.to(place))
    outside = {"msp": msp_score(logits).numpy(), "energy": energy_score(logits).numpy()}
    figures: dict[str, Any] = {"test_rows": len(inside["msp"]), "ood_rows": len(logits)}
    for name, scores in inside.items():
        figures[f"{name}_auroc"] = auroc(scores, outside[name])
        figures[f"{name}_fpr95"] = fpr_at_95(scores, outside[name])
    return figures


def model_of(run: Path) -> Path:
    """The model that retrain left beside RUN; of a comparison, the one on purified labels."""
    folder = (run if run.is_dir() else run.parent) / "retrain"
    both = folder / "purified"
    return both if (both / WEIGHTS).is_file() and not (folder / WEIGHTS).is_file() else folder

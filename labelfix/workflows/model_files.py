"""A trained model as files: weights in safetensors, with a card that says how to make the net."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from labelfix.equations.ood import energy_score
from labelfix.errors import InputError
from labelfix.nets import backbones
from labelfix.nets.classifiers import Ensemble, FeatureClassifier, ImageClassifier
from labelfix.nets.weight_files import read_state, save_weights
from labelfix.retrain.registry import RetrainMethod
from labelfix.workflows.corrected_dataset import CorrectedDataset

WEIGHTS = "weights.safetensors"
RETRAIN = "train it again with labelfix retrain"


def card_of(material: CorrectedDataset, recipe: RetrainMethod) -> dict[str, Any]:
    """What a reader needs to make the net again: data, classes, architecture."""
    labels, shape = material.labels, material.train.values.shape
    source = labels.metadata.get("source", {})
    return {
        "data": {"source": source.get("data"), "features": source.get("features"),
                 "rows": len(labels), "shape": list(shape[1:])},
        "class_names": list(labels.class_names),
        "backbone": material.backbone if material.pixels else None,
        "start": material.start if material.pixels else None,
        "nets": len(recipe.nets),
    }  # fmt: skip


def save_model(net: nn.Module, out: Path, card: dict[str, Any]) -> None:
    """Write the weights with their card, aside first."""
    save_weights(net, out / WEIGHTS, metadata={"labelfix": json.dumps(card, ensure_ascii=False)})


def load_model(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A net that retrain wrote, in evaluation mode on the CPU, and its card.

    Raises:
        InputError: there is none, or its card does not fit its weights.
    """
    file = folder / WEIGHTS if folder.is_dir() else folder
    card = read_card(file)
    try:
        nets = [_untrained(card) for _ in range(card["nets"])]
        net = nets[0] if len(nets) == 1 else Ensemble(nets)
        net.load_state_dict(read_state(file))
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError("its card does not fit its weights", hint=RETRAIN, file=file) from error
    return net.eval(), card


def read_card(file: Path) -> dict[str, Any]:
    """The card of a weights file.

    Raises:
        InputError: no such file, or it carries no card.
    """
    if not file.is_file():
        raise InputError("there is no trained model", hint="run labelfix retrain", file=file)
    try:
        with safe_open(file, "np") as weights:
            return json.loads((weights.metadata() or {})["labelfix"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError("carries no card of labelfix", hint=RETRAIN, file=file) from error


def _untrained(card: dict[str, Any]) -> nn.Module:
    classes, shape = len(card["class_names"]), card["data"]["shape"]
    if card["backbone"] is None:
        return FeatureClassifier(shape[0], classes)
    start = "pretrained" if card["start"] == "pretrained" else "random"
    return ImageClassifier(
        backbones.build(card["backbone"], max(shape[:2]), weights=start), classes
    )


FILE = "predictions.parquet"


def save_predictions(
    out: Path, logits_NK: Tensor, material: CorrectedDataset, card: dict[str, Any]
) -> None:
    """Write id, label, predicted, probabilities and energy of the rows; aside first."""
    names = np.array(material.labels.class_names, dtype=object)
    seen = material.test or material.train
    p_NK = logits_NK.softmax(1).numpy()
    probabilities = pa.FixedSizeListArray.from_arrays(pa.array(p_NK.ravel()), len(names))
    card = card | {"rows": "test" if material.test else "training"}
    table = pa.table(
        {
            "id": pa.array(seen.ids, pa.string()),
            "label": pa.array(names[seen.labels], pa.string()),
            "predicted": pa.array(names[p_NK.argmax(1)], pa.string()),
            "probabilities": probabilities,
            "energy": pa.array(-energy_score(logits_NK).numpy(), pa.float32()),
        },
        metadata={"labelfix": json.dumps(card)},
    )
    aside = out / ".predictions.partial"
    pq.write_table(table, aside)
    os.replace(aside, out / FILE)


def read_test_scores(model: Path) -> dict[str, NDArray[np.float32]]:
    """MSP and energy score of the model's test rows, ``(T,)`` each.

    Raises:
        InputError: there are no predictions, or not of test rows.
    """
    file, hint = model / FILE, "train it with labelfix retrain --test TABLE"
    if not file.is_file():
        raise InputError("there are no predictions of test rows", hint=hint, file=file)
    table = pq.read_table(file, columns=["probabilities", "energy"])
    if json.loads(table.schema.metadata[b"labelfix"])["rows"] != "test":
        raise InputError("the model was trained without test rows", hint=hint, file=file)
    flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return {"msp": flat.reshape(len(table), -1).max(1), "energy": -table["energy"].to_numpy()}

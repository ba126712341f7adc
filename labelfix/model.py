"""A trained model as files: weights in safetensors, with a card that says how to make the net."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from labelfix.errors import InputError
from labelfix.material import Material
from labelfix.methods import backbones
from labelfix.methods.classifiers import Ensemble, FeatureClassifier, ImageClassifier
from labelfix.methods.recipes import Recipe
from labelfix.methods.weights import read_state, save_weights

WEIGHTS = "weights.safetensors"
RETRAIN = "train it again with labelfix retrain"


def card_of(material: Material, recipe: Recipe) -> dict[str, Any]:
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
        raise InputError("its card does not fit its weights", mend=RETRAIN, file=file) from error
    return net.eval(), card


def read_card(file: Path) -> dict[str, Any]:
    """The card of a weights file.

    Raises:
        InputError: no such file, or it carries no card.
    """
    if not file.is_file():
        raise InputError("there is no trained model", mend="run labelfix retrain", file=file)
    try:
        with safe_open(file, "np") as weights:
            return json.loads((weights.metadata() or {})["labelfix"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError("carries no card of labelfix", mend=RETRAIN, file=file) from error


def _untrained(card: dict[str, Any]) -> nn.Module:
    classes, shape = len(card["class_names"]), card["data"]["shape"]
    if card["backbone"] is None:
        return FeatureClassifier(shape[0], classes)
    start = "pretrained" if card["start"] == "pretrained" else "random"
    return ImageClassifier(
        backbones.build(card["backbone"], max(shape[:2]), weights=start), classes
    )

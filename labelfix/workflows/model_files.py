"""A trained model as files: weights in safetensors, with a card that says how to make the net."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from labelfix.equations.ood import energy_score
from labelfix.errors import InputError
from labelfix.nets.classifiers import Ensemble, image_classifier
from labelfix.nets.feature_net import feature_classifier
from labelfix.nets.weight_files import read_state, save_weights
from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.source import Source

if TYPE_CHECKING:
    from labelfix.workflows.retrain import RetrainConfig

WEIGHTS = "weights.safetensors"
RETRAIN = "train it again with labelfix retrain"


@dataclass(frozen=True, kw_only=True)
class ModelData:
    """What a model was trained on.

    Attributes:
        source, features: names of DATA and of the features' file, or None.
        rows: how many.
        shape: of one sample: (H, W, 3), or (D,).
    """

    source: str | None
    features: str | None
    rows: int
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a reader needs to know of a model, and to make its net again.

    Attributes:
        method, labels, seed, epochs, settings: of the training.
        uses: the columns of labels.parquet that it read.
        data: what it was trained on.
        class_names: the classes, in the order of the net's outputs.
        backbone, start: for images, the net and where its weights started.
        nets: how many nets vote.
    """

    method: str
    labels: str
    seed: int
    epochs: int
    settings: Mapping[str, Any]
    uses: tuple[str, ...]
    data: ModelData
    class_names: tuple[str, ...]
    backbone: str | None
    start: str | None
    nets: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_dict(cls, card: Mapping[str, Any]) -> ModelCard:
        """The card that JSON holds.

        Raises:
            KeyError, TypeError: it is no such card.
        """
        data = ModelData(**card["data"] | {"shape": tuple(card["data"]["shape"])})
        names, uses = tuple(card["class_names"]), tuple(card["uses"])
        return cls(**dict(card) | {"data": data, "class_names": names, "uses": uses})


def card_of(dataset: CorrectedDataset, config: RetrainConfig, epochs: int) -> ModelCard:
    """The card of a model that was trained on a dataset."""
    labels, shape = dataset.labels, dataset.train.values.shape
    source = Source.of_labels(labels)
    return ModelCard(
        method=config.method,
        labels=config.labels,
        seed=config.seed,
        epochs=epochs,
        settings=asdict(config.method_settings),
        uses=config.uses,
        data=ModelData(
            source=source.data,
            features=source.features or source.features_column,
            rows=len(labels),
            shape=shape[1:],
        ),
        class_names=labels.class_names,
        backbone=dataset.backbone if dataset.pixels else None,
        start=dataset.start if dataset.pixels else None,
        nets=len(config.registered.nets),
    )


def save_model(net: nn.Module, out: Path, card: ModelCard) -> None:
    """Write the weights with their card, aside first."""
    text = json.dumps(card.to_dict(), ensure_ascii=False)
    save_weights(net, out / WEIGHTS, metadata={"labelfix": text})


def load_model(folder: Path) -> tuple[nn.Module, ModelCard]:
    """A net that retrain wrote, in evaluation mode on the CPU, and its card.

    Raises:
        InputError: there is none, or its card does not fit its weights.
    """
    file = folder / WEIGHTS if folder.is_dir() else folder
    card = read_card(file)
    try:
        nets = [_untrained(card) for _ in range(card.nets)]
        net = nets[0] if len(nets) == 1 else Ensemble(nets)
        net.load_state_dict(read_state(file))
    except (TypeError, RuntimeError) as error:
        raise InputError("its card does not fit its weights", hint=RETRAIN, file=file) from error
    return net.eval(), card


def read_card(file: Path) -> ModelCard:
    """The card of a weights file.

    Raises:
        InputError: no such file, or it carries no card.
    """
    if not file.is_file():
        raise InputError("there is no trained model", hint="run labelfix retrain", file=file)
    try:
        with safe_open(file, "np") as weights:
            return ModelCard.of_dict(json.loads((weights.metadata() or {})["labelfix"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError("carries no card of labelfix", hint=RETRAIN, file=file) from error


def _untrained(card: ModelCard) -> nn.Module:
    classes, shape = len(card.class_names), card.data.shape
    if card.backbone is None:
        return feature_classifier(shape[0], classes)
    start = "pretrained" if card.start == "pretrained" else "random"
    return image_classifier(card.backbone, max(shape[:2]), classes, weights=start)


FILE = "predictions.parquet"


def save_predictions(
    out: Path, logits_NK: Tensor, dataset: CorrectedDataset, card: ModelCard
) -> None:
    """Write id, label, predicted, probabilities and energy of the rows; aside first."""
    names = np.array(dataset.labels.class_names, dtype=object)
    seen = dataset.test or dataset.train
    p_NK = logits_NK.softmax(1).numpy()
    probabilities = pa.FixedSizeListArray.from_arrays(pa.array(p_NK.ravel()), len(names))
    about = card.to_dict() | {"rows": "test" if dataset.test else "training"}
    table = pa.table(
        {
            "id": pa.array(seen.ids, pa.string()),
            "label": pa.array(names[seen.labels], pa.string()),
            "predicted": pa.array(names[p_NK.argmax(1)], pa.string()),
            "probabilities": probabilities,
            "energy": pa.array(-energy_score(logits_NK).numpy(), pa.float32()),
        },
        metadata={"labelfix": json.dumps(about)},
    )
    aside = out / ".predictions.partial"
    pq.write_table(table, aside)
    os.replace(aside, out / FILE)


@dataclass(frozen=True, kw_only=True)
class OutlierScores:
    """Scores of a model's test rows, ``(T,)`` each; high = like what the model was trained on."""

    msp: NDArray[np.float32]
    energy: NDArray[np.float32]


def read_test_scores(model: Path) -> OutlierScores:
    """Largest probability and negative energy of the model's test rows.

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
    msp = flat.reshape(len(table), -1).max(1)
    return OutlierScores(msp=msp, energy=-table["energy"].to_numpy())

"""What a retraining reads: the corrected labels, with the images or features of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.methods import backbones
from labelfix.methods.sources import (
    FeatureClassifier,
    FeatureSource,
    ImageClassifier,
    ImageSource,
    Source,
)


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Rows as a net sees them.

    Attributes:
        ids: ``(N,)`` object array of str.
        values: images ``(N, H, W, 3)`` uint8, or features ``(N, D)``.
        keys: ``(N,)`` uint64 content keys.
        labels: ``(N,)`` int32 codes.
    """

    ids: NDArray[np.object_]
    values: NDArray[Any]
    keys: NDArray[np.uint64]
    labels: NDArray[np.int32]

    @property
    def source(self) -> Source:
        return ImageSource(self.values) if self.values.ndim == 4 else FeatureSource(self.values)


@dataclass(frozen=True, kw_only=True)
class Material:
    """Everything a retraining reads.

    Attributes:
        labels: the corrected dataset.
        train: its rows.
        test: labelled rows to be tested on, or None.
        backbone, weights: for images, the net and where its weights start.
    """

    labels: contract.Labels
    train: Samples
    test: Samples | None
    backbone: str
    weights: str

    @property
    def pixels(self) -> int | None:
        """The longer side of the images; None for features."""
        shape = self.train.values.shape
        return max(shape[1:3]) if len(shape) == 4 else None

    @property
    def in_test(self) -> NDArray[np.bool_]:
        """``(N,)``: rows that the test table holds too, by content; never to be trained on."""
        if self.test is None:
            return np.zeros(len(self.labels), dtype=bool)
        return np.isin(self.train.keys, self.test.keys)

    def net_maker(self, seed: int) -> partial[nn.Module]:
        """A picklable maker of the untrained net."""
        return partial(
            make_net,
            seed=seed,
            classes=len(self.labels.class_names),
            backbone=self.backbone,
            weights=self.weights,
            like=self.train.values,
        )


def make_net(
    *, seed: int, classes: int, backbone: str, weights: str, like: NDArray[Any]
) -> nn.Module:
    """The untrained net for images or features like these."""
    if like.ndim == 2:
        return FeatureClassifier(like, classes)
    body = backbones.build(backbone, max(like.shape[1:3]), weights=weights, seed=seed)
    return ImageClassifier(body, classes)


def gather(
    run: Path,
    scratch: Path,
    *,
    test: Path | None = None,
    test_features: Path | None = None,
) -> Material:
    """Read what RUN names.

    Args:
        run: a purify output folder, or a labels.parquet.
        scratch: a folder for decoded images.
        test: a table of test rows with right labels.
        test_features: their features, where DATA's rows came as features.

    Raises:
        InputError: RUN or the test table is not usable, or features and images are mixed.
    """
    labels = contract.read(run)
    folder = run if run.is_dir() else None
    source = labels.metadata.get("source", {})
    settings = labels.metadata.get("settings", {})
    pixels = folder / "stages" / "images" / "pixels.npy" if folder else None
    if pixels is not None and pixels.exists() and not source.get("features"):
        train = _decoded(labels, pixels)
    else:
        file = run / "labels.parquet" if folder else run
        train = _read(file, labels, source, scratch)
    weights = folder / "stages" / "pretrain" / "weights.safetensors" if folder else None
    return Material(
        labels=labels,
        train=train,
        test=_test(test, test_features, labels, train, scratch),
        backbone=settings.get("backbone") or "smallconv",
        weights=str(weights) if weights and weights.exists() else "random",
    )


def _decoded(labels: contract.Labels, pixels: Path) -> Samples:
    """The images that purify decoded, without those of CLEAN alone."""
    rows = slice(len(labels))
    keys = np.load(pixels.with_name("keys.npy"))
    values = np.load(pixels, mmap_mode="r")[rows]
    return Samples(ids=labels.ids, values=values, keys=keys[rows], labels=labels.label)


def _read(file: Path, labels: contract.Labels, source: dict[str, Any], scratch: Path) -> Samples:
    """Rows of a labels.parquet alone: its own image or list column, or the features it names."""
    data = Path(source["data"]) if source.get("data") else file
    root = data if data.is_dir() else data.parent
    table = inputs.read_labelled(
        file,
        like=labels.class_names,
        label_column="label",
        image_column=source.get("image_column"),
        id_column="id",
        features=source.get("features"),
        root=root if root.is_dir() else None,
    )
    return _samples(table, scratch / "train.npy", size=None)


def _samples(table: inputs.Labelled, scratch: Path, size: tuple[int, int] | None) -> Samples:
    if table.features is not None:
        keys = inputs.content_keys(table.features)
        return Samples(ids=table.ids, values=table.features, keys=keys, labels=table.labels)
    pixels = inputs.decode(table, scratch, size=size)
    return Samples(ids=table.ids, values=pixels.images, keys=pixels.keys, labels=table.labels)


def _test(
    test: Path | None,
    features: Path | None,
    labels: contract.Labels,
    train: Samples,
    scratch: Path,
) -> Samples | None:
    if test is None:
        return None
    if train.values.ndim == 2 and features is None:
        raise InputError(
            "the dataset was given as features, and the test rows have none",
            mend="pass them with --test-features FILE",
            file=test,
        )
    table = inputs.read_labelled(test, like=labels.class_names, features=features)
    images = train.values.ndim == 4
    samples = _samples(table, scratch / "test.npy", train.values.shape[1:3] if images else None)
    if samples.values.shape[1:] != train.values.shape[1:]:
        raise InputError(
            f"has features of width {samples.values.shape[1]}, the dataset's are "
            f"{train.values.shape[1]} wide",
            mend="make both in the same way",
            file=features or test,
        )
    return samples

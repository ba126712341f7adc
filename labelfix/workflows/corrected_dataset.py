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
from labelfix.nets import backbones
from labelfix.nets.classifiers import FeatureClassifier, ImageClassifier
from labelfix.nets.datasets import BatchSource, FeatureSource, ImageSource
from labelfix.nets.mirroring import may_mirror
from labelfix.workflows.output_folder import reading, row_digest


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
    def source(self) -> BatchSource:
        return ImageSource(self.values) if self.values.ndim == 4 else FeatureSource(self.values)

    def source_for(self, labels: NDArray[np.integer]) -> BatchSource:
        """The rows for training on these labels, ``(N,)``, -1 = none: mirrored if that is safe."""
        if self.values.ndim != 4:
            return self.source
        return ImageSource(self.values, mirrored=may_mirror(self.values, labels))

    def part(self, rows: NDArray[np.integer]) -> Samples:
        """Some of the rows, in memory."""
        return Samples(
            ids=self.ids[rows],
            values=np.asarray(self.values[rows]),
            keys=self.keys[rows],
            labels=self.labels[rows],
        )


@dataclass(frozen=True, kw_only=True)
class CorrectedDataset:
    """Everything a retraining reads.

    Attributes:
        file: the labels.parquet.
        labels: the corrected dataset.
        train: its rows.
        test: labelled rows to be tested on, or None.
        backbone, weights: for images, the net and where its weights start.
        notices: what was found out on the way, one line each.
    """

    file: Path
    labels: contract.Labels
    train: Samples
    test: Samples | None
    backbone: str
    weights: str
    notices: tuple[str, ...] = ()

    @property
    def start(self) -> str:
        """Where the weights start, without paths: random, pretrained (by timm) or a file."""
        return self.weights if self.weights in ("random", "pretrained") else "file"

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
        """A picklable maker of untrained nets, called with 0, 1, ..."""
        return partial(
            make_net,
            seed=seed,
            classes=len(self.labels.class_names),
            backbone=self.backbone,
            weights=self.weights,
            like=self.train.values,
        )


def make_net(
    number: int, *, seed: int, classes: int, backbone: str, weights: str, like: NDArray[Any]
) -> nn.Module:
    """An untrained net for images or features like these; ``number`` tells several apart."""
    if like.ndim == 2:
        return FeatureClassifier.on(like, classes)
    body = backbones.build(backbone, max(like.shape[1:3]), weights=weights, seed=seed + number)
    return ImageClassifier(body, classes)


def gather(
    run: Path,
    scratch: Path,
    *,
    features: str | None = None,
    image_column: str | None = None,
    test: Path | None = None,
    test_features: Path | None = None,
) -> CorrectedDataset:
    """Read what RUN names.

    Args:
        run: a purify output folder, or a labels.parquet.
        scratch: a folder for decoded images.
        features, image_column: of RUN's rows, where RUN itself does not say (a labels.parquet that
            someone else wrote): as for purify.
        test: a table of test rows with right labels.
        test_features: their features, where DATA's rows came as features.

    Raises:
        InputError: RUN or the test table is not usable, or features and images are mixed.
    """
    if test_features is not None and test is None:
        raise InputError(
            "--test-features comes without --test",
            hint="name the table of these rows with --test TABLE",
            file=test_features,
        )
    labels = contract.read_labels(run)
    folder = run if run.is_dir() else None
    file = run / "labels.parquet" if folder else run
    source = labels.metadata.get("source", {})
    if features or image_column:
        source = {"features": features, "image_column": image_column}
    pixels = folder / "stages" / "images" / "pixels.npy" if folder else None
    if pixels is not None and pixels.exists() and not source.get("features"):
        train = _decoded(labels, pixels)
        _require_same_rows(labels, train, pixels)
    else:
        train = _read(file, labels, source, scratch)
        if not features and str(source.get("features")).endswith(".npy"):
            _require_same_rows(labels, train, Path(source["features"]))
    settings = labels.metadata.get("settings", {}) if train.values.ndim == 4 else {}
    backbone, weights, notices = _start(settings, folder, train.values.shape)
    return CorrectedDataset(
        file=file,
        labels=labels,
        train=train,
        test=_test(test, test_features, labels, train, scratch),
        backbone=backbone,
        weights=weights,
        notices=notices,
    )


def _start(
    settings: dict[str, Any], folder: Path | None, shape: tuple[int, ...]
) -> tuple[str, str, tuple[str, ...]]:
    """The backbone that purify used, where its weights start, and what to say about it.

    The weights that lie in the folder's stages may be another run's: they count only where these
    labels were made with pretraining, and fit this backbone.
    """
    backbone = settings.get("backbone") or "smallconv"
    wanted = settings.get("weights") or "random"
    if wanted == "pretrained":
        return backbone, wanted, ()
    file = Path(wanted) if wanted != "random" else None
    if file is None and folder is not None and settings.get("pretrain", "none") != "none":
        file = folder / "stages" / "pretrain" / "weights.safetensors"
    if file is None:
        return backbone, "random", ()
    try:
        backbones.build(backbone, max(shape[1:3]), weights=file)
    except InputError as error:
        return backbone, "random", (f"training starts from random weights: {error}",)
    return backbone, str(file), ()


def _decoded(labels: contract.Labels, pixels: Path) -> Samples:
    """The images that purify decoded, without those of CLEAN alone."""
    rows = slice(len(labels))
    with reading(pixels.parent):
        keys = np.load(pixels.with_name("keys.npy"))
        values = np.load(pixels, mmap_mode="r")[rows]
    return Samples(ids=labels.ids, values=values, keys=keys[rows], labels=labels.label)


def _require_same_rows(labels: contract.Labels, train: Samples, file: Path) -> None:
    """What is matched by position alone must be what purify read, where the labels tell.

    Raises:
        InputError: other rows, or in another order, here or in labels.parquet.
    """
    told = labels.metadata.get("fingerprints", {}).get("rows")
    if told is not None and told != row_digest(labels.ids, train.keys):
        raise InputError(
            "does not hold the rows of labels.parquet, as purify read them, in their order",
            hint="run labelfix purify again, or name features of these rows with --features",
            file=file,
        )


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


def _samples(
    table: inputs.SampleTable,
    scratch: Path,
    size: tuple[int, int] | None,
    compared_with: NDArray[Any] | None = None,
) -> Samples:
    if table.features is not None:
        keys = inputs.content_keys(table.features, like=compared_with)
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
            hint="pass them with --test-features FILE",
            file=test,
        )
    table = inputs.read_labelled(test, like=labels.class_names, features=features)
    shape, file = train.values.shape[1:], features or test
    return samples_like(table, shape, scratch / "test.npy", file, compared_with=train.values)


def samples_like(
    table: inputs.SampleTable,
    shape: tuple[int, ...],
    scratch: Path,
    file: Path,
    *,
    compared_with: NDArray[Any] | None = None,
) -> Samples:
    """Samples as the net knows them: images are scaled to its size, features must be as wide.

    Args:
        table: the rows.
        shape: of one sample that the net knows: (H, W, 3), or (D,).
        scratch: a file for decoded images.
        file: to blame.
        compared_with: features among which these rows are looked for by their keys.
    """
    size = (shape[0], shape[1]) if len(shape) == 3 else None
    samples = _samples(table, scratch, size, compared_with)
    if samples.values.shape[1:] != shape:
        raise InputError(
            f"has features of width {samples.values.shape[1]}, the dataset's are {shape[0]} wide",
            hint="make both in the same way",
            file=file,
        )
    return samples

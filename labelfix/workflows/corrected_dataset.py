"""What a retraining reads: the corrected labels, with the images or features of their rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import nn

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.features.standardise import Scaling
from labelfix.nets import backbones
from labelfix.nets.classifiers import image_classifier
from labelfix.nets.feature_net import feature_classifier
from labelfix.workflows.output_folder import reading, row_digest
from labelfix.workflows.row_content import Samples, samples_like, samples_of
from labelfix.workflows.source import Source, candidates, locate_input


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

    @classmethod
    def open(
        cls,
        run: Path,
        scratch: Path,
        *,
        data: Path | None = None,
        features: str | None = None,
        image_column: str | None = None,
        test: Path | None = None,
        test_features: Path | None = None,
        label_column: str | None = None,
        id_column: str | None = None,
    ) -> CorrectedDataset:
        """Read a corrected dataset with the images or features of its rows.

        Args:
            run: a purify output folder, or a labels.parquet.
            scratch: a folder for decoded images.
            data: the table or folder that was purified, where it is no longer near ``run``.
            features, image_column: of RUN's rows, where RUN itself does not lead to them (a
                labels.parquet that someone else wrote, features that were moved): as for purify.
            test: a table of test rows with right labels.
            test_features: their features, where DATA's rows came as features.
            label_column, id_column: of the test table, where its names and RUN's do not tell.

        Raises:
            InputError: RUN or the test table is not usable, RUN's images or features are not
                found, or features and images are mixed.
        """
        _require_test_table(test, test_features)
        labels = contract.read_labels(run)
        file = run / "labels.parquet" if run.is_dir() else run
        wanted = _Wanted(data=data, features=features, image_column=image_column)
        train = _training_rows(file, labels, wanted, run, scratch)
        backbone, weights, notices = _start(file, labels, run, train.values.shape)
        columns = inputs.Columns(label=label_column, image=image_column, id=id_column)
        tested, lines = _test(test, test_features, columns, labels, train, scratch)
        return cls(
            file=file,
            labels=labels,
            train=train,
            test=tested,
            backbone=backbone,
            weights=weights,
            notices=(*notices, *lines),
        )

    def net_maker(self, seed: int) -> partial[nn.Module]:
        """A picklable maker of untrained nets, called with 0, 1, ..."""
        classes = len(self.labels.class_names)
        if self.pixels is None:
            return partial(_feature_net, scaling=self.train.scaling, classes=classes)
        return partial(
            _image_net,
            seed=seed,
            classes=classes,
            backbone=self.backbone,
            weights=self.weights,
            pixels=self.pixels,
        )


def _feature_net(number: int, *, scaling: Scaling, classes: int) -> nn.Module:
    """An untrained net for features of this scaling; torch's generator tells several apart."""
    return feature_classifier(len(scaling.mean_D), classes, scaling=scaling)


def _image_net(
    number: int, *, seed: int, classes: int, backbone: str, weights: str, pixels: int
) -> nn.Module:
    """An untrained net for images of so many pixels a side; ``number`` tells several apart."""
    return image_classifier(backbone, pixels, classes, weights=weights, seed=seed + number)


def _require_test_table(test: Path | None, test_features: Path | None) -> None:
    if test_features is not None and test is None:
        raise InputError(
            "--test-features comes without --test",
            hint="name the table of these rows with --test TABLE",
            file=test_features,
        )


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a person says of the inputs, where labels.parquet does not lead to them."""

    data: Path | None
    features: str | None
    image_column: str | None


def _training_rows(
    file: Path, labels: contract.Labels, wanted: _Wanted, run: Path, scratch: Path
) -> Samples:
    """The rows of labels.parquet, from the images that purify decoded or from their source."""
    source = Source.of_labels(labels)
    if wanted.features or wanted.image_column:
        source = Source(image_column=wanted.image_column)
    of_features = wanted.features or source.features or source.features_column
    pixels = run / "stages" / "images" / "pixels.npy"
    if pixels.exists() and not of_features:
        train = _decoded(labels, pixels)
        _require_same_rows(labels, train, pixels)
        return train
    features = wanted.features or source.features_column
    if features is None and source.features is not None:
        features = str(_features_file(file, source.features))
    root = _root(file, source, wanted)
    table = inputs.read_labelled(
        file,
        like=labels.class_names,
        wanted=inputs.Columns(label="label", image=source.image_column, id="id"),
        features=features,
        root=root,
    )
    train = samples_of(table, scratch / "train.npy")
    if not wanted.features and str(features).endswith(".npy"):
        _require_same_rows(labels, train, Path(str(features)))
    return train


def _features_file(file: Path, name: str) -> Path:
    found = locate_input(file, "features", name, "--features FILE")
    if found is None:
        raise InputError(
            f"the features of its rows, '{name}', are not near it",
            hint="say where they are with --features FILE",
            file=file,
        )
    return found


def _root(file: Path, source: Source, wanted: _Wanted) -> Path | None:
    """The folder that relative image paths start from; None = that of labels.parquet."""
    data = wanted.data
    if data is not None and not data.exists():
        raise InputError("does not exist", hint="give --data a file or folder", file=data)
    if data is None and source.data is not None and source.image_column is not None:
        data = locate_input(file, "data", source.data, "--data DATA")
        if data is None and not _leads_to_images(file, source.image_column):
            raise InputError(
                f"the table of its images, '{source.data}', is not near it",
                hint="say where it is with --data DATA",
                file=file,
            )
    if data is None:
        return None
    return data if data.is_dir() else data.parent


def _leads_to_images(file: Path, column: str) -> bool:
    """Whether the image column of labels.parquet holds images, or paths that are right as seen
    from its folder, by the first row."""
    table = pq.ParquetFile(file)
    if column not in table.schema_arrow.names:
        return False
    first = next(table.iter_batches(batch_size=1, columns=[column]))[column][0].as_py()
    return not isinstance(first, str) or (file.parent / first).exists()


def _start(
    file: Path, labels: contract.Labels, run: Path, shape: tuple[int, ...]
) -> tuple[str, str, tuple[str, ...]]:
    """The backbone that purify used, where its weights start, and what to say about it.

    The weights that lie in the folder's stages may be another run's: they count only where these
    labels were made with pretraining, and fit this backbone.
    """
    settings = labels.metadata.get("settings", {}) if len(shape) == 4 else {}
    backbone = settings.get("backbone") or "smallconv"
    wanted = settings.get("weights") or "random"
    if wanted == "pretrained":
        return backbone, wanted, ()
    pretrained = run / "stages" / "pretrain" / "weights.safetensors"
    if wanted != "random":
        found = candidates(file, "weights", wanted)
        if len(found) != 1:
            problem = f"the file '{wanted}', from which purify's started, was not found"
            return backbone, "random", (f"training starts from random weights: {problem}",)
        weights = found[0]
    elif run.is_dir() and settings.get("pretrain", "none") != "none":
        weights = pretrained
    else:
        return backbone, "random", ()
    try:
        backbones.build(backbone, max(shape[1:3]), weights=weights)
    except InputError as error:
        return backbone, "random", (f"training starts from random weights: {error}",)
    return backbone, str(weights), ()


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
    expected = labels.metadata.get("fingerprints", {}).get("rows")
    if expected is not None and expected != row_digest(labels.ids, train.keys):
        raise InputError(
            "does not hold the rows of labels.parquet, as purify read them, in their order",
            hint="run labelfix purify again, or name features of these rows with --features",
            file=file,
        )


def _test(
    test: Path | None,
    features: Path | None,
    columns: inputs.Columns,
    labels: contract.Labels,
    train: Samples,
    scratch: Path,
) -> tuple[Samples | None, tuple[str, ...]]:
    """The test rows, and what was taken for them, one line each."""
    if test is None:
        return None, ()
    if train.values.ndim == 2 and features is None:
        raise InputError(
            "the dataset was given as features, and the test rows have none",
            hint="pass them with --test-features FILE",
            file=test,
        )
    usual = Source.of_labels(labels).columns
    # --image-column is of RUN's rows in the first place: the test table may have another.
    table = inputs.read_labelled(
        test,
        like=labels.class_names,
        wanted=replace(columns, image=None),
        usual=replace(usual, image=columns.image or usual.image),
        features=features,
    )
    shape, file = train.values.shape[1:], features or test
    samples = samples_like(table, shape, scratch / "test.npy", file, compared_with=train.values)
    return samples, table.notices

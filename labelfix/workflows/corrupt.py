"""corrupt: a table with right labels in, the same table with known label noise out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labelfix import contract, inputs
from labelfix.equations import corruption as eq
from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_text
from labelfix.ranges import OneOf, Seed, Share, check_options

NOISES = ("symmetric", "asymmetric", "instance")


@dataclass(frozen=True, kw_only=True)
class CorruptConfig:
    """What noise, and how much.

    Attributes:
        noise: symmetric, asymmetric or instance.
        rate: share of labels to flip, in [0, 1]; for asymmetric noise, of the mapped classes' rows.
        map: for asymmetric noise "cat=dog,truck=car", or "next" (each class to the next one);
            None = each class to the one that a classifier takes it for most.
        seed: of the draws.

    Raises:
        InputError: a value is out of range.
    """

    noise: Annotated[str, OneOf(*NOISES)]
    rate: Share
    map: str | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.map is not None and self.noise != "asymmetric":
            raise InputError(
                f"--map does not go with {self.noise} noise", hint="use --noise asymmetric"
            )


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """What was done: realised noise rate over labelled rows, and the map where there is one."""

    realised_rate: float
    rows: int
    flipped: int
    map: dict[str, str]


def corrupt(dataset: inputs.Dataset, out: Path, config: CorruptConfig) -> Corrupted:
    """Write ``dataset``'s table again with noisy labels in its label column.

    The right label stays beside it in the column ``true_label``, so that the result can be
    evaluated; labelfix never learns from that column. Image paths are rewritten where the new
    table lies in another folder.

    Args:
        dataset: DATA, read and checked.
        out: the new table, .csv or .parquet.
        config: what noise.

    Raises:
        InputError: a class of the map is unknown, there is nothing to measure likeness by, or
            ``out`` is unusable.
    """
    _check_destination(dataset, out)
    rows = np.flatnonzero(dataset.given >= 0)
    generator = np.random.default_rng(config.seed)
    noisy = dataset.given.copy()
    noisy[rows], target = _flip(dataset, rows, config, generator)
    flipped = int((noisy != dataset.given).sum())
    _write(dataset, noisy, out)
    names = dataset.class_names
    moves = {names[i]: names[j] for i, j in enumerate(target) if i != j}
    return Corrupted(realised_rate=flipped / len(rows), rows=len(rows), flipped=flipped, map=moves)


def _flip(
    dataset: inputs.Dataset,
    rows: NDArray[np.int64],
    config: CorruptConfig,
    generator: np.random.Generator,
) -> tuple[eq.Codes, Iterable[int]]:
    labels, classes = dataset.given[rows], len(dataset.class_names)
    if config.noise == "symmetric":
        return eq.symmetric(labels, config.rate, classes, generator), ()
    if config.noise == "instance":
        values = _values(dataset)[rows]
        return eq.instance_dependent(labels, config.rate, values, classes, generator), ()
    target = _map(dataset, rows, config)
    return eq.asymmetric(labels, config.rate, target, generator), target.tolist()


def _map(dataset: inputs.Dataset, rows: NDArray[np.int64], config: CorruptConfig) -> eq.Codes:
    names = dataset.class_names
    target = np.arange(len(names), dtype=np.int32)
    if config.map is None:
        counts = np.bincount(dataset.given[rows])
        if counts.min() < 2:
            raise InputError(
                f"class '{names[counts.argmin()]}' has one row, too few to measure what it is "
                "taken for",
                hint="pass --map",
                file=dataset.source,
            )
        return eq.confusable_classes(_confusion(_values(dataset)[rows], dataset.given[rows]))
    if config.map == "next":
        return (target + 1) % len(names)
    for move in config.map.split(","):
        before, equals, after = (part.strip() for part in move.partition("="))
        unknown = [name for name in (before, after) if name not in names]
        if unknown or not equals:
            raise InputError(
                f"--map '{move}' names no two classes",
                hint=f"write class=class,... with classes from {', '.join(names[:10])}",
                file=dataset.source,
            )
        target[names.index(before)] = names.index(after)
    return target


def _values(dataset: inputs.Dataset) -> NDArray[np.floating]:
    """Features of DATA's rows, or the pixels of its images."""
    if dataset.features is not None:
        return np.asarray(dataset.features, dtype=np.float32)
    if dataset.image_column is None:
        raise InputError(
            "has neither images nor features to tell which rows are alike",
            hint="pass --features, or --map for asymmetric noise",
            file=dataset.source,
        )
    with TemporaryDirectory(prefix="labelfix-") as folder:
        pixels = inputs.decode(dataset, Path(folder) / "pixels.npy")
        values = pixels.images[: len(dataset)].reshape(len(dataset), -1)
        return values.astype(np.float32) / np.float32(255)


def _confusion(values: NDArray[np.floating], labels: eq.Codes) -> NDArray[np.float64]:
    """Mean held-out probability of each class for the rows of each class, ``(K, K)``."""
    folds = StratifiedKFold(min(5, int(np.bincount(labels).min())), shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    found = cross_val_predict(model, values, labels, cv=folds, method="predict_proba")
    return np.stack([found[labels == code].mean(0) for code in range(found.shape[1])])


def _check_destination(dataset: inputs.Dataset, out: Path) -> None:
    if out.suffix not in (".csv", ".parquet"):
        raise InputError("is no .csv or .parquet file", hint="give --out a name.csv", file=out)
    if out.resolve() == dataset.source.resolve():
        raise InputError("is DATA itself", hint="give --out another name", file=out)
    if not out.resolve().parent.is_dir():
        raise InputError("lies in a folder that does not exist", hint="make it first", file=out)


def _write(dataset: inputs.Dataset, noisy: eq.Codes, out: Path) -> None:
    """The table again, aside first: id, label, true_label, and every other column."""
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        dataset.columns.id or "id": pa.array(dataset.ids, pa.string()),
        "label": _names(noisy, dataset.class_names),
        "true_label": _names(dataset.given, dataset.class_names),
    }
    batches = list(dataset.other_columns())
    others = pa.Table.from_batches(batches) if batches else pa.table({})
    others = others.rename_columns(list(contract.free_names(others.column_names).values()))
    for name in others.column_names:
        if name not in columns:
            columns[name] = (
                _moved(dataset, others[name], out) if name == dataset.image_column else others[name]
            )
    table = pa.table(columns)
    aside = out.with_name(f".{out.name}.partial")
    if out.suffix == ".parquet":
        pq.write_table(table, aside)
    else:
        _require_flat(table, out)
        pacsv.write_csv(table, aside)
    os.replace(aside, out)


def _names(codes: eq.Codes, names: tuple[str, ...]) -> pa.Array:
    texts = np.array([*names, None], dtype=object)[codes]  # -1 = no label = the last
    return pa.array(texts, pa.string())


def _moved(dataset: inputs.Dataset, column: pa.ChunkedArray, out: Path) -> pa.ChunkedArray:
    """Relative image paths, as seen from the new table."""
    if not is_text(column.type) or out.resolve().parent == dataset.root.resolve():
        return column
    start = out.resolve().parent
    moved = [os.path.relpath(dataset.root.resolve() / path, start) for path in column.to_pylist()]
    return pa.chunked_array([pa.array(moved, pa.string())])


def _require_flat(table: pa.Table, out: Path) -> None:
    nested = [
        f.name for f in table.schema if pa.types.is_nested(f.type) or pa.types.is_binary(f.type)
    ]
    if nested:
        raise InputError(
            "CSV cannot hold this column's lists or bytes",
            hint="give --out a name.parquet",
            file=out,
            column=nested[0],
        )

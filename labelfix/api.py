"""``labelfix.purify`` and ``labelfix.read``: the product as Python calls, arrays in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from labelfix import contract, inputs, stages
from labelfix.errors import InputError
from labelfix.methods.judge import Evidence, Judgement
from labelfix.methods.neighbours import nearest
from labelfix.methods.scores import Scores
from labelfix.outcome import corrected, noise_rate
from labelfix.prediction import run_methods
from labelfix.rows import Rows
from labelfix.run import PurifyConfig

REAL = "biuf"  # kinds of types: booleans, integers, floats


@dataclass(frozen=True, kw_only=True)
class Result:
    """A corrected dataset in memory, rows in the order of ``features``.

    Attributes:
        labels: ``(N,)``, the label to train on, of the type that ``given`` had.
        soft_labels: ``(N, K)`` float32, in the order of ``classes``; rows sum to 1.
        decisions: ``(N,)`` of keep, correct, review, fill, checked.
        model_labels: ``(N,)``, the model's own label: the best class of its prediction alone,
            out of fold; ``pseudo_reliability`` judges it.
        weights: ``(N,)`` float32 in [0, 1] for training.
        review_ranks: ``(N,)`` int32; 1 = look at this row first.
        label_reliability, pseudo_reliability, clid: ``(N,)`` float32 scores, as defined in the
            field metadata of labels.parquet; NaN = not scored.
        classes: ``(K,)``.
        evidence: label accuracy before and after, and more, on the audited rows.
        noise_rate: estimated share of wrong labels among the given ones, or None.
    """

    labels: NDArray[Any]
    soft_labels: NDArray[np.float32]
    decisions: NDArray[np.str_]
    model_labels: NDArray[Any]
    weights: NDArray[np.float32]
    review_ranks: NDArray[np.int32]
    label_reliability: NDArray[np.float32]
    pseudo_reliability: NDArray[np.float32]
    clid: NDArray[np.float32]
    classes: NDArray[Any]
    evidence: Evidence
    noise_rate: float | None
    _file: contract.Labels

    def to_parquet(self, path: str | Path) -> None:
        """Write labels.parquet, schema version 1; ids are the row numbers.

        Args:
            path: the file, in a folder that exists; an old one is replaced.

        Raises:
            InputError: there is no such folder, or the path is one.
        """
        path = Path(path)
        if path.is_dir():
            raise InputError("is a folder", mend="name a file in it: labels.parquet", file=path)
        if not path.parent.is_dir():
            raise InputError("there is no such folder", mend="make it first", file=path.parent)
        contract.write(path, self._file)


def purify(
    features: ArrayLike,
    given: ArrayLike | Sequence[Any],
    *,
    clean_features: ArrayLike | None = None,
    clean_labels: ArrayLike | Sequence[Any] | None = None,
    audited: Mapping[int, Any] | pd.Series | None = None,
    method: str = "auto",
    upper_loss: str = "auto",
    min_precision: float = 0.0,
    seed: int = 0,
    device: str = "auto",
) -> Result:
    """Correct the labels of rows that are described by features.

    Args:
        features: ``(N, D)`` finite numbers, D >= 1; arrays, memory maps, torch tensors and pandas
            frames are taken; booleans are 0 and 1.
        given: ``(N,)`` strings or integers; None and NaN = no label.
        clean_features, clean_labels: ``(M, D)`` and ``(M,)``, checked rows that are not in
            ``features``; each has a label.
        audited: row number, from 0 -> right label, a mapping or a Series, for checked rows that
            are in ``features``.
        method: auto, dmlp, dmlp-naive, mlc, mlc-d, emlc, ebomlc, clid, mw-net or vri; without
            checked rows auto is clid, and only clid, mw-net and vri are possible.
        upper_loss: what steers mw-net and vri: ce-clean, ce-noisy, small-loss, mae, clid or
            clid-sparse; auto is ce-clean for mw-net with checked rows, else clid.
        min_precision: least posterior probability of a changed label, in [0, 1].
        seed: with it, the result is determined.
        device: auto, cpu, cuda or mps.

    Raises:
        InputError: an argument is of the wrong kind, or they do not fit together; the message
            names the place as Python does (``given[3]`` is the fourth label) and the mend.
        DegenerateLearningError: learning gave nothing usable.
    """
    config = PurifyConfig(
        method=method, upper_loss=upper_loss, min_precision=min_precision, seed=seed, device=device
    )
    labels = _labels(given, "given")
    rows, classes = _rows(features, labels, clean_features, clean_labels, audited)
    graph = nearest(rows.features)
    prediction = run_methods(rows, graph, config)
    judgement = stages.decide(rows, prediction, config)
    scores = stages.run_scores(rows, graph, prediction, judgement, config)
    own = prediction.of_student(judgement.witness).argmax(1)
    return _result(judgement, scores, own, rows, classes, config, len(labels))


def read(path: str | Path) -> contract.Labels:
    """Read a labels.parquet, or the one in a purify output folder, and check it.

    Raises:
        InputError: it is missing or breaks the contract.
    """
    return contract.read(path)


def _rows(
    features: ArrayLike,
    labels: list[Any],
    clean_features: ArrayLike | None,
    clean_labels: ArrayLike | Sequence[Any] | None,
    audited: Mapping[int, Any] | pd.Series | None,
) -> tuple[Rows, NDArray[Any]]:
    matrix = _matrix(features, "features")
    if len(labels) != len(matrix):
        raise InputError(
            f"given holds {len(labels)} labels for {len(matrix)} rows of features",
            mend="pass one label a row, None where there is none",
        )
    code = _codes(labels)
    extra = [] if clean_labels is None else _labels(clean_labels, "clean_labels")
    if clean_features is not None:
        matrix = _stack(matrix, _matrix(clean_features, "clean_features"), len(extra))
    elif extra:
        raise InputError("clean_labels come without clean_features", mend="pass both, or audited")
    given = np.full(len(matrix), -1, np.int32)
    given[: len(labels)] = [-1 if label is None else code[label] for label in labels]
    checked = np.full(len(matrix), -1, np.int32)
    for row, label in enumerate(extra):
        checked[len(labels) + row] = _right(label, code, f"clean_labels[{row}]")
    for row, label in _audited(audited, len(labels)).items():
        checked[row] = _right(label, code, f"audited[{row}]")
    content = inputs.content_keys(matrix, blame=_not_finite(len(labels)))
    rows = Rows(
        features=matrix, given=given, checked=checked, content=content, classes=len(code), key=""
    )
    return rows, np.array(list(code))


def _matrix(values: ArrayLike, name: str) -> NDArray[Any]:
    """``(rows, columns)`` float16 or float32."""
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused
        array = _array(values, name)
        if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in REAL:
            raise InputError(
                f"{name} have shape {array.shape} and type {array.dtype}",
                mend="pass real numbers of shape (rows, columns), with a column at least",
            )
        return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    """A tensor, frame, list or array as an array; float32 where NumPy lacks the type."""
    try:
        if isinstance(values, torch.Tensor):
            wide = values.float() if values.dtype == torch.bfloat16 else values
            return wide.numpy(force=True)
        if isinstance(values, pd.DataFrame) and all(kind.kind in REAL for kind in values.dtypes):
            return np.ascontiguousarray(values.to_numpy(np.float32, na_value=np.nan))
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot become an array", mend="pass rows of numbers, all of one length"
        ) from error


def _stack(upper: NDArray[Any], lower: NDArray[Any], labels: int) -> NDArray[Any]:
    if lower.shape != (labels, upper.shape[1]):
        raise InputError(
            f"clean_features have shape {lower.shape}",
            mend=f"pass ({labels}, {upper.shape[1]}): one row a clean label, as wide as features",
        )
    return np.concatenate([upper, lower])


def _not_finite(rows: int) -> Callable[[int], InputError]:
    """The maker of the error for a row of ``features``, which are so many, or stacked below."""

    def error(row: int) -> InputError:
        place = f"features[{row}]" if row < rows else f"clean_features[{row - rows}]"
        return InputError(
            f"{place} holds NaN, infinity or more than float32 can",
            mend="mend or leave out this row",
        )

    return error


def _labels(values: ArrayLike | Sequence[Any], name: str) -> list[Any]:
    """One label a row as Python has it, None where there is none."""
    shape = tuple(getattr(values, "shape", (1,)))
    if len(shape) != 1:
        raise InputError(
            f"{name} has shape {shape}", mend="pass shape (rows,); of one-hot rows, the argmax"
        )
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(
            f"{name} is of type {type(values).__name__}",
            mend="pass a list or an array of one label a row, None where there is none",
        )
    listed = getattr(values, "tolist", lambda: values)()
    return [_label(value, name, row) for row, value in enumerate(listed)]


def _label(value: Any, name: str, key: Any) -> Any:  # noqa: ANN401
    """A label as Python has it, None where it is missing."""
    value = _plain(value)
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if not isinstance(value, str | bytes | int | float):
        raise InputError(
            f"{name}[{key}] is of type {type(value).__name__}",
            mend="pass a string or a number, None where there is none",
        )
    return None if value != value else value


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A NumPy or torch scalar as Python's; anything else as it is."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _audited(audited: Mapping[int, Any] | pd.Series | None, rows: int) -> dict[int, Any]:
    """Row number -> label, None where it is missing."""
    if audited is None:
        return {}
    if not isinstance(audited, Mapping | pd.Series):
        raise InputError(
            f"audited is of type {type(audited).__name__}", mend="pass {row number: right label}"
        )
    found: dict[int, Any] = {}
    for key, value in audited.items():
        row = _row(key, rows)
        if row in found:
            raise InputError(f"audited names row {row} twice", mend="name each row once")
        found[row] = _label(value, "audited", row)
    return found


def _row(key: Any, rows: int) -> int:  # noqa: ANN401
    row = _plain(key)
    if not isinstance(row, int | float) or not 0 <= row < rows or row != int(row):
        raise InputError(f"audited names row {row!r}", mend=f"use row numbers from 0 to {rows - 1}")
    return int(row)


def _codes(labels: list[Any]) -> dict[Any, int]:
    """Class -> code, in the order of the classes."""
    present = {label for label in labels if label is not None}
    if len(present) < 2:
        raise InputError(
            f"given holds {len(present)} distinct labels", mend="pass labels of two or more classes"
        )
    try:
        return {label: code for code, label in enumerate(sorted(present))}
    except TypeError as error:
        raise InputError(
            "given mixes strings and numbers", mend="pass one kind of label"
        ) from error


def _right(label: Any, code: dict[Any, int], place: str) -> int:  # noqa: ANN401
    """The code of a checked row's label."""
    if label is None:
        raise InputError(f"{place} is no label", mend="leave out rows that nobody checked")
    if label not in code:
        raise InputError(
            f"{place} holds '{label}', which no given label is",
            mend=f"use one of {', '.join(map(str, list(code)[:10]))}",
        )
    return code[label]


def _result(
    judgement: Judgement,
    scores: Scores,
    own: NDArray[np.int64],
    rows: Rows,
    classes: NDArray[Any],
    config: PurifyConfig,
    count: int,
) -> Result:
    noise = noise_rate(judgement, rows.given[:count])
    settings = {"method": judgement.witness, "seed": config.seed}
    file = corrected(
        judgement,
        scores,
        np.array([str(row) for row in range(count)], dtype=object),
        tuple(str(name) for name in classes),
        rows.given[:count],
        metadata={"settings": settings, "noise_rate": noise},
    )
    return Result(
        labels=classes[file.label],
        soft_labels=file.soft_label,
        decisions=np.array(contract.DECISIONS)[file.decision],
        model_labels=classes[own[:count]],
        weights=file.weight,
        review_ranks=file.review_rank,
        label_reliability=scores.label_reliability[:count],
        pseudo_reliability=scores.pseudo_reliability[:count],
        clid=scores.clid[:count],
        classes=classes,
        evidence=judgement.evidence,
        noise_rate=noise,
        _file=file,
    )

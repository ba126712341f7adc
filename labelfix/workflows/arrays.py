"""Arrays, labels and row numbers that people pass, as the methods take them, or one clear line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from labelfix import inputs
from labelfix.errors import InputError
from labelfix.workflows.samples import LearningRows

REAL = "biuf"  # kinds of types: booleans, integers, floats


def rows_of(
    features: ArrayLike,
    given: ArrayLike | Sequence[Any],
    clean_features: ArrayLike | None,
    clean_labels: ArrayLike | Sequence[Any] | None,
    audited: Mapping[int, Any] | pd.Series | None,
    *,
    seed: int,
) -> tuple[LearningRows, NDArray[Any], int]:
    """What the arguments of :func:`labelfix.purify` say; the classes ``(K,)``, and N.

    Raises:
        InputError: as there.
    """
    matrix, labels = _matrix(features, "features"), _labels(given, "given")
    if len(labels) != len(matrix):
        raise InputError(
            f"given holds {len(labels)} labels for {len(matrix)} rows of features",
            hint="pass one label a row, None where there is none",
        )
    code = _codes(labels)
    extra = [] if clean_labels is None else _labels(clean_labels, "clean_labels")
    if clean_features is not None:
        matrix = _stack(matrix, _matrix(clean_features, "clean_features"), len(extra))
    elif extra:
        raise InputError("clean_labels come without clean_features", hint="pass both, or audited")
    codes = np.array([-1 if label is None else code[label] for label in labels], np.int32)
    clean = np.full(len(matrix), -1, np.int32)
    for row, label in enumerate(extra):
        clean[len(labels) + row] = _right(label, code, f"clean_labels[{row}]")
    for row, label in _audited(audited, len(labels)).items():
        clean[row] = _right(label, code, f"audited[{row}]")
    content = inputs.content_keys(matrix, blame=_not_finite(len(labels)))
    kept, clean = _matched(content, clean, len(labels))
    rows = LearningRows.of(
        matrix if kept.all() else matrix[kept], content[kept], codes, clean,
        classes=len(code), seed=seed,
    )  # fmt: skip
    return rows, np.array(list(code)), len(labels)


def _matched(
    content: NDArray[np.uint64], clean: NDArray[np.int32], count: int
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which rows stay: the first ``count``, and those beside them that are no copies of these.

    Returns ``(N + M,)`` bool, and the verified codes of the rows that stay.
    """
    kept = np.ones(len(content), dtype=bool)
    if not inputs.tell_rows_apart(content[:count]):
        return kept, clean
    copies = inputs.find_copies(content, clean[:count], clean[count:])
    beside = copies.beside & (copies.labels >= 0)
    kept[count:] = beside
    return kept, np.concatenate([copies.answers, copies.labels[beside]])


def _matrix(values: ArrayLike, name: str) -> NDArray[Any]:
    """``(rows, columns)`` float16 or float32."""
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which is refused
        array = _array(values, name)
        if array.ndim != 2 or not array.shape[1] or array.dtype.kind not in REAL:
            raise InputError(
                f"{name} have shape {array.shape} and type {array.dtype}",
                hint="pass real numbers of shape (rows, columns), with a column at least",
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
            f"{name} cannot become an array", hint="pass rows of numbers, all of one length"
        ) from error


def _stack(upper: NDArray[Any], lower: NDArray[Any], labels: int) -> NDArray[Any]:
    if lower.shape != (labels, upper.shape[1]):
        raise InputError(
            f"clean_features have shape {lower.shape}",
            hint=f"pass ({labels}, {upper.shape[1]}): one row a clean label, as wide as features",
        )
    return np.concatenate([upper, lower])


def _not_finite(rows: int) -> Callable[[int], InputError]:
    """The maker of the error for a row of ``features``, which are so many, or stacked below."""

    def error(row: int) -> InputError:
        place = f"features[{row}]" if row < rows else f"clean_features[{row - rows}]"
        return InputError(
            f"{place} holds NaN, infinity or more than float32 can",
            hint="correct or leave out this row",
        )

    return error


def _labels(values: ArrayLike | Sequence[Any], name: str) -> list[Any]:
    """One label a row as Python has it, None where there is none."""
    shape = tuple(getattr(values, "shape", (1,)))
    if len(shape) != 1:
        raise InputError(
            f"{name} has shape {shape}", hint="pass shape (rows,); of one-hot rows, the argmax"
        )
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(
            f"{name} is of type {type(values).__name__}",
            hint="pass a list or an array of one label a row, None where there is none",
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
            hint="pass a string or a number, None where there is none",
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
            f"audited is of type {type(audited).__name__}", hint="pass {row number: right label}"
        )
    found: dict[int, Any] = {}
    for key, value in audited.items():
        row = _row(key, rows)
        if row in found:
            raise InputError(f"audited names row {row} twice", hint="name each row once")
        found[row] = _label(value, "audited", row)
    return found


def _row(key: Any, rows: int) -> int:  # noqa: ANN401
    row = _plain(key)
    if not isinstance(row, int | float) or not 0 <= row < rows or row != int(row):
        raise InputError(f"audited names row {row!r}", hint=f"use row numbers from 0 to {rows - 1}")
    return int(row)


def _codes(labels: list[Any]) -> dict[Any, int]:
    """Class -> code, in the order of the classes."""
    present = {label for label in labels if label is not None}
    if len(present) < 2:
        raise InputError(
            f"given holds {len(present)} distinct labels", hint="pass labels of two or more classes"
        )
    try:
        return {label: code for code, label in enumerate(sorted(present))}
    except TypeError as error:
        raise InputError(
            "given mixes strings and numbers", hint="pass one kind of label"
        ) from error


def _right(label: Any, code: dict[Any, int], place: str) -> int:  # noqa: ANN401
    """The code of a checked row's label."""
    if label is None:
        raise InputError(f"{place} is no label", hint="leave out rows that nobody checked")
    if label not in code:
        raise InputError(
            f"{place} holds '{label}', which no given label is",
            hint=f"use one of {', '.join(map(str, list(code)[:10]))}",
        )
    return code[label]


def different_rows(features: NDArray[Any]) -> int:
    """How many rows of ``(N, D)`` numbers differ from each other."""
    return len(np.unique(inputs.content_keys(features.astype(np.float32))))

"""``labelfix.purify`` and ``labelfix.read``: the product as Python calls, arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
        """Write labels.parquet, schema version 1; ids are the row numbers."""
        contract.write(Path(path), self._file)


def purify(
    features: ArrayLike,
    given: ArrayLike | Sequence[Any],
    *,
    clean_features: ArrayLike | None = None,
    clean_labels: ArrayLike | Sequence[Any] | None = None,
    audited: Mapping[int, Any] | None = None,
    method: str = "auto",
    upper_loss: str = "auto",
    min_precision: float = 0.0,
    seed: int = 0,
    device: str = "auto",
) -> Result:
    """Correct the labels of rows that are described by features.

    Args:
        features: ``(N, D)`` finite numbers; arrays, memory maps and torch tensors are taken.
        given: ``(N,)`` strings or integers; None and NaN = no label.
        clean_features, clean_labels: ``(M, D)`` and ``(M,)``, checked rows that are not in
            ``features``.
        audited: row number -> right label, for checked rows that are in ``features``.
        method: auto, dmlp, dmlp-naive, mlc, mlc-d, emlc, ebomlc, clid, mw-net or vri; without
            checked rows auto is clid, and only clid, mw-net and vri are possible.
        upper_loss: what steers mw-net and vri: ce-clean, ce-noisy, small-loss, mae, clid or
            clid-sparse; auto is ce-clean for mw-net with checked rows, else clid.
        min_precision: least posterior probability of a changed label, in [0, 1].
        seed: with it, the result is determined.
        device: auto, cpu, cuda or mps.

    Raises:
        InputError: the arrays do not fit together; the message names row and mend.
        DegenerateLearningError: learning gave nothing usable.
    """
    config = PurifyConfig(
        method=method, upper_loss=upper_loss, min_precision=min_precision, seed=seed, device=device
    )
    rows, classes = _rows(features, given, clean_features, clean_labels, audited or {})
    graph = nearest(rows.features)
    prediction = run_methods(rows, graph, config)
    judgement = stages.decide(rows, prediction, config)
    scores = stages.run_scores(rows, graph, prediction, judgement, config)
    own = prediction.of_student(judgement.witness).argmax(1)
    return _result(judgement, scores, own, rows, classes, config, np.shape(given)[0])


def read(path: str | Path) -> contract.Labels:
    """Read a labels.parquet, or the one in a purify output folder, and check it.

    Raises:
        InputError: it is missing or breaks the contract.
    """
    return contract.read(path)


def _rows(
    features: ArrayLike,
    given: ArrayLike | Sequence[Any],
    clean_features: ArrayLike | None,
    clean_labels: ArrayLike | Sequence[Any] | None,
    audited: Mapping[int, Any],
) -> tuple[Rows, NDArray[Any]]:
    matrix, labels = _matrix(features, "features"), _list(given)
    if len(labels) != len(matrix):
        raise InputError(
            f"given holds {len(labels)} labels for {len(matrix)} rows of features",
            mend="pass one label a row, None where there is none",
        )
    classes = _classes(labels)
    extra = [] if clean_labels is None else _list(clean_labels)
    if clean_features is not None:
        matrix = _stack(matrix, _matrix(clean_features, "clean_features"), len(extra))
    elif extra:
        raise InputError("clean_labels come without clean_features", mend="pass both, or audited")
    checked = np.full(len(matrix), -1, np.int32)
    checked[len(labels) :] = _codes(extra, classes, "clean_labels")
    for row, label in audited.items():
        if not 0 <= row < len(labels):
            raise InputError(
                f"audited names row {row}", mend=f"use row numbers from 0 to {len(labels) - 1}"
            )
        checked[row] = _codes([label], classes, "audited")[0]
    codes = np.concatenate([_codes(labels, classes, "given"), np.full(len(extra), -1, np.int32)])
    content = inputs.content_keys(matrix)
    rows = Rows(
        features=matrix, given=codes, checked=checked, content=content, classes=len(classes), key=""
    )
    return rows, classes


def _matrix(values: ArrayLike, name: str) -> NDArray[Any]:
    detached = values.detach().cpu() if hasattr(values, "detach") else values
    matrix = np.asarray(detached)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number):
        raise InputError(
            f"{name} have shape {matrix.shape} and type {matrix.dtype}",
            mend="pass numbers of shape (rows, columns)",
        )
    return matrix if matrix.dtype in (np.float16, np.float32) else matrix.astype(np.float32)


def _stack(upper: NDArray[Any], lower: NDArray[Any], labels: int) -> NDArray[Any]:
    if lower.shape != (labels, upper.shape[1]):
        raise InputError(
            f"clean_features have shape {lower.shape}",
            mend=f"pass ({labels}, {upper.shape[1]}): one row a clean label, as wide as features",
        )
    return np.concatenate([upper, lower])


def _list(labels: ArrayLike | Sequence[Any]) -> list[Any]:
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)  # type: ignore[arg-type]
    return [None if _is_missing(value) else value for value in values]


def _is_missing(value: Any) -> bool:  # noqa: ANN401
    return value is None or value is pd.NA or value != value


def _classes(labels: list[Any]) -> NDArray[Any]:
    present = {label for label in labels if label is not None}
    if len(present) < 2:
        raise InputError(
            f"given holds {len(present)} distinct labels", mend="pass labels of two or more classes"
        )
    if len({isinstance(label, str) for label in present}) > 1:
        raise InputError("given mixes strings and numbers", mend="pass one kind of label")
    return np.array(sorted(present))


def _codes(labels: list[Any], classes: NDArray[Any], name: str) -> NDArray[np.int32]:
    code = {label: index for index, label in enumerate(classes.tolist())}
    code[None] = -1
    unknown = [row for row, label in enumerate(labels) if label not in code]
    if unknown:
        raise InputError(
            f"{name} holds '{labels[unknown[0]]}', which no given label is",
            mend=f"use one of {', '.join(map(str, classes[:10]))}",
            row=unknown[0] + 1,
        )
    return np.array([code[label] for label in labels], dtype=np.int32)


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

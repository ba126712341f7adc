"""``labelfix.purify`` and ``labelfix.read``: the product as Python calls, arrays in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from labelfix import contract
from labelfix.annotations import Annotations
from labelfix.contract import read_labels as read
from labelfix.decide.decisions import Evidence, noise_rate
from labelfix.errors import InputError
from labelfix.workflows.arrays import rows_of
from labelfix.workflows.outputs import corrected
from labelfix.workflows.purify import Purified, run
from labelfix.workflows.settings import PurifyConfig, Run

__all__ = ["Result", "purify", "read"]


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
            raise InputError("is a folder", hint="name a file in it: labels.parquet", file=path)
        if not path.parent.is_dir():
            raise InputError("there is no such folder", hint="make it first", file=path.parent)
        contract.write_labels(path, self._file)


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
        clean_features, clean_labels: ``(M, D)`` and ``(M,)``, checked rows; each has a label. Where
            one is equal to a row of ``features``, that row counts as audited.
        audited: row number, from 0 -> right label, a mapping or a Series, for checked rows that
            are in ``features``.
        method: how the class of each row is predicted, by a name that ``labelfix purify --help``
            lists; some need checked rows, auto does with and without.
        upper_loss: what row weights are learned by, for methods that take any, by a name from the
            same list; auto is the method's own.
        min_precision: least posterior probability of a changed label, in [0, 1].
        seed: with it, the result is determined.
        device: auto, cpu, cuda or mps.

    Raises:
        InputError: an argument is of the wrong kind, or they do not fit together; the message
            names the place as Python does (``given[3]`` is the fourth label) and the hint.
        DegenerateLearningError: learning gave nothing usable.
    """
    config = PurifyConfig(
        method=method, upper_loss=upper_loss, min_precision=min_precision, seed=seed, device=device
    )
    rows, classes, count = rows_of(
        features, given, clean_features, clean_labels, audited, seed=config.seed
    )
    return _result(run(rows, Run(config=config)), rows.annotations, classes, config, count)


def _result(
    found: Purified,
    annotations: Annotations,
    classes: NDArray[Any],
    config: PurifyConfig,
    count: int,
) -> Result:
    decided, scores = found.decided, found.scores
    own = found.predictions.of_student(decided.predictor).argmax(1)
    noise = noise_rate(decided.soft_labels, annotations.given[:count])
    settings = {"method": decided.predictor, "seed": config.seed}
    file = corrected(
        decided,
        scores,
        tuple(str(name) for name in classes),
        ids=np.array([str(row) for row in range(count)], dtype=object),
        given=annotations.given[:count],
        checked=annotations.is_clean[:count],
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
        evidence=decided.evidence,
        noise_rate=noise,
        _file=file,
    )

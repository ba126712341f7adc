"""The schema of labels.parquet, version 1: columns, types, meanings, ranges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA_VERSION = 1
KEY = b"labelfix"
DECISIONS = ("keep", "correct", "review", "fill", "checked")
CATEGORY = pa.dictionary(pa.int32(), pa.string())

MEANINGS = {
    "id": (
        "unique name of the row: the id column, else the image path, else the row number",
        "every row has one, every id once",
    ),
    "given_label": ("the label as it came; null = none was given", "a class name or null"),
    "label": ("the label to train on", "a class name"),
    "decision": (
        "keep = given label kept; correct = changed; review = kept, but look; "
        "fill = had none, received one; checked = from the clean set",
        " | ".join(DECISIONS),
    ),
    "soft_label": (
        "posterior q(y | x, given) over the classes, in the order of class_names in the file's "
        "metadata; calibrated on checked rows",
        "[0, 1]; sums to 1 within 1e-4",
    ),
    "label_reliability": (
        "HRP's alpha for the given label, in the form that ranks: 1 / (1 + exp(-4 s / r)); "
        "s = -label . u / |p - label|, u the tangent of the row's log-probabilities under a linear "
        "head trained without the row's fold, p its probabilities, averaged over 4 passes along "
        "the gradient of the cross-entropy to the other folds' soft labels (where no row is "
        "checked: of CLID) in the metric (X'X / n + 0.1 / D I)^-1; r = the fold's median |u|; "
        "0.5 = no effect; low = does not help; null = no label was given",
        "[0, 1] or null",
    ),
    "pseudo_reliability": (
        "HRP's beta: the same for the model's own label, the best class of its out-of-fold "
        "prediction; neither reliability enters the other; null = not scored",
        "[0, 1] or null",
    ),
    "clid": (
        "-log sum_j S_ij <label_i, soft_label_j> over the 50 nearest rows j in feature space; S = "
        "softmax of their cosines / 0.05, the row itself left out; label_i = the given label, or "
        "the soft label where none was given; high = suspicious; null = not scored",
        ">= 0 or null",
    ),
    "weight": (
        "weight for training: max(0, (soft_label[label] - 1/K) / (1 - 1/K))",
        "[0, 1]",
    ),
    "review_rank": (
        "order in which a person should look, by falling 1 - soft_label[given_label] "
        "(rows without a label: 1 - max soft_label); checked rows come last",
        ">= 1, each rank once",
    ),
}
SCORES = ("label_reliability", "pseudo_reliability", "clid")
REQUIRED = ("id", "label")  # of a file that another tool wrote; the rest has defaults


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The corrected dataset as arrays, rows in DATA's order.

    Attributes:
        ids: ``(N,)`` object array of str, unique.
        class_names: the K classes, in the order of ``soft_label``.
        given: ``(N,)`` int32 codes, -1 = no label was given.
        label: ``(N,)`` int32 codes of the label to train on.
        decision: ``(N,)`` int8, index into ``DECISIONS``.
        soft_label: ``(N, K)`` float32; rows sum to 1 within 1e-4.
        weight: ``(N,)`` float32 in [0, 1].
        review_rank: ``(N,)`` int32, a permutation of 1..N.
        label_reliability, pseudo_reliability, clid: ``(N,)`` float32 or None = not scored.
        metadata: the file's own account: method, settings, inputs, noise rate, evidence.
    """

    ids: NDArray[np.object_]
    class_names: tuple[str, ...]
    given: NDArray[np.int32]
    label: NDArray[np.int32]
    decision: NDArray[np.int8]
    soft_label: NDArray[np.float32]
    weight: NDArray[np.float32]
    review_rank: NDArray[np.int32]
    label_reliability: NDArray[np.float32] | None = None
    pseudo_reliability: NDArray[np.float32] | None = None
    clid: NDArray[np.float32] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


def schema(classes: int, others: pa.Schema | None = None) -> pa.Schema:
    """The Arrow schema for K classes, followed by the columns that pass through untouched."""
    types = {
        "id": pa.string(),
        "given_label": CATEGORY,
        "label": CATEGORY,
        "decision": CATEGORY,
        "soft_label": pa.list_(pa.float32(), classes),
        **dict.fromkeys(SCORES, pa.float32()),
        "weight": pa.float32(),
        "review_rank": pa.int32(),
    }
    nullable = {"given_label", *SCORES}
    fields = [
        pa.field(name, kind, name in nullable, {"description": text, "range": limits})
        for name, kind in types.items()
        for text, limits in [MEANINGS[name]]
    ]
    return pa.schema(fields + list(others or []))

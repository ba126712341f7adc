"""The corrected dataset in memory: what labels.parquet holds, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix.contract.formulas import Decision
from labelfix.contract.schema import COLUMNS, Column, Known


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The corrected dataset as arrays, rows in DATA's order.

    Attributes:
        ids: ``(N,)`` object array of str, unique.
        class_names: the K classes, in the order of ``soft_label``.
        given: ``(N,)`` int32 codes, -1 = no label was given.
        label: ``(N,)`` int32 codes of the label to train on.
        decision: ``(N,)`` int8 codes of ``Decision``, the places in ``DECISIONS``.
        soft_label: ``(N, K)`` float32; rows sum to 1 within 1e-4.
        weight: ``(N,)`` float32 in [0, 1].
        review_rank: ``(N,)`` int32, a permutation of 1..N.
        doubt: ``(N,)`` float32 in [0, 1], the chance that ``label`` is wrong.
        label_reliability, pseudo_reliability, clid: ``(N,)`` float32 or None = not scored.
        metadata: what the file says of itself: method, settings, inputs, noise rate, evidence.
    """

    ids: NDArray[np.object_]
    class_names: tuple[str, ...]
    given: NDArray[np.int32]
    label: NDArray[np.int32]
    decision: NDArray[np.int8]
    soft_label: NDArray[np.float32]
    weight: NDArray[np.float32]
    review_rank: NDArray[np.int32]
    doubt: NDArray[np.float32]
    label_reliability: NDArray[np.float32] | None = None
    pseudo_reliability: NDArray[np.float32] | None = None
    clid: NDArray[np.float32] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, column: Column) -> NDArray[Any] | None:
        """The values of a column; None where they are all missing."""
        return getattr(self, column.in_labels)

    @property
    def checked(self) -> NDArray[np.bool_]:
        """``(N,)``, rows that a person checked."""
        return self.decision == Decision.CHECKED


def complete(
    columns: Mapping[str, NDArray[Any] | None],
    class_names: tuple[str, ...],
    metadata: Mapping[str, object],
) -> Labels:
    """Labels of some columns; the others follow from them.

    Args:
        columns: by name in the file, as :class:`Labels` holds them; ``id`` and ``label`` at least.
        class_names: the K classes.
        metadata: what the file says of itself.
    """
    known = Known(columns, len(class_names))
    values = {column.in_labels: known[column.name] for column in COLUMNS}
    return Labels(class_names=class_names, metadata=dict(metadata), **values)

"""What stages hand on: the rows that a method learns from, and what it predicts for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import inputs
from labelfix.features.standardise import Matrix

TEACHER = "-teacher"


@dataclass(frozen=True, kw_only=True)
class RowImages:
    """The rows' images, for methods that train on them.

    Attributes:
        pixels: ``(N + M, H, W, 3)`` uint8, array or memory map.
        backbone: name of the net that embedded them.
        weights: where its weights start, as ``backbones.build`` takes them.
    """

    pixels: NDArray[np.uint8]
    backbone: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class LearningRows:
    """What a method learns from: DATA's N rows, then the M rows that are in CLEAN alone.

    Attributes:
        features: ``(N + M, D)``, array or memory map.
        given: ``(N + M,)`` int32 codes, -1 = no label.
        checked: ``(N + M,)`` int32 right codes, -1 = not checked.
        content: ``(N + M,)`` uint64 keys; rows of equal content share a fold.
        classes: K.
        key: fingerprint of the features.
        images: where DATA has them.
    """

    features: Matrix
    given: NDArray[np.int32]
    checked: NDArray[np.int32]
    content: NDArray[np.uint64]
    classes: int
    key: str
    images: RowImages | None = None

    @property
    def known(self) -> NDArray[np.int32]:
        """``(N + M,)`` the right code where it is known, else the given one."""
        return np.where(self.checked >= 0, self.checked, self.given)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the methods predict.

    Attributes:
        log_probabilities: out-of-fold log p(y|x) of each method by name, ``(N + M, K)`` float32;
            under a name with ``-teacher``, the log of labels that a teacher corrected, for which
            it was told the row's given label.
        auxiliary: ``(J, N + M, K)`` float32, out-of-fold logs of what else is known of each row,
            whatever the method: the votes of its neighbours' labels and, but for ``dmlp`` alone,
            the kernel classifier's prediction; where there are purified soft labels, that learns
            from them, and the neighbours vote by them too.
        folds: ``(N + M,)`` int8.
        training_log: what each method says of its learning, by name.
    """

    log_probabilities: dict[str, NDArray[np.float32]]
    auxiliary: NDArray[np.float32]
    folds: NDArray[np.int8]
    training_log: dict[str, Any]

    @property
    def candidates(self) -> dict[str, list[NDArray[np.float32]]]:
        """What the judge may believe: each method, with the auxiliary beside it."""
        return {name: [logs, *self.auxiliary] for name, logs in self.log_probabilities.items()}

    def of_student(self, predictor: str) -> NDArray[np.float32]:
        """The prediction that saw no label of the row: a teacher's student, else the predictor."""
        return self.log_probabilities[predictor.removesuffix(TEACHER)]


def gather(
    dataset: inputs.Dataset,
    features: Any,  # noqa: ANN401  (an array, a memory map or two stacked)
    content: NDArray[np.uint64],
    key: str,
    extra: NDArray[np.int32],
    images: RowImages | None = None,
) -> LearningRows:
    """DATA's rows over the ``extra`` checked ones."""
    return LearningRows(
        features=features,
        given=np.concatenate([dataset.given, np.full(len(extra), -1, np.int32)]),
        checked=np.concatenate([dataset.clean, extra]),
        content=content,
        classes=len(dataset.class_names),
        key=key,
        images=images,
    )

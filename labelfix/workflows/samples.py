"""The rows that methods learn from: DATA's, and below them those that are in a clean set alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.annotations import Annotations, Drawn
from labelfix.features import folds
from labelfix.features.standardise import Design, Matrix
from labelfix.predictors.learning import RowImages


@dataclass(frozen=True, kw_only=True)
class LearningRows:
    """DATA's N rows, then the M rows that are in a clean set alone.

    Attributes:
        features: ``(N + M, D)``, array or memory map.
        annotations: labels and folds of the N + M rows.
        content: ``(N + M,)`` uint64 keys; rows of equal content share a fold.
        key: fingerprint of the features.
        images: where DATA has them.
    """

    features: Matrix
    annotations: Annotations
    content: NDArray[np.uint64]
    key: str = ""
    images: RowImages | None = None

    def design(self, device: torch.device) -> Design:
        """The scaled features on a device: measured and placed once for all stages."""
        found = self._designs.get(device)
        if found is None:
            found = self._designs[device] = Design.of(self.features, device)
        return found

    @cached_property
    def _designs(self) -> dict[torch.device, Design]:
        return {}

    @classmethod
    def of(
        cls,
        features: Matrix,
        content: NDArray[np.uint64],
        given: NDArray[np.int32],
        clean: NDArray[np.int32],
        *,
        classes: int,
        seed: int,
        key: str = "",
        images: RowImages | None = None,
        answers: NDArray[np.int32] | None = None,
        drawn: NDArray[np.int8] | None = None,
    ) -> LearningRows:
        """The rows with their folds.

        Folds are balanced in the verified label where there is one, else in the given one. Not in
        both: then every fold would repeat the others' counts of T, and the evidence on a fold would
        flatter (on CIFAR-10N, 1,000 checked rows, by 0.7 points of label accuracy).

        Args:
            features, content: of the rows.
            given: ``(n,)`` codes, n <= N + M; rows after them have no given label.
            clean: ``(N + M,)`` verified codes, -1 = nobody verified one.
            classes: K.
            seed: of the folds.
            key, images: see the class.
            answers, drawn: ``(n,)`` what people said of the first n rows, and how these were
                chosen, as in :class:`Annotations`; None = ``clean``, and nobody said.
        """
        rows = len(clean)
        all_given = np.concatenate([given, np.full(rows - len(given), -1, np.int32)])
        strata = np.where(clean >= 0, clean, classes + 1 + all_given)
        fold = folds.assign(content, strata, seed=seed)
        return cls(
            features=features,
            annotations=Annotations.of(
                all_given,
                clean,
                fold,
                classes,
                answers=None if answers is None else np.append(answers, clean[len(answers) :]),
                drawn=None if drawn is None else _lengthened(drawn, rows),
            ),
            content=content,
            key=key,
            images=images,
        )


def _lengthened(drawn: NDArray[np.int8], rows: int) -> NDArray[np.int8]:
    """The same for more rows: nobody said how those beside DATA were chosen."""
    return np.append(drawn, np.full(rows - len(drawn), Drawn.UNKNOWN, np.int8))

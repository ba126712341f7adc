"""What is known of the rows: labels given, labels verified, and how those rows were chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The labels of N rows, with the folds in which learners must not see them.

    Attributes:
        given: ``(N,)`` int32 class codes as they came, -1 = no label.
        clean: ``(N,)`` int32 codes that a person verified, -1 = nobody did.
        probability: ``(N,)`` float32 in (0, 1], the chance that the row had to be among the
            verified ones; NaN = unknown, or not verified.
        folds: ``(N,)`` int8 from 0; what predicts a fold has seen none of its labels.
        classes: K.
    """

    given: NDArray[np.int32]
    clean: NDArray[np.int32]
    probability: NDArray[np.float32]
    folds: NDArray[np.int8]
    classes: int

    @classmethod
    def of(
        cls,
        given: NDArray[np.int32],
        clean: NDArray[np.int32],
        folds: NDArray[np.int8],
        classes: int,
        probability: NDArray[np.float32] | None = None,
    ) -> Annotations:
        """The same arrays; without a probability, how rows were chosen is unknown.

        Raises:
            ValueError: the lengths differ.
        """
        if probability is None:
            probability = np.full(len(given), np.nan, np.float32)
        lengths = {len(given), len(clean), len(folds), len(probability)}
        if len(lengths) > 1:
            raise ValueError(f"labels and folds differ in length: {sorted(lengths)}")
        return cls(given=given, clean=clean, probability=probability, folds=folds, classes=classes)

    def __len__(self) -> int:
        return len(self.given)

    @cached_property
    def best_known(self) -> NDArray[np.int32]:
        """``(N,)``: the verified code where there is one, else the given one, -1 = neither."""
        return np.where(self.clean >= 0, self.clean, self.given)

    @cached_property
    def is_clean(self) -> NDArray[np.bool_]:
        """``(N,)``: rows that a person verified."""
        return self.clean >= 0

    @cached_property
    def audited(self) -> NDArray[np.bool_]:
        """``(N,)``: rows with both a given and a verified label; they show how labels go wrong."""
        return self.is_clean & (self.given >= 0)

    @cached_property
    def unverified_given(self) -> NDArray[np.int32]:
        """``(N,)``: the given code where nobody verified one, else -1."""
        return np.where(self.is_clean, -1, self.given).astype(np.int32)

    @property
    def fold_numbers(self) -> range:
        return range(int(self.folds.max()) + 1)

    def part(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Annotations:
        """Some of the rows."""
        return replace(
            self,
            given=self.given[rows],
            clean=self.clean[rows],
            probability=self.probability[rows],
            folds=self.folds[rows],
        )

    def hiding(self, fold: int) -> Annotations:
        """The same without any label of a fold, as a learner sees it that must not know them."""
        hidden = self.folds == fold
        return replace(
            self,
            given=np.where(hidden, -1, self.given).astype(np.int32),
            clean=np.where(hidden, -1, self.clean).astype(np.int32),
            probability=np.where(hidden, np.nan, self.probability).astype(np.float32),
        )

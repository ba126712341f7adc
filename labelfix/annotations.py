"""What is known of the rows: labels given, labels verified, and how those rows were chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Answer(IntEnum):
    """Answers about a row that name no class; those that do are class codes, from 0 up."""

    MISSING = -1  # nobody answered
    NONE = -2  # none of the classes fits
    WRONG = -3  # the given label is wrong, and nobody said which is right
    UNSURE = -4  # somebody looked and could not tell


class Drawn(IntEnum):
    """How verified rows were chosen, by the person's word."""

    CHOSEN = 0  # because of what they look like, or of their labels
    UNKNOWN = 1  # nobody said
    RANDOM = 2  # at random, of all rows


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The labels of N rows, with the folds in which learners must not see them.

    Attributes:
        given: ``(N,)`` int32 class codes as they came, -1 = no label.
        clean: ``(N,)`` int32 codes that a person verified, -1 = nobody did.
        probability: ``(N,)`` float32 in (0, 1], the chance that the row had to be among the
            verified ones; NaN = unknown, or not verified.
        answers: ``(N,)`` int32, what a person said of the row: the code in ``clean``, or a value of
            :class:`Answer`.
        drawn: ``(N,)`` int8 values of :class:`Drawn`; it matters where there is an answer.
        folds: ``(N,)`` int8 from 0; what predicts a fold has seen none of its labels.
        classes: K.
    """

    given: NDArray[np.int32]
    clean: NDArray[np.int32]
    probability: NDArray[np.float32]
    answers: NDArray[np.int32]
    drawn: NDArray[np.int8]
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
        *,
        answers: NDArray[np.int32] | None = None,
        drawn: NDArray[np.int8] | None = None,
    ) -> Annotations:
        """The same arrays; how rows were chosen is unknown where it is not said, and ``clean`` is
        all that people answered.

        Raises:
            ValueError: the lengths differ.
        """
        if probability is None:
            probability = np.full(len(given), np.nan, np.float32)
        answers = clean if answers is None else answers
        if drawn is None:
            drawn = np.full(len(given), Drawn.UNKNOWN, np.int8)
        lengths = {len(part) for part in (given, clean, folds, probability, answers, drawn)}
        if len(lengths) > 1:
            raise ValueError(f"labels and folds differ in length: {sorted(lengths)}")
        return cls(
            given=given, clean=clean, probability=probability, answers=answers, drawn=drawn,
            folds=folds, classes=classes,
        )  # fmt: skip

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

    @cached_property
    def refuted(self) -> NDArray[np.bool_]:
        """``(N,)``: rows whose given label a person called wrong without naming a right one."""
        said = (self.answers == Answer.NONE) | (self.answers == Answer.WRONG)
        return said & (self.given >= 0)

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
            answers=self.answers[rows],
            drawn=self.drawn[rows],
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
            answers=np.where(hidden, Answer.MISSING, self.answers).astype(np.int32),
        )

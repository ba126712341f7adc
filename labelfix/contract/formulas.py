"""The columns that follow from others: decision, weight and review rank, each in one formula."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Decision(IntEnum):
    """What became of a row; its code in the arrays. The file holds the name in small letters."""

    KEEP = 0  # the given label stays
    CORRECT = 1  # it changed
    REVIEW = 2  # it stays, though more likely wrong than right
    FILL = 3  # there was none
    CHECKED = 4  # a person checked the row


DECISIONS = tuple(decision.name.lower() for decision in Decision)


def decision(
    given: NDArray[np.integer],
    label: NDArray[np.integer],
    soft_NK: NDArray[np.floating],
    checked: NDArray[np.bool_],
) -> NDArray[np.int8]:
    """What became of each row, ``(N,)`` codes of :class:`Decision`.

    Args:
        given: ``(N,)`` codes, -1 = no label was given.
        label: ``(N,)`` codes of the label to train on.
        soft_NK: ``(N, K)`` probabilities of the classes.
        checked: ``(N,)``, rows that a person checked.
    """
    doubted = soft_NK[np.arange(len(given)), given] < 0.5
    kept = np.where(doubted, Decision.REVIEW, Decision.KEEP)
    found = np.where(label != given, Decision.CORRECT, kept)
    found = np.where(given < 0, Decision.FILL, found)
    return np.where(checked, Decision.CHECKED, found).astype(np.int8)


def weight(label: NDArray[np.integer], soft_NK: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weight of each row in training, ``(N,)`` in [0, 1].

    ``max(0, (q[label] - 1/K) / (1 - 1/K))``: 1 for a certain label, 0 for one that is no likelier
    than a guess.

    Args:
        label: ``(N,)`` codes of the label to train on.
        soft_NK: ``(N, K)`` probabilities q of the classes.
    """
    classes = soft_NK.shape[1]
    chosen_N = soft_NK[np.arange(len(label)), label]
    return np.clip((chosen_N - 1 / classes) / (1 - 1 / classes), 0, 1).astype(np.float32)


def review_rank(
    given: NDArray[np.integer], soft_NK: NDArray[np.float32], checked: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The order of suspicion of the given labels, ``(N,)`` from 1, every rank once.

    By falling probability that the given label is wrong; for rows without one, that the likeliest
    label is. Checked rows come last. Ties keep the rows' order.

    Args:
        given: ``(N,)`` codes, -1 = no label was given.
        soft_NK: ``(N, K)`` probabilities of the classes.
        checked: ``(N,)``, rows that a person checked.
    """
    stands_for = np.where(given >= 0, given, soft_NK.argmax(1))
    doubt_N = 1.0 - soft_NK[np.arange(len(given)), stands_for].astype(np.float64)
    doubt_N = np.where(checked, doubt_N - 2, doubt_N)
    ranks = np.empty(len(given), dtype=np.int32)
    ranks[np.argsort(-doubt_N, kind="stable")] = np.arange(1, len(given) + 1)
    return ranks


def one_hot(label: NDArray[np.integer], classes: int) -> NDArray[np.float32]:
    """The label alone as probabilities, ``(N, K)``."""
    return np.eye(classes, dtype=np.float32)[label.clip(0)]


def doubt(label: NDArray[np.integer], soft_NK: NDArray[np.float32]) -> NDArray[np.float32]:
    """The chance that the delivered label is wrong, ``(N,)``: ``1 - soft_label[label]``."""
    held_N = soft_NK[np.arange(len(label)), label].astype(np.float64)
    return np.clip(1 - held_N, 0, 1).astype(np.float32)

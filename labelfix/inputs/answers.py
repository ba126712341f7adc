"""What people answer about a row: a class, none of them, "the given label is wrong", or unsure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from labelfix.annotations import Answer
from labelfix.inputs.known_classes import align
from labelfix.inputs.labels import LabelColumn
from labelfix.inputs.tables import Table

_NONE_WORDS = frozenset(
    {"none", "none of the classes", "none of these", "none of the above", "no class", "neither"}
)
_UNSURE_WORDS = frozenset(
    {"unsure", "not sure", "uncertain", "unclear", "skip", "skipped", "dont know", "cannot tell"}
)
_RIGHT_WORDS = frozenset(
    {"1", "yes", "y", "true", "t", "right", "correct", "ok", "good", "accept", "accepted"}
)
_WRONG_WORDS = frozenset(
    {"0", "no", "n", "false", "f", "wrong", "incorrect", "bad", "reject", "rejected"}
)
_LABEL_WORDS = frozenset({"label", "labelled", "labeled", "done"})


def folded(text: str) -> str:
    """The word as the lists above write it: lower case, single spaces, no other marks."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower().replace("'", "")).split())


def read_answers(
    labels: LabelColumn, class_names: tuple[str, ...], *, table: Table, column: str
) -> np.ndarray:
    """Reads a column of right labels as (C,) int32: class codes, or values of `Answer`.

    A word for "none of the classes" or "unsure" that is a class of the dataset is that class.

    Raises:
        InputError: a label is neither a class nor such a word.
    """
    words = {name: int(code) for name in labels.names if (code := _answer_of(name)) is not None}
    return align(labels, class_names, table=table, column=column, others=words)


def _answer_of(name: str) -> Answer | None:
    if folded(name) in _NONE_WORDS:
        return Answer.NONE
    return Answer.UNSURE if folded(name) in _UNSURE_WORDS else None


def is_answer(name: str) -> bool:
    """Whether a label is a word for "none of the classes" or "unsure"."""
    return _answer_of(name) is not None


def are_verdicts(labels: LabelColumn) -> bool:
    """Whether a column says yes and no, or one of them, and nothing else but unsure."""
    words = {folded(name) for name in labels.names}
    return bool(words & (_RIGHT_WORDS | _WRONG_WORDS)) and words <= (
        _RIGHT_WORDS | _WRONG_WORDS | _UNSURE_WORDS | _NONE_WORDS
    )


def are_decisions(labels: LabelColumn) -> bool:
    """Whether a column says of each row whether it was labelled, left unsure, or skipped."""
    words = {folded(name) for name in labels.names}
    return bool(words) and words <= (_LABEL_WORDS | _UNSURE_WORDS | _NONE_WORDS)


def apply_decisions(answers: np.ndarray, decisions: LabelColumn) -> np.ndarray:
    """Lays the words of a decision column, unsure, skip or none, over (C,) answers."""
    codes = [_answer_of(name) for name in decisions.names]
    lookup = np.array([Answer.MISSING if code is None else code for code in codes] + [-1], np.int32)
    said = lookup[decisions.codes]
    return np.where(said == Answer.MISSING, answers, said).astype(np.int32)


def apply_verdicts(
    answers: np.ndarray, verdicts: LabelColumn, questioned: np.ndarray, *, corrected: bool
) -> np.ndarray:
    """Completes (C,) answers by what a verdict column says of the given labels.

    "Right" makes the label in question the answer. "Wrong" is `Answer.WRONG`, unless the row's
    answer is another class than the one in question: then that class is the correction.

    Args:
        answers: (C,) int32, class codes or values of `Answer`, of the label column.
        verdicts: the verdict column.
        questioned: (C,) int32 the labels in question: those given in DATA; -1 = none.
        corrected: whether the label column holds corrections; else a row without a verdict has
            no answer.
    """
    words = [*(folded(name) for name in verdicts.names), ""]  # the last one is of rows without
    right, wrong, unsure = (
        np.array([word in known for word in words])[verdicts.codes]
        for known in (_RIGHT_WORDS, _WRONG_WORDS, _UNSURE_WORDS)
    )
    none = np.array([word in _NONE_WORDS for word in words])[verdicts.codes]
    same = (answers == Answer.MISSING) | (answers == questioned)
    refuted = np.where(questioned >= 0, Answer.WRONG, Answer.MISSING)
    answers = np.where(right & (answers == Answer.MISSING), questioned, answers)
    answers = np.where(wrong & same, refuted, answers)
    answers = np.where(unsure & same, Answer.UNSURE, answers)
    answers = np.where(none & same, Answer.NONE, answers)
    silent = ~(right | wrong | unsure | none) & (not corrected)
    return np.where(silent, Answer.MISSING, answers).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class Settled:
    """One answer a row, out of one or several.

    Args:
        answers: (N,) int32 class codes, or values of `Answer`.
        disputed: (n,) rows whose answers have no majority; theirs is `Answer.MISSING`.
    """

    answers: np.ndarray
    disputed: np.ndarray


def settle(places: np.ndarray, answers: np.ndarray, given: np.ndarray) -> Settled:
    """Gives each of N rows the answer of more than half of the people who answered for it.

    "Unsure" counts only where nobody answered otherwise; "wrong" agrees with any class but the
    given one.

    Args:
        places: (n,) the row of each answer.
        answers: (n,) int32, none of them `Answer.MISSING`.
        given: (N,) int32 given labels, -1 = none.
    """
    found = np.full(len(given), Answer.MISSING, dtype=np.int32)
    found[places] = answers
    several = np.flatnonzero(np.bincount(places, minlength=len(given)) > 1)
    of_row: dict[int, list[int]] = {int(row): [] for row in several}
    for row, answer in zip(places.tolist(), answers.tolist(), strict=True):
        if row in of_row:
            of_row[row].append(answer)
    for row, said in of_row.items():
        found[row] = _agreed(said, int(given[row]))
    return Settled(answers=found, disputed=several[found[several] == Answer.MISSING])


def _agreed(said: list[int], given: int) -> int:
    firm = [answer for answer in said if answer != Answer.UNSURE]
    if not firm:
        return Answer.UNSURE
    if any(answer not in (Answer.WRONG, given) for answer in firm):
        firm = [answer for answer in firm if answer != Answer.WRONG]
    answer, count = Counter(firm).most_common(1)[0]
    return answer if 2 * count > len(firm) else Answer.MISSING

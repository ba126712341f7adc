"""Label noise for benchmarks: symmetric, asymmetric, instance-dependent.

All return flipped labels; a flipped label is never the right one, so the realised noise rate is
the stated one, unlike the literature's "50 % symmetric" that draws the right class again too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]


def symmetric(labels: Codes, rate: float, classes: int, generator: np.random.Generator) -> Codes:
    """Flip ``round(rate N)`` rows, each to one of the other K - 1 classes uniformly."""
    flipped = _choose(np.arange(len(labels)), rate, generator)
    noisy = labels.copy()
    shift = generator.integers(1, classes, len(flipped))
    noisy[flipped] = (labels[flipped] + shift) % classes
    return noisy


def asymmetric(labels: Codes, rate: float, target: Codes, generator: np.random.Generator) -> Codes:
    """Flip a share of the rows of each mapped class to its confusable class.

    Args:
        labels: ``(N,)`` right codes.
        rate: share of the rows of mapped classes that flip, in [0, 1].
        target: ``(K,)`` class that each class turns into; its own code = it stays.
        generator: of the draws.
    """
    mapped = np.flatnonzero(target[labels] != labels)
    flipped = _choose(mapped, rate, generator)
    noisy = labels.copy()
    noisy[flipped] = target[labels[flipped]]
    return noisy


def instance_dependent(
    labels: Codes,
    rate: float,
    features: NDArray[np.floating],
    classes: int,
    generator: np.random.Generator,
) -> Codes:
    """Flip rows with a probability, and to a class, that depend on the row.

    Source: Xia et al. 2020, "Part-dependent label noise", Algorithm 2.

    A row's flip rate is drawn from a normal distribution around ``rate`` (deviation 0.1, within
    [0, 1]); where it goes follows the softmax of the row's features times a random matrix of its
    class, the right class left out.

    Args:
        labels: ``(N,)`` right codes.
        rate: mean flip rate.
        features: ``(N, D)``; standardised here.
        classes: K.
        generator: of the draws.

    Differs: rates outside [0, 1] are drawn again rather than truncated by formula, then shifted so
    that their mean is ``rate``.
    """
    scaled = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    flip_rate = _rates(len(labels), rate, generator)
    noisy = labels.copy()
    for code in range(classes):
        rows = np.flatnonzero(labels == code)
        directions = generator.standard_normal((features.shape[1], classes))
        scores = scaled[rows] @ directions / features.shape[1] ** 0.5
        scores[:, code] = -np.inf
        odds = np.exp(scores - scores.max(1, keepdims=True))
        reach = np.cumsum(odds / odds.sum(1, keepdims=True), axis=1)
        goes_to = (generator.random((len(rows), 1)) < reach).argmax(1)
        flips = generator.random(len(rows)) < flip_rate[rows]
        noisy[rows[flips]] = goes_to[flips]
    return noisy


def confusable_classes(confusion: NDArray[np.floating]) -> Codes:
    """For each class the other class that it is most often taken for, ``(K,)``.

    Args:
        confusion: ``(K, K)``, mean probability that a row of class i is given class j.
    """
    others = confusion.astype(np.float64).copy()
    np.fill_diagonal(others, -np.inf)
    return others.argmax(1).astype(np.int32)


def _choose(
    rows: NDArray[np.int64], rate: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    return generator.permutation(rows)[: round(rate * len(rows))]


def _rates(rows: int, rate: float, generator: np.random.Generator) -> NDArray[np.float64]:
    if rate in (0.0, 1.0):
        return np.full(rows, rate)
    drawn = generator.normal(rate, 0.1, rows)
    while (outside := (drawn < 0) | (drawn > 1)).any():
        drawn[outside] = generator.normal(rate, 0.1, int(outside.sum()))
    return np.clip(drawn + rate - drawn.mean(), 0, 1)

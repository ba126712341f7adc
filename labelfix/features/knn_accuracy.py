"""How often a vote of the nearest neighbours names a row's own label: a measure of features."""

from __future__ import annotations

import numpy as np
import torch

from labelfix.features.neighbours import exhaustive, unit_rows, without_self

TEMPERATURE = 0.1


def knn_accuracy(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    k: int = 20,
    bank: np.ndarray | None = None,
    bank_labels: np.ndarray | None = None,
    views: np.ndarray | None = None,
    temperature: float = TEMPERATURE,
) -> float:
    """Share of rows that a vote of their k nearest neighbours labels right, in [0, 1].

    Source: the weighted vote of Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination", Sec. 3.4: cosine similarity s, weight exp(s / temperature).

    Args:
        features: (N, D), any float type, any length.
        labels: (N,) integers >= 0.
        k: neighbours; no more than the bank has.
        bank: (M, D) features of the rows that vote; None = the other rows of `features`.
        bank_labels: (M,) integers >= 0; goes with `bank`.
        views: (N, D) the rows as they ask, where that is not as they vote.
        temperature: > 0.

    Raises:
        ValueError: lengths differ, or nothing is there to vote.
    """
    alone = bank is None
    if bank is None or bank_labels is None:
        bank, bank_labels = features, labels
    if len(features) != len(labels) or len(bank) != len(bank_labels):
        raise ValueError("features and labels differ in length")
    if len(bank) < 1 + alone:
        raise ValueError("no neighbours to ask")
    k = min(k, len(bank) - alone)
    asking = features if views is None else views
    search = exhaustive(unit_rows(bank), torch.device("cpu"))
    similarity, index = search(unit_rows(asking), k + alone)
    if alone:
        index, similarity = without_self(np.arange(len(index)), index, similarity)
    votes = _vote(similarity, bank_labels[index], int(bank_labels.max()) + 1, temperature)
    return float(np.mean(votes.argmax(axis=1) == labels))


def _vote(
    similarity: np.ndarray, labels: np.ndarray, classes: int, temperature: float
) -> np.ndarray:
    """Summed weights (N, classes) of the neighbours' labels (N, k)."""
    weight = np.exp((similarity - 1) / temperature)
    cell = labels + classes * np.arange(len(labels))[:, None]
    votes = np.bincount(cell.ravel(), weight.ravel(), minlength=classes * len(labels))
    return votes.reshape(-1, classes)

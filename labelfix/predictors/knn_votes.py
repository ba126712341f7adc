"""What a row's neighbourhood says of its class: witnesses that learn nothing and fit no line.

The votes of the nearest rows, as in the k-nearest-neighbour view of noisy labels (Bahri et al.,
ICML 2020): of their labels, and once these are purified, of their soft labels. They read CLID's own
graph (CLID-MU, Eq. 7, on the nearest neighbours), and they err elsewhere than a trained classifier
does, so that together they are worth more than either.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.decide.soft_targets import FoldTargets
from labelfix.equations.clid import neighbour_weights
from labelfix.features.neighbours import TEMPERATURE, Neighbours
from labelfix.features.standardise import BLOCK_ROWS

BLOCK_NUMBERS = 2**24
DOUBT = 0.1  # share of every opinion that is spread evenly: fifty voters rule nothing out


def neighbour_votes(
    graph: Neighbours,
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    *,
    hidden: int = -1,
    temperature: float = TEMPERATURE,
) -> NDArray[np.float32]:
    """Log-probabilities from the votes of each row's neighbours in other folds, ``(N, K)``.

    ``log(0.9 v + 0.1 / K)`` with v the mean label of the neighbours, weighed by the softmax of
    their cosines over the temperature; even where no neighbour has a say.

    Args:
        graph: of the N rows.
        labels: ``(N,)`` codes, the right one where it is known; -1 = no vote.
        folds: ``(N,)``; neighbours in the row's own fold have no vote.
        classes: K.
        hidden: a further fold without a vote, -1 = none.
        temperature: > 0; low = the nearest alone.
    """
    voters = np.where(folds == hidden, -1, labels)
    logs_NK = np.empty((len(labels), classes), np.float32)
    for start in range(0, len(labels), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(labels)))
        codes_BM = voters[graph.rows[rows]]
        silent_BM = (codes_BM < 0) | _own_fold(graph, folds, rows)
        votes_BK = torch.zeros(len(rows), classes)
        heard_BM = _weights(graph, rows, silent_BM, temperature)
        votes_BK.scatter_add_(1, torch.from_numpy(codes_BM.astype(np.int64)).clamp_min(0), heard_BM)
        logs_NK[rows] = _log_share(votes_BK)
    return logs_NK


def purified_votes(graph: Neighbours, targets: FoldTargets) -> NDArray[np.float32]:
    """The same from the neighbours' purified soft labels: a round of self-training without any.

    A row of fold g hears the posteriors that never saw a label of fold g, so that what is measured
    on it stays honest.

    Args:
        graph: of the N rows.
        targets: posteriors, for every hidden fold.
    """
    _, count, classes = targets.soft_GNK.shape
    logs_NK = np.empty((count, classes), np.float32)
    heard = graph.rows.shape[1] * classes  # numbers a row
    for fold, soft_NK in enumerate(targets.soft_GNK):
        own = np.flatnonzero(targets.folds == fold)
        for rows in np.array_split(own, 1 + len(own) * heard // BLOCK_NUMBERS):
            silent_BM = _own_fold(graph, targets.folds, rows)
            weights_BM = _weights(graph, rows, silent_BM, TEMPERATURE)
            soft_BMK = torch.from_numpy(soft_NK[graph.rows[rows]])
            logs_NK[rows] = _log_share(torch.einsum("bm,bmk->bk", weights_BM, soft_BMK))
    return logs_NK


def _own_fold(
    graph: Neighbours, folds: NDArray[np.int8], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which neighbours share the row's fold, ``(B, M)``."""
    return folds[graph.rows[rows]] == folds[rows, None]


def _weights(
    graph: Neighbours, rows: NDArray[np.int64], silent_BM: NDArray[np.bool_], temperature: float
) -> Tensor:
    """How much each neighbour of some rows counts, ``(B, M)``."""
    similarities_BM = torch.from_numpy(graph.similarities[rows])
    weights_BM = neighbour_weights(similarities_BM, temperature=temperature)
    return weights_BM.masked_fill(torch.from_numpy(silent_BM), 0)


def _log_share(votes_BK: Tensor) -> NDArray[np.float32]:
    classes, heard_B1 = votes_BK.shape[1], votes_BK.sum(1, keepdim=True)
    share_BK = torch.where(heard_B1 > 0, votes_BK / heard_B1.clamp_min(1e-30), 1 / classes)
    return ((1 - DOUBT) * share_BK + DOUBT / classes).log().numpy()

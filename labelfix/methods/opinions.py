"""What a row's neighbourhood says of its class: a witness that learns nothing and fits no line.

The votes of the nearest rows' labels, as in the k-nearest-neighbour view of noisy labels (Bahri et
al., ICML 2020). It reads CLID's own graph (CLID-MU, Eq. 7, on the nearest neighbours), and it errs
elsewhere than a trained classifier does, so the two together are worth more than either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.equations.clid import neighbour_weights
from labelfix.methods.design import BLOCK_ROWS
from labelfix.methods.neighbours import Neighbours

TEMPERATURE = 0.05  # of CLID's neighbourhoods
TEMPERATURES = (0.02, 0.05, 0.1)
DOUBT = 0.1  # share of every opinion that is spread evenly: fifty voters rule nothing out
FITTING_ROWS = 10_000


def neighbour_opinions(
    graph: Neighbours,
    labels: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    *,
    hidden: int = -1,
    temperatures: Sequence[float] = TEMPERATURES,
) -> NDArray[np.float32]:
    """Log-probabilities from the votes of each row's neighbours in other folds, ``(N, K)``.

    ``log(0.9 v + 0.1 / K)`` with v the mean label of the neighbours, weighed by the softmax of
    their cosines over a temperature; even where no neighbour has a say. A fold's temperature is
    the one under which the votes foretell the other folds' labels best: near rows alone where
    labels are clean, many rows where they are noisy.

    Args:
        graph: of the N rows.
        labels: ``(N,)`` codes, the right one where it is known; -1 = no vote.
        folds: ``(N,)``; neighbours in the row's own fold have no vote.
        classes: K.
        hidden: a further fold without a vote, -1 = none.
        temperatures: > 0, to choose from.
    """
    voters = np.where(folds == hidden, -1, labels)
    temperature_N = _best_temperatures(graph, voters, folds, classes, temperatures)
    logs_NK = np.empty((len(labels), classes), np.float32)
    for start in range(0, len(labels), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(labels)))
        logs_NK[rows] = _opinions(graph, voters, folds, classes, rows, temperature_N[rows])
    return logs_NK


def _best_temperatures(
    graph: Neighbours,
    voters: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    temperatures: Sequence[float],
) -> NDArray[np.float32]:
    """Each row's temperature, ``(N,)``: the same for a fold, chosen by the other folds' labels."""
    known = np.flatnonzero(voters >= 0)
    rows = np.sort(np.random.default_rng(0).permutation(known)[:FITTING_ROWS])
    likelihood_TB = np.stack(
        [
            _opinions(graph, voters, folds, classes, rows, np.full(len(rows), each, np.float32))[
                np.arange(len(rows)), voters[rows]
            ]
            for each in temperatures
        ]
    )
    best_N = np.full(len(folds), temperatures[0], np.float32)
    for fold in np.unique(folds):
        others = folds[rows] != fold
        if others.any():
            best = likelihood_TB[:, others].mean(1).argmax()
            best_N[folds == fold] = temperatures[best]
    return best_N


def _opinions(
    graph: Neighbours,
    voters: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    rows: NDArray[np.int64],
    temperature_B: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The opinions on some rows, ``(B, K)``."""
    nearest_BM, codes_BM = graph.rows[rows], voters[graph.rows[rows]]
    weights_BM = neighbour_weights(
        torch.from_numpy(graph.similarities[rows] / temperature_B[:, None]), temperature=1.0
    )
    silent_BM = (codes_BM < 0) | (folds[nearest_BM] == folds[rows, None])
    weights_BM = weights_BM.masked_fill(torch.from_numpy(silent_BM), 0)
    votes_BK = torch.zeros(len(rows), classes)
    votes_BK.scatter_add_(1, torch.from_numpy(codes_BM.astype(np.int64)).clamp_min(0), weights_BM)
    heard_B1 = votes_BK.sum(1, keepdim=True)
    share_BK = torch.where(heard_B1 > 0, votes_BK / heard_B1.clamp_min(1e-30), 1 / classes)
    return ((1 - DOUBT) * share_BK + DOUBT / classes).log().numpy()

"""What a row's neighbourhood says of its class: a witness that learns nothing and fits no line.

The votes of the nearest rows' labels, as in the k-nearest-neighbour view of noisy labels (Bahri et
al., ICML 2020). It reads CLID's own graph (CLID-MU, Eq. 7, on the nearest neighbours), and it errs
elsewhere than a trained classifier does, so the two together are worth more than either.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.equations.clid import neighbour_weights
from labelfix.methods.design import BLOCK_ROWS
from labelfix.methods.neighbours import Neighbours

TEMPERATURE = 0.05
DOUBT = 0.1  # share of every opinion that is spread evenly: fifty voters rule nothing out


def neighbour_opinions(
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
        temperature: > 0.
    """
    logs_NK = np.empty((len(labels), classes), np.float32)
    silent_N = (labels < 0) | (folds == hidden)
    for start in range(0, len(labels), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        nearest_BM = graph.rows[rows]
        weights_BM = neighbour_weights(torch.from_numpy(graph.similarities[rows]), temperature)
        silent_BM = silent_N[nearest_BM] | (folds[nearest_BM] == folds[rows, None])
        weights_BM = weights_BM.masked_fill(torch.from_numpy(silent_BM), 0)
        votes_BK = torch.zeros(len(weights_BM), classes)
        codes_BM = torch.from_numpy(labels[nearest_BM].astype(np.int64)).clamp_min(0)
        votes_BK.scatter_add_(1, codes_BM, weights_BM)
        heard_B1 = votes_BK.sum(1, keepdim=True)
        share_BK = torch.where(heard_B1 > 0, votes_BK / heard_B1.clamp_min(1e-30), 1 / classes)
        logs_NK[rows] = ((1 - DOUBT) * share_BK + DOUBT / classes).log().numpy()
    return logs_NK

"""What the nearest-neighbour graph says besides labels: near-duplicates, and rows far from all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelfix.features.neighbours import Neighbours

NEAREST = 10  # neighbours whose mean distance says how far a row lies from all others
# quartile ranges beyond a quartile: "far out" in Tukey, Exploratory Data Analysis, 1977
FENCE = 3.0
SAME = 1e-6  # cosine distance below which two rows are one, whatever the others' distances are


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """Rows that stand out in feature space. Distances are 1 - cosine about the mean, in [0, 2].

    Attributes:
        pairs: ``(P, 2)`` int64, each the rows of a near-duplicate pair, ascending, each pair once.
        pair_distances: ``(P,)``.
        duplicate_threshold: the largest distance of a near-duplicate.
        distances: ``(N,)`` float32, the mean distance to the 10 nearest rows.
        far: ``(N,)`` bool, rows that lie far from all others and so may belong to no class.
        far_threshold: their least mean distance.
    """

    pairs: NDArray[np.int64]
    pair_distances: NDArray[np.float32]
    duplicate_threshold: float
    distances: NDArray[np.float32]
    far: NDArray[np.bool_]
    far_threshold: float


def neighbourhood(graph: Neighbours) -> Neighbourhood:
    """Near-duplicates and far rows by Tukey's far-out fences on the logarithm of the distances.

    A row and its nearest are near-duplicates where their distance lies below the lower fence of
    all rows' nearest distances; a row is far where its mean distance to the 10 nearest lies above
    the upper fence of all rows'. On a normal log-distance either happens to 1 row in 400,000.

    Args:
        graph: of N rows, neighbours in falling similarity.
    """
    found_NM = np.isfinite(graph.similarities)
    distance_NM = np.where(found_NM, np.maximum(1 - graph.similarities, 0), np.nan)
    near_N = distance_NM[:, 0]
    apart = near_N > SAME
    low, _ = _fences(near_N[apart])
    threshold = max(low, SAME)
    rows, places = np.nonzero(distance_NM <= threshold)
    pairs = np.sort(np.stack([rows, graph.rows[rows, places].astype(np.int64)], 1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    count_N = found_NM[:, :NEAREST].sum(1).clip(1)
    mean_N = np.nansum(distance_NM[:, :NEAREST], axis=1) / count_N
    _, high = _fences(mean_N[mean_N > SAME])
    return Neighbourhood(
        pairs=pairs,
        pair_distances=distance_NM[rows, places][first].astype(np.float32),
        duplicate_threshold=threshold,
        distances=mean_N.astype(np.float32),
        far=mean_N > high,
        far_threshold=high,
    )


def _fences(distances: NDArray[np.floating]) -> tuple[float, float]:
    """The far-out fences of positive distances, on their logarithm; (0, inf) where too few tell."""
    if len(distances) < NEAREST:
        return 0.0, float("inf")
    lower, upper = np.quantile(np.log(distances.astype(np.float64)), [0.25, 0.75])
    reach = FENCE * (upper - lower)
    return float(np.exp(lower - reach)), float(np.exp(upper + reach))

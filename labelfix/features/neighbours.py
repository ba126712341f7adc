"""Each row's nearest neighbours in feature space, at a cost linear in the rows.

FAISS searches. On a CUDA device the search is exhaustive: by FAISS where its GPU build is installed
(the ``gpu`` extra), else by torch in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.features.standardise import BLOCK_ROWS, Matrix
from labelfix.ranges import AtLeastOne, check_settings

BANK_BYTES = 2**28
PRODUCT_BYTES = 2**28  # of inner products that torch holds at a time
TEMPERATURE = 0.05  # of CLID's neighbourhoods

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
Search = Callable[[NDArray[np.float32], int], Found]


@dataclass(frozen=True, kw_only=True)
class NeighbourConfig:
    """How neighbours are found.

    Attributes:
        neighbours: of each row, >= 1; fewer where the bank has fewer.
        bank_rows: rows that may be neighbours, at most (and at most 256 MiB of them). A larger data
            set offers a random draw: its neighbourhoods are as dense as in a set of that size.
        exact_rows: a bank up to this size is searched exhaustively; on a CUDA device any bank is.
        cell_rows: mean size of a cell of a larger bank.
        probes: cells that a query visits.
        columns: principal directions in which cells are searched.
        shortlist: candidates for each neighbour that are compared in all directions.
        seed: of the draw and of the cells.
    """

    neighbours: AtLeastOne = 50
    bank_rows: AtLeastOne = 131_072
    exact_rows: AtLeastOne = 10_000
    cell_rows: AtLeastOne = 100
    probes: AtLeastOne = 24
    columns: AtLeastOne = 96
    shortlist: AtLeastOne = 4
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """A nearest-neighbour graph without self edges, the nearest first.

    Attributes:
        rows: ``(N, M)`` int32, the neighbours' row numbers.
        similarities: ``(N, M)`` float32, their cosines; ``-inf`` = fewer than M were found (the
            row number there means nothing).
    """

    rows: NDArray[np.int32]
    similarities: NDArray[np.float32]


def nearest(
    features: Matrix,
    config: NeighbourConfig = NeighbourConfig(),
    device: torch.device | str = "cpu",
) -> Neighbours:
    """The nearest rows of each row, by the cosine of the centred features.

    Centred, because features that are all positive have nearly one direction in common. A bank
    beyond ``exact_rows`` is cut into cells (k-means on a sample of its principal components); the
    best of the cells near a row are compared in full. The cost is linear in the rows, and two runs
    give the same graph.

    Measured on 50,000 x 512 features of CIFAR-10 (10,000 queries): recall of the 50 nearest 0.76;
    CLID finds wrong human labels with AUROC 0.865 / 0.853 (worse / aggre) where the exhaustive
    graph has 0.872 / 0.860, in a quarter of its time (11 against 43 CPU seconds).

    Args:
        features: ``(N, D)``, finite, N >= 2; may be memory-mapped, and is never copied whole.
        config: settings.
        device: where to search.

    Raises:
        ValueError: fewer than two rows.
    """
    rows = features.shape[0]
    if rows < 2:
        raise ValueError(f"{rows} rows have no neighbours")
    members = _draw_bank(features, config)
    vectors, mean = _bank(features, members)
    search = _searcher(vectors, config, torch.device(device))
    count = min(config.neighbours, len(members) - 1)
    graph = Neighbours(
        rows=np.empty((rows, count), np.int32), similarities=np.empty((rows, count), np.float32)
    )
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, rows))
        queries = unit_rows(np.asarray(features[block]), mean)
        similarities, places = search(queries, count + 1)
        names = np.where(places >= 0, members[places], -1)
        names, similarities = without_self(np.arange(rows)[block], names, similarities)
        graph.rows[block] = names.clip(0)
        graph.similarities[block] = np.where(names >= 0, similarities, -np.inf)
    return graph


def _draw_bank(features: Matrix, config: NeighbourConfig) -> NDArray[np.int64]:
    """Row numbers of the bank, rising."""
    rows, columns = features.shape
    limit = max(2, min(config.bank_rows, BANK_BYTES // (4 * columns)))
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(config.seed).choice(rows, limit, replace=False))


def _bank(
    features: Matrix, members: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The bank's vectors about their mean, at unit length; and that mean."""
    vectors = np.empty((len(members), features.shape[1]), np.float32)
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(members), BLOCK_ROWS)]
    for block in blocks:
        vectors[block] = features[members[block]]
    mean = vectors.mean(0, dtype=np.float64)
    for block in blocks:
        vectors[block] = unit_rows(vectors[block], mean)
    return vectors, mean


def unit_rows(
    vectors: NDArray[np.floating], mean: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float32]:
    """The vectors about the mean, at unit length; in float64, since float32's squares end at 1e38.

    Features that are finite in float32 may have lengths that are not.
    """
    centred = vectors.astype(np.float64) - mean
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.ascontiguousarray(centred / np.maximum(lengths, 1e-12), np.float32)


def without_self(
    own: NDArray[np.int64], names: NDArray[np.int64], similarities: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Take each row out of its own neighbours, or the last where it is not among them.

    Args:
        own: ``(B,)`` the rows' numbers.
        names, similarities: ``(B, M + 1)``, the neighbours' numbers and cosines, the nearest first.
    """
    drop = names == own[:, None]
    drop[~drop.any(axis=1), -1] = True
    shape = (len(own), names.shape[1] - 1)
    return names[~drop].reshape(shape), similarities[~drop].reshape(shape)


def _searcher(
    vectors: NDArray[np.float32], config: NeighbourConfig, device: torch.device
) -> Search:
    """A search for the largest inner products: their values and places, -1 = none."""
    if device.type == "cuda" or len(vectors) <= config.exact_rows:
        return exhaustive(vectors, device)
    cells = _cells(vectors, config)
    return lambda queries, count: cells.search(queries, count)


def exhaustive(vectors: NDArray[np.float32], device: torch.device) -> Search:
    """A search through all vectors, ``(M, D)``, on a device."""
    if device.type == "cuda" and not _faiss_has_gpu():
        return TorchSearch(vectors, device)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    if device.type != "cuda":
        return lambda queries, count: flat.search(queries, count)
    moved = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), device.index or 0, flat)
    return lambda queries, count: moved.search(queries, count)


def _faiss_has_gpu() -> bool:
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


class TorchSearch:
    """Exhaustive search by torch, in blocks of queries: products take 256 MiB at a time.

    Args:
        vectors: ``(M, D)``.
        device: any; the vectors stay there.
    """

    def __init__(self, vectors: NDArray[np.float32], device: torch.device | str) -> None:
        self.vectors_MD = torch.from_numpy(vectors).to(device)

    def __call__(self, queries: NDArray[np.float32], count: int) -> Found:
        """The ``count <= M`` largest inner products of each query, ``(B, count)``, and places."""
        block_rows = max(1, PRODUCT_BYTES // (4 * len(self.vectors_MD)))
        blocks = torch.from_numpy(queries).split(block_rows)
        best = [self._products(block).topk(count, dim=1) for block in blocks]
        values = torch.cat([found.values for found in best])
        return values.cpu().numpy(), torch.cat([found.indices for found in best]).cpu().numpy()

    def _products(self, queries_BD: Tensor) -> Tensor:
        return queries_BD.to(self.vectors_MD.device) @ self.vectors_MD.T


def _cells(vectors: NDArray[np.float32], config: NeighbourConfig) -> faiss.IndexRefineFlat:
    """Principal components in cells, a shortlist from there, compared in full."""
    full = vectors.shape[1]
    columns, cells = min(config.columns, full), max(1, len(vectors) // config.cell_rows)
    inverted = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(columns), columns, cells, faiss.METRIC_INNER_PRODUCT
    )
    inverted.nprobe = config.probes
    inverted.cp.niter, inverted.cp.seed = 8, config.seed
    inverted.cp.min_points_per_centroid, inverted.cp.max_points_per_centroid = 1, 40
    reduced = faiss.IndexPreTransform(faiss.PCAMatrix(full, columns), inverted)
    random = np.random.default_rng(config.seed)
    sample = np.sort(random.choice(len(vectors), min(len(vectors), 40 * cells), replace=False))
    reduced.train(vectors[sample])
    index = faiss.IndexRefineFlat(reduced)
    index.k_factor = config.shortlist
    index.add(vectors)
    return index

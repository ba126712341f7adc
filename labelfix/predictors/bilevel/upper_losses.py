"""Upper losses: what a teacher is steered by, and on which rows. A new one is an entry below.

The five that CLID-MU compares (Hu et al., KDD 2025, Sec. 5.1), and CLID on a sparse graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from labelfix.equations.clid import clid_loss, star_clid_loss
from labelfix.features.neighbours import NeighbourConfig, nearest
from labelfix.predictors.bilevel.fold_data import Batch, FoldRows

NEIGHBOURS = 9  # of an anchor in the sparse graph

Losses = NDArray[np.float32]


def _as_is(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:size]]


@dataclass(frozen=True, kw_only=True)
class UpperLoss:
    """An upper loss, made for one fold's rows.

    Attributes:
        rows: the meta set's row numbers, int64.
        loss: of the student's logits ``(B, K)`` on a batch of these, a scalar.
        augment: whether the student sees the rows as in training.
        draw: some of the rows for a step; all of them, or about ``size``.
        choose_again: new rows by the noisy rows' losses, at the start of an epoch; None = the rows
            stay.
    """

    rows: Tensor
    loss: Callable[[Tensor, Batch], Tensor]
    augment: bool = True
    draw: Callable[[Tensor, int, torch.Generator], Tensor] = _as_is
    choose_again: Callable[[Losses], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class MetaSet:
    """How rows for an upper loss are found.

    Attributes:
        rows: at most so many.
        temperature: tau of CLID's embedding graph.
        seed: of the choice.
    """

    rows: int = 1000
    temperature: float = 0.5
    seed: int = 0


def cross_entropy(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy to the batch's labels."""
    return F.cross_entropy(logits_BK, batch.labels)


def mean_absolute_error(logits_BK: Tensor, batch: Batch) -> Tensor:
    """``mean |onehot - p|_1 = 2 - 2 mean p[label]``: robust to symmetric noise (Ghosh 2017)."""
    p_BK = logits_BK.softmax(1)
    return 2 - 2 * p_BK.gather(1, batch.labels[:, None]).mean()


def ce_clean(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """Cross-entropy on the checked rows."""
    return UpperLoss(rows=data.clean, loss=cross_entropy)


def ce_noisy(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """Cross-entropy on given labels, the classes in equal shares: CE(n)."""
    return UpperLoss(rows=_balanced(data, settings), loss=cross_entropy)


def small_loss(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """Cross-entropy on the rows of smallest loss in each class, the classes in equal shares: CE(p).

    Chosen anew every epoch.

    Differs: the paper first keeps the component of small losses of a mixture of two Gaussians. Of a
    class with enough rows there the smallest losses are the same; a hard class with few would have
    fewer than its share. And there is no warm-up: the first epoch's rows are as good as drawn.
    """

    choose = partial(_balanced, data, settings)
    return UpperLoss(rows=choose(), loss=cross_entropy, choose_again=choose)


def mae(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """Mean absolute error on given labels, the classes in equal shares."""
    return UpperLoss(rows=_balanced(data, settings), loss=mean_absolute_error)


def clid(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """CLID on the full graph of a batch (Eq. 7 to 9): no label is read.

    Differs: the embedding is the frozen feature, not the student's hidden layer, which would
    follow the noisy labels.
    """

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        return clid_loss(batch.features, logits_BK.softmax(1), temperature=settings.temperature)

    return UpperLoss(rows=_any(data, settings), loss=loss, augment=False)


def clid_sparse(data: FoldRows, settings: MetaSet) -> UpperLoss:
    """CLID on the nearest neighbours of anchors, linear in the rows: the paper's first economy.

    The graph spans all rows (FAISS), and a batch is anchors with their neighbours.
    """
    wanted = NeighbourConfig(neighbours=min(NEIGHBOURS, len(data.frozen) - 1), seed=settings.seed)
    near = torch.from_numpy(nearest(data.frozen.features, wanted).rows.astype(np.int64))
    width = 1 + near.shape[1]

    def draw(rows: Tensor, size: int, generator: torch.Generator) -> Tensor:
        anchors = _as_is(rows, max(1, size // width), generator)
        return torch.cat([anchors[:, None], near[anchors]], dim=1).flatten()

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        stars = (part.unflatten(0, (-1, width)) for part in (batch.features, logits_BK.softmax(1)))
        return star_clid_loss(*stars, temperature=settings.temperature)

    return UpperLoss(rows=_any(data, settings), loss=loss, augment=False, draw=draw)


UPPER_LOSSES: dict[str, Callable[[FoldRows, MetaSet], UpperLoss]] = {
    "ce-clean": ce_clean,
    "ce-noisy": ce_noisy,
    "small-loss": small_loss,
    "mae": mae,
    "clid": clid,
    "clid-sparse": clid_sparse,
}
STEERED_BY_CHECKED = ("ce-clean",)


def _any(data: FoldRows, settings: MetaSet) -> Tensor:
    """Some of all rows, labelled or not."""
    random = np.random.default_rng(settings.seed)
    rows = random.permutation(len(data.frozen))[: settings.rows]
    return torch.from_numpy(np.sort(rows))


def _balanced(data: FoldRows, settings: MetaSet, order: Losses | None = None) -> Tensor:
    """Noisy rows, the classes in equal shares; the first by ``order``, or drawn."""
    labels, classes = data.noisy_labels, data.task.classes
    random = np.random.default_rng(settings.seed)
    rank = random.random(len(labels)) if order is None else order
    share = max(1, settings.rows // classes)
    chosen = []
    for code in range(classes):
        own = np.flatnonzero(labels == code)
        chosen.append(own[np.argsort(rank[own], kind="stable")][:share])
    return data.noisy[torch.from_numpy(np.sort(np.concatenate(chosen)))]

"""Upper losses: what steers a teacher, a weight or a reliability, and on which rows.

A new one is an entry of :data:`UPPER_LOSSES`: bilevel methods, learned weights in retraining and
HRP's reliabilities then know it, and the command line lists it.

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
from labelfix.predictors.bilevel.rows_in_view import Batch, RowsInView

NEIGHBOURS = 9  # of an anchor in the sparse graph

Losses = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """An upper loss for some rows in view.

    Attributes:
        rows: the meta set's row numbers, int64.
        loss: of a net's logits ``(B, K)`` on a batch of these, a scalar.
        augment: whether the net sees the rows as in training.
        company: the rows that a batch holds for each of the drawn ones, ``(B,)`` to ``(B M,)``.
        size: M, how many these are.
        choose_again: new rows by the noisy rows' losses, at the start of an epoch; None = the rows
            stay.
    """

    rows: Tensor
    loss: Callable[[Tensor, Batch], Tensor]
    augment: bool = True
    company: Callable[[Tensor], Tensor] = lambda rows: rows
    size: int = 1
    choose_again: Callable[[Losses], Tensor] | None = None


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """How an objective's rows are found.

    Attributes:
        rows: at most so many.
        temperature: tau of CLID's embedding graph.
        seed: of the choice.
    """

    rows: int = 1000
    temperature: float = 0.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class UpperLoss:
    """An upper loss.

    Attributes:
        title: what it is, in a few words.
        needs: what there must be: "clean" rows, "features" of all rows.
        build: makes it for the rows in view.
    """

    title: str
    needs: tuple[str, ...] = ()
    build: Callable[[RowsInView, ObjectiveConfig], Objective]


def cross_entropy(logits_BK: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy to the batch's labels."""
    return F.cross_entropy(logits_BK, batch.labels)


def mean_absolute_error(logits_BK: Tensor, batch: Batch) -> Tensor:
    """``mean |onehot - p|_1 = 2 - 2 mean p[label]``: robust to symmetric noise (Ghosh 2017)."""
    p_BK = logits_BK.softmax(1)
    return 2 - 2 * p_BK.gather(1, batch.labels[:, None]).mean()


def ce_clean(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """Cross-entropy on the clean rows."""
    return Objective(rows=view.clean_rows, loss=cross_entropy)


def ce_noisy(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """Cross-entropy on given labels, the classes in equal shares: CE(n)."""
    return Objective(rows=_balanced(view, config), loss=cross_entropy)


def small_loss(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """Cross-entropy on the rows of smallest loss in each class, the classes in equal shares: CE(p).

    Chosen anew every epoch.

    Differs: the paper first keeps the component of small losses of a mixture of two Gaussians. Of a
    class with enough rows there the smallest losses are the same; a hard class with few would have
    fewer than its share. And there is no warm-up: the first epoch's rows are as good as drawn.
    """

    choose = partial(_balanced, view, config)
    return Objective(rows=choose(), loss=cross_entropy, choose_again=choose)


def mae(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """Mean absolute error on given labels, the classes in equal shares."""
    return Objective(rows=_balanced(view, config), loss=mean_absolute_error)


def clid(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """CLID on the full graph of a batch (Eq. 7 to 9): no label is read.

    Differs: the embedding is the frozen feature, where there is one, not the student's hidden
    layer, which would follow the noisy labels.
    """

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        return clid_loss(batch.features, logits_BK.softmax(1), temperature=config.temperature)

    return Objective(rows=_any(view, config), loss=loss, augment=False)


def clid_sparse(view: RowsInView, config: ObjectiveConfig) -> Objective:
    """CLID on the nearest neighbours of anchors, linear in the rows: the paper's first economy.

    The graph spans all rows in view (FAISS), and a batch is anchors with their neighbours.
    """
    features, visible = view.features, view.visible_rows.numpy()
    wanted = NeighbourConfig(neighbours=min(NEIGHBOURS, len(visible) - 1), seed=config.seed)
    all_in_view = len(visible) == features.shape[0]
    found = nearest(features if all_in_view else features[visible], wanted).rows
    near = torch.from_numpy(visible[found.astype(np.int64)])
    place = torch.full((features.shape[0],), -1).scatter(
        0, view.visible_rows, torch.arange(len(near))
    )
    size = 1 + near.shape[1]

    def company(anchors: Tensor) -> Tensor:
        return torch.cat([anchors[:, None], near[place[anchors]]], dim=1).flatten()

    def loss(logits_BK: Tensor, batch: Batch) -> Tensor:
        stars = (part.unflatten(0, (-1, size)) for part in (batch.features, logits_BK.softmax(1)))
        return star_clid_loss(*stars, temperature=config.temperature)

    rows = _any(view, config)
    return Objective(rows=rows, loss=loss, augment=False, company=company, size=size)


UPPER_LOSSES = {
    "ce-clean": UpperLoss(
        title="cross-entropy on the checked rows", needs=("clean",), build=ce_clean
    ),
    "ce-noisy": UpperLoss(title="cross-entropy on given labels", build=ce_noisy),
    "small-loss": UpperLoss(title="the same on the rows of smallest loss", build=small_loss),
    "mae": UpperLoss(title="mean absolute error on given labels", build=mae),
    "clid": UpperLoss(title="agreement with the data's own structure", build=clid),
    "clid-sparse": UpperLoss(
        title="the same on nearest neighbours alone", needs=("features",), build=clid_sparse
    ),
}


def _any(view: RowsInView, config: ObjectiveConfig) -> Tensor:
    """Some of all rows in view, labelled or not."""
    random = np.random.default_rng(config.seed)
    rows = random.permutation(len(view.visible_rows))[: config.rows]
    return view.visible_rows[torch.from_numpy(np.sort(rows))]


def _balanced(view: RowsInView, config: ObjectiveConfig, order: Losses | None = None) -> Tensor:
    """Noisy rows, the classes in equal shares; the first by ``order``, or drawn."""
    labels, classes = view.noisy_labels, view.classes
    random = np.random.default_rng(config.seed)
    rank = random.random(len(labels)) if order is None else order
    share = max(1, config.rows // classes)
    chosen = []
    for code in range(classes):
        own = np.flatnonzero(labels == code)
        chosen.append(own[np.argsort(rank[own], kind="stable")][:share])
    return view.noisy_rows[torch.from_numpy(np.sort(np.concatenate(chosen)))]

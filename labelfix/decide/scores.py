"""How much each row's labels help: reliability of the given label, of the model's own, and CLID.

Alpha and beta are HRP's, in the form that ranks (:func:`labelfix.equations.hrp.ranking_score`),
by a linear head on the frozen features. Each fold's head trains on the other folds alone, so a row
is scored by a head that did not learn from it. Its tangent is one product: for logits ``x W`` and
direction d it is ``x d`` less its mean under p. Both scores come from that tangent, and are
averaged over passes as the head moves from no opinion along the direction.

Which upper loss gives the direction? Measured on CIFAR-10's human labels (worse / aggre; AUROC for
wrong given labels, then for wrong labels of the model; 1,000 checked rows, five folds):

| upper loss | alpha | beta |
| --- | --- | --- |
| cross-entropy to the soft labels of the other folds | 0.878 / 0.853 | 0.763 / 0.755 |
| cross-entropy to the other folds' checked rows (HRP, Eq. 3) | 0.761 / 0.731 | 0.638 / 0.629 |
| CLID of the other folds: no soft labels, no checked rows | 0.834 / 0.806 | 0.688 / 0.699 |

A few hundred rows leave the direction of 10 x 513 weights open; the soft labels carry those rows'
evidence to all rows. So with checked rows the first is used, without them the last.

Shape suffixes: B rows of a block, N rows, K classes, D columns of the design, F folds,
M neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelfix.annotations import Annotations
from labelfix.decide.linear_heads import LinearHeads, Targets
from labelfix.equations import clid as clid_eq
from labelfix.features.neighbours import TEMPERATURE, Neighbours
from labelfix.features.standardise import BLOCK_ROWS, Design, Matrix
from labelfix.ranges import AtLeastOne, Positive, check_settings


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Settings of the scores.

    Attributes:
        passes: tangents that are averaged.
        ridge: of the metric that turns a gradient into a direction, over a feature's mean square.
        temperature: tau of CLID's neighbourhoods.
    """

    passes: AtLeastOne = 4
    ridge: Positive = 0.1
    temperature: Positive = TEMPERATURE

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of each row.

    Attributes:
        label_reliability: ``(N,)`` float32 in [0, 1]; NaN where no label was given.
        pseudo_reliability: ``(N,)`` float32 in [0, 1].
        clid: ``(N,)`` float32 in [0, 7], high = suspicious.
        direction: the upper loss behind the reliabilities, ``soft_labels`` or ``clid``.
    """

    label_reliability: NDArray[np.float32]
    pseudo_reliability: NDArray[np.float32]
    clid: NDArray[np.float32]
    direction: str


def score(
    features: Matrix | Design,
    graph: Neighbours,
    annotations: Annotations,
    soft_labels: NDArray[np.floating],
    log_probabilities: NDArray[np.floating],
    *,
    config: ScoreConfig = ScoreConfig(),
    device: torch.device | str = "cpu",
) -> Scores:
    """Score every row's labels.

    A reliability is ``1 / (1 + exp(-4 s / r))``: s is the row's score, r the median length of
    the tangents of its fold. r depends on neither of the labels that are scored, so neither score
    moves the other; 0.5 = a step on this label would leave the upper loss as it is.

    ``clid`` is ``-log sum_j S_ij <label_i, q_j>`` over the nearest rows j, S the softmax of their
    cosines over the temperature, label_i the given label; for a row without one, its q.

    Args:
        features: ``(N, D)``, finite, may be memory-mapped; or their design.
        graph: their nearest neighbours.
        annotations: the rows' labels, with the predictions' folds; where none is verified, the
            direction is CLID's.
        soft_labels: ``(N, K)``, the posterior q of each row, out of fold.
        log_probabilities: ``(N, K)``, out of fold; the model's own label is its best class.
        config: settings.
        device: of the computation.

    Raises:
        ValueError: lengths differ, or there are fewer than two folds.
    """
    given, folds = annotations.given, annotations.folds
    _check(features.shape[0], folds, soft_labels, log_probabilities)
    design = Design.of(features, device)
    steered = bool(annotations.is_clean.any())
    if steered:
        targets = _soft_targets(soft_labels, design.device)
    else:
        codes = _codes(given, folds, soft_labels.shape[1])
        targets = _clid_targets(graph, codes, int(folds.max()) + 1, config, design.device)
    heads = LinearHeads.of(design, folds, soft_labels.shape[1], ridge=config.ridge)
    own = np.asarray(log_probabilities).argmax(1)
    label_N, pseudo_N, length_N = heads.score(targets, given, own, passes=config.passes)
    scale_N = _fold_medians(length_N, folds)
    return Scores(
        label_reliability=np.where(given >= 0, _to_unit(label_N, scale_N), np.float32(np.nan)),
        pseudo_reliability=_to_unit(pseudo_N, scale_N),
        clid=_row_clid(graph, given, soft_labels, config.temperature),
        direction="soft_labels" if steered else "clid",
    )


def _check(rows: int, *columns: NDArray[np.generic]) -> None:
    lengths = {rows, *map(len, columns)}
    if len(lengths) > 1:
        raise ValueError(f"features and labels differ in length: {sorted(lengths)}")
    if len(np.unique(columns[0])) < 2:
        raise ValueError("scores need at least two folds")


def _soft_targets(soft_labels: NDArray[np.floating], device: torch.device) -> Targets:
    def targets(rows: slice, p_FBK: Tensor) -> Tensor:
        return torch.from_numpy(soft_labels[rows].astype(np.float32)).to(device)

    return targets


def _codes(given: NDArray[np.int32], folds: NDArray[np.int8], classes: int) -> NDArray[np.int64]:
    """Fold and given label in one number, fold by fold; the number after the last = no label."""
    codes = folds.astype(np.int64) * classes + given
    return np.where(given >= 0, codes, (int(folds.max()) + 1) * classes)


def _clid_targets(
    graph: Neighbours,
    codes: NDArray[np.int64],
    folds: int,
    config: ScoreConfig,
    device: torch.device,
) -> Targets:
    """CLID's targets for each fold's head, from the neighbours outside that fold alone."""

    def targets(rows: slice, p_FBK: Tensor) -> Tensor:
        similarities_BM = torch.from_numpy(graph.similarities[rows])
        weights_BM = clid_eq.neighbour_weights(similarities_BM, config.temperature)
        codes_BM = torch.from_numpy(codes[graph.rows[rows]])
        votes_BC = torch.zeros(len(weights_BM), folds * p_FBK.shape[2] + 1)
        votes_BC.scatter_add_(1, codes_BM, weights_BM)
        votes_BFK = votes_BC[:, :-1].unflatten(1, (folds, -1))
        others_FF = 1 - torch.eye(folds)  # a difference from the total would leak by rounding
        votes_FBK = torch.einsum("fg,bgk->fbk", others_FF, votes_BFK).to(device)
        return clid_eq.neighbour_target(p_FBK, votes_FBK)

    return targets


def _row_clid(
    graph: Neighbours,
    given: NDArray[np.int32],
    soft_labels: NDArray[np.floating],
    temperature: float,
) -> NDArray[np.float32]:
    """CLID of each row, block by block; a row without a given label stands for its q."""
    divergence_N = np.empty(len(given), np.float32)
    for start in range(0, len(given), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        agreement_BM = soft_labels[graph.rows[rows], given[rows, None].clip(0)]
        for row in np.flatnonzero(given[rows] < 0):
            agreement_BM[row] = soft_labels[graph.rows[start + row]] @ soft_labels[start + row]
        weights_BM = clid_eq.neighbour_weights(
            torch.from_numpy(graph.similarities[rows]), temperature
        )
        divergence_B = clid_eq.row_clid(weights_BM, torch.from_numpy(agreement_BM))
        divergence_N[rows] = divergence_B.numpy()
    return divergence_N


def _fold_medians(length_N: NDArray[np.float32], folds: NDArray[np.int8]) -> NDArray[np.float32]:
    """Each row's scale: the median over its fold, so that no fold's labels reach its own scores."""
    medians = [np.median(length_N[folds == fold]) for fold in np.unique(folds)]
    return np.array(medians, np.float32)[np.searchsorted(np.unique(folds), folds)]


def _to_unit(score_N: NDArray[np.float32], scale_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """The documented map to [0, 1]; 0.5 where no direction was found."""
    found_N = scale_N > 0
    ratio_N = np.where(found_N, score_N, 0) / np.where(found_N, scale_N, 1)
    return (0.5 + 0.5 * np.tanh(2 * ratio_N)).astype(np.float32)

"""CLID, the cross-layer information divergence of CLID-MU (Hu et al., KDD 2025).

Clean labels keep the structure of the data: rows that are alike in feature space are alike in
their classes. CLID compares the two graphs. It needs no label that anyone checked.

Shape suffixes: B rows of a batch, N rows of a data set, K classes, D features, M neighbours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def embedding_graph(embeddings_BD: Tensor, temperature: float) -> Tensor:
    """Logarithm of the row-normalised embedding graph (Eq. 7), ``(B, B)``.

    ``log Ge_ij - log sum_j Ge_ij`` with ``Ge_ij = exp(cos(z_i, z_j) / tau)``; the self edge stays.

    Args:
        embeddings_BD: ``(B, D)``, z, of any length.
        temperature: tau > 0; the released code has 0.5.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    unit_BD = F.normalize(embeddings_BD, dim=-1)
    return torch.log_softmax(unit_BD @ unit_BD.T / temperature, dim=-1)


def probability_graph(probabilities_BK: Tensor) -> Tensor:
    """The row-normalised class-probability graph (Eq. 8), ``(B, B)``.

    ``Gq_ij / sum_j Gq_ij`` with ``Gq_ij = cos(q_i, q_j)``; the self edge stays.

    Args:
        probabilities_BK: ``(B, K)``, q, each row a distribution.
    """
    unit_BK = F.normalize(probabilities_BK, dim=-1)
    graph_BB = unit_BK @ unit_BK.T
    return graph_BB / graph_BB.sum(-1, keepdim=True)


def clid_loss(
    embeddings_BD: Tensor,
    probabilities_BK: Tensor,
    *,
    temperature: float = 0.5,
    stop_embedding_gradient: bool = True,
) -> Tensor:
    """The divergence of a batch (Eq. 9), a scalar > 0: metric and meta loss.

    ``1/B^2 sum_ij -Gq_ij log Ge_ij`` over the normalised graphs.

    Args:
        embeddings_BD: ``(B, D)``, the last hidden layer's z.
        probabilities_BK: ``(B, K)``, the output layer's q.
        temperature: tau of Eq. 7.
        stop_embedding_gradient: whether the embedding graph is a constant, so that probabilities
            are pulled towards the features' structure and not the reverse (the paper's sg).

    Differs: the mean over rows divides once more by B, as Eq. 9 does; the released code leaves
    that out. The factor matters to a meta learning rate only.
    """
    if len(embeddings_BD) != len(probabilities_BK):
        raise ValueError(f"{len(embeddings_BD)} embeddings, {len(probabilities_BK)} probabilities")
    if stop_embedding_gradient:
        embeddings_BD = embeddings_BD.detach()
    log_graph_BB = embedding_graph(embeddings_BD, temperature)
    return -(probability_graph(probabilities_BK) * log_graph_BB).mean()


def neighbour_weights(similarities_NM: Tensor, temperature: float) -> Tensor:
    """Eq. 7 on a nearest-neighbour graph without self edges, row-normalised, ``(N, M)``.

    Args:
        similarities_NM: ``(N, M)``, cosines to the neighbours; ``-inf`` = no such neighbour. A row
            with no neighbour at all has weights 0.
        temperature: tau > 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    return torch.softmax(similarities_NM / temperature, dim=-1).nan_to_num(0.0)


def row_clid(weights_NM: Tensor, agreement_NM: Tensor, *, tiny: float = 1e-3) -> Tensor:
    """The divergence of single rows, ``(N,)``, in ``[0, -log tiny]``: high = suspicious.

    ``-log sum_j S_ij <label_i, label_j>`` over the nearest neighbours j: the embedding graph
    against the label graph at row i.

    Args:
        weights_NM: S, from :func:`neighbour_weights`.
        agreement_NM: ``(N, M)``, ``<label_i, label_j>``, in [0, 1]; labels are distributions.
        tiny: the least agreement that is told from none.

    Differs: Eq. 9's own rows hardly rank (AUROC 0.47 to 0.62 for wrong human labels on CIFAR-10):
    each is ruled by its similarity to itself and by its normalisation. Here the logarithm is of
    the agreement, the label graph is not normalised, there is no self edge, and only the nearest
    neighbours count (the paper's own proposal for large sets).
    """
    return -(weights_NM * agreement_NM).sum(-1).clamp(tiny, 1.0).log()


def neighbour_target(probabilities_BK: Tensor, votes_BK: Tensor) -> Tensor:
    """The soft target under which cross-entropy has the gradient of CLID's row form.

    With v_i = sum_j S_ij label_j the neighbours' votes, the gradient of
    ``-log sum_j S_ij <p_i, label_j> = -log <p_i, v_i>`` for the logits is ``p_i - r_i``, with
    ``r_ik = p_ik v_ik / <p_i, v_i>``.

    Args:
        probabilities_BK: ``(..., B, K)``, p.
        votes_BK: ``(..., B, K)``, v >= 0; all zero = no neighbour has a say, and r = p.

    Returns:
        r, ``(..., B, K)``; rows sum to 1.
    """
    joint_BK = probabilities_BK * votes_BK
    total_B1 = joint_BK.sum(-1, keepdim=True)
    return torch.where(total_B1 > 0, joint_BK / total_B1.clamp_min(1e-30), probabilities_BK)


def star_clid_loss(
    embeddings_AMD: Tensor, probabilities_AMK: Tensor, *, temperature: float = 0.5
) -> Tensor:
    """Eq. 9 on a sparse graph, a scalar: A anchors, each with its nearest neighbours.

    Row i of each graph holds the anchor's edges to itself and to its M - 1 neighbours alone, and
    is normalised over these: the top-K graph that the paper proposes for large sets, at a cost of
    A M in place of (A M)^2.

    Args:
        embeddings_AMD: ``(A, M, D)``, constants; entry 0 of each star is the anchor.
        probabilities_AMK: ``(A, M, K)``, each row a distribution.
        temperature: tau of Eq. 7.

    Differs: the mean over a row's M edges in place of Eq. 9's over all B, and neighbourhoods in
    place of a batch: what is far from the anchor has no edge.
    """
    unit_AMD = F.normalize(embeddings_AMD.detach(), dim=-1)
    unit_AMK = F.normalize(probabilities_AMK, dim=-1)
    cosine_AM = (unit_AMD * unit_AMD[:, :1]).sum(-1)
    agreement_AM = (unit_AMK * unit_AMK[:, :1]).sum(-1)
    weights_AM = agreement_AM / agreement_AM.sum(-1, keepdim=True)
    return -(weights_AM * torch.log_softmax(cosine_AM / temperature, dim=-1)).mean()

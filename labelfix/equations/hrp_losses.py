"""HRP's losses: what its two reliabilities do in training (RAM, GRG, CDCL, RCE, consistency).

The text lost the formulas; they are rebuilt from its prose, which forces their limits.
:mod:`labelfix.equations.hrp` has alpha and beta themselves (Eq. 1 to 5).

Shape suffixes: B rows of the batch, V = 2B views, K classes, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labelfix.equations.cross_entropy import soft_cross_entropy

TINY = 1e-8


def above_chance(best_B: Tensor, classes: int) -> Tensor:
    """``(p - 1/K) / (1 - 1/K)``: a best probability on a scale where chance is 0, ``(B,)``."""
    return (best_B - 1 / classes) / (1 - 1 / classes)


def total_reliability(label_B: Tensor, pseudo_B: Tensor, low: float, high: float) -> Tensor:
    """``r_i = clamp(alpha_i + beta_i, r_min, r_max)`` (Eq. 6), ``(B,)``."""
    if not 0 < low <= high:
        raise ValueError(f"0 < low <= high must hold, not {low}, {high}")
    return (label_B + pseudo_B).clamp(low, high)


def mixup_shapes(
    total_B: Tensor, partner_B: Tensor, concentration: float, *, symmetric: bool = False
) -> tuple[Tensor, Tensor]:
    """Both shapes of the Beta law of each pair's lambda (Eq. 7), ``(B,)`` each.

    ``c r_i / (r_i + r_j)`` and ``c r_j / (r_i + r_j)``: equal reliabilities give the symmetric
    Beta(c/2, c/2); where r_i is far above r_j, lambda goes to 1, so the mixture to row i.

    Args:
        total_B: r, from :func:`total_reliability`.
        partner_B: ``(B,)`` row numbers j.
        concentration: c > 0.
        symmetric: Beta(c/2, c/2) for all, the ablation "Sym. RAM".
    """
    if symmetric:
        half_B = torch.full_like(total_B, concentration / 2)
        return half_B, half_B
    share_B = total_B / (total_B + total_B[partner_B] + TINY)
    return concentration * share_B.clamp_min(TINY), concentration * (1 - share_B).clamp_min(TINY)


def pair_gate(total_B: Tensor, partner_B: Tensor, share_B: Tensor) -> Tensor:
    """``G_ij = lambda r_i + (1 - lambda) r_j`` (GRG, Eq. 8), ``(B,)``."""
    return share_B * total_B + (1 - share_B) * total_B[partner_B]


def ram_loss(mixed_logits_BK: Tensor, mixed_targets_BK: Tensor, gate_B: Tensor) -> Tensor:
    """``mean_ij G_ij CE(f(mixed x), mixed t)`` (Eq. 9); not normalised by the gates' sum."""
    return (gate_B * soft_cross_entropy(mixed_logits_BK, mixed_targets_BK)).mean()


def unit_range(pseudo_B: Tensor) -> Tensor:
    """beta between its extremes in the batch (Eq. 10), ``(B,)`` in [0, 1].

    Differs: where all are equal the formula gives 0 and no pair would attract; here it is 1.
    """
    low, high = pseudo_B.min(), pseudo_B.max()
    scaled_B = (pseudo_B - low) / (high - low + TINY)
    return torch.where(high - low > TINY, scaled_B, torch.ones_like(scaled_B))


def cdcl_loss(
    embeddings_VD: Tensor,
    classes_V: Tensor,
    sure_V: Tensor,
    gate_V: Tensor,
    temperature: float,
) -> Tensor:
    """Consensus-driven contrastive learning (Eq. 11, 12), a scalar; 0 without any positive pair.

    ``- mean over anchors i with a positive of 1/|P(i)| sum_{p in P(i)} bn_i bn_p log softmax_{a !=
    i}(z_i . z_a / tau)_p``, where P(i) holds the other views with the same sure pseudo-label.

    Args:
        embeddings_VD: ``(V, D)``, of any length; normalised here.
        classes_V: ``(V,)`` pseudo-labels.
        sure_V: ``(V,)`` bool; only sure views have or are positives, all others are negatives.
        gate_V: bn, from :func:`unit_range`, of each view's row.
        temperature: tau > 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, not {temperature}")
    z_VD = F.normalize(embeddings_VD, dim=-1)
    itself_VV = torch.eye(len(z_VD), dtype=torch.bool, device=z_VD.device)
    logits_VV = (z_VD @ z_VD.T / temperature).masked_fill(itself_VV, float("-inf"))
    logs_VV = logits_VV.log_softmax(-1).masked_fill(itself_VV, 0.0)
    alike_VV = (classes_V[:, None] == classes_V) & sure_V[:, None] & sure_V & ~itself_VV
    weight_VV = alike_VV * (gate_V[:, None] * gate_V)
    positives_V = alike_VV.sum(-1)
    loss_V = -(weight_VV * logs_VV).sum(-1) / positives_V.clamp_min(1)
    return loss_V.sum() / (positives_V > 0).sum().clamp_min(1)


def reweighted_cross_entropy(
    logits_BK: Tensor, targets_BK: Tensor, total_B: Tensor, intensity: float
) -> Tensor:
    """``mean_i (1 + gamma (r_i / mean r - 1)) CE(f(weak_i), t_i)`` (RCE, Eq. 13), a scalar.

    Args:
        logits_BK: of the weak view.
        targets_BK: t.
        total_B: r.
        intensity: gamma in [0, 1]; 0 = plain cross-entropy.
    """
    weight_B = 1 + intensity * (total_B / total_B.mean() - 1)
    return (weight_B * soft_cross_entropy(logits_BK, targets_BK)).mean()


def view_consistency_loss(strong_logits_BK: Tensor, weak_logits_BK: Tensor) -> Tensor:
    """``mean_i CE(stopgrad f(weak_i), f(strong_i))`` (Eq. 14), a scalar."""
    return soft_cross_entropy(strong_logits_BK, weak_logits_BK.detach().softmax(-1)).mean()


def is_starved(total_B: Tensor, low: float) -> Tensor:
    """Whether a batch's reliabilities have sunk to their lower bound, a scalar bool.

    The weakness that the paper names: at 90 % noise the mean gate goes to r_min, and the gradients
    of RAM with it.

    Args:
        total_B: r.
        low: r_min; sunk means that the mean lies below ``1.5 r_min``.
    """
    return total_B.mean() < 1.5 * low


def restored_gate(gate_B: Tensor, starved: Tensor) -> Tensor:
    """Gates scaled to mean 1 where the batch is starved, else as they are, ``(B,)``.

    The order among pairs stays; the loss gets its mass back.

    Differs: not in the paper, which lets training stall.
    """
    return torch.where(starved, gate_B / gate_B.mean().clamp_min(TINY), gate_B)

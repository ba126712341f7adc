"""EMLC, enhanced meta label correction: gated targets, corrupted clean rows, k-step discount.

Keren Taraday and Baskin, ICCV 2023. The one-step meta-gradient (Eq. 10) is
:func:`labelfix.equations.mlc.teacher_gradient`; k steps (Eq. 11) add up such gradients, each with
the batch, the targets and the student's weights of its own step.

Shape suffixes: B rows of a batch, K classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gated_targets(gate_B: Tensor, labels_B: Tensor, probabilities_BK: Tensor) -> Tensor:
    """The teacher's corrected labels, ``(B, K)`` (Sec. 3.6, Fig. 3).

    ``gate onehot(label) + (1 - gate) prediction``: the gate says how far the label is trusted.

    Args:
        gate_B: ``(B,)`` in [0, 1].
        labels_B: ``(B,)`` codes.
        probabilities_BK: ``(B, K)``, the prediction of the teacher's own classifier.
    """
    onehot_BK = F.one_hot(labels_B, probabilities_BK.shape[1]).to(probabilities_BK)
    return torch.lerp(probabilities_BK, onehot_BK, gate_B[:, None])


def step_discounts(rate: float, steps: int) -> list[float]:
    """``(1 - rate)^age`` of each step of a window, the oldest first (Eq. 8 and 11)."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], not {rate}")
    return [(1 - rate) ** age for age in reversed(range(steps))]


def random_wrong_labels(labels_B: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Labels drawn uniformly from the other classes, ``(B,)`` codes.

    Differs: the paper draws from all classes, so that one in K "corrupted" labels is right and the
    gate is taught to distrust it.
    """
    shift_B = torch.randint(
        1, classes, labels_B.shape, generator=generator, device=generator.device
    )
    return (labels_B + shift_B.to(labels_B)) % classes


def strongest_wrong_labels(probabilities_BK: Tensor, labels_B: Tensor) -> Tensor:
    """Each row's likeliest wrong class, ``(B,)`` codes: the adversarial corruption."""
    others_BK = probabilities_BK.detach().scatter(1, labels_B[:, None], -torch.inf)
    return others_BK.argmax(1)


def gate_loss(gate_logits_B: Tensor, kept_B: Tensor) -> Tensor:
    """Binary cross-entropy of the gate against whether the label was kept right, a scalar.

    Args:
        gate_logits_B: ``(B,)``.
        kept_B: ``(B,)`` bool, False = corrupted.
    """
    return F.binary_cross_entropy_with_logits(gate_logits_B, kept_B.to(gate_logits_B))

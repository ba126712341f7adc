"""HRP's reliabilities inside a training: measured on batches, remembered a row.

A row's alpha and beta come from one tangent of the net's log-probabilities along the gradient of
an upper loss: the clean rows' cross-entropy, or where there are none CLID, as in the file's own
scores.

Shape suffixes: B rows of the batch, N rows, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from labelfix.equations import hrp
from labelfix.equations.weight_vectors import Direction
from labelfix.nets.classifiers import evaluating
from labelfix.predictors.bilevel.student import Student
from labelfix.retrain.problem import Problem, all_gather_rows


class ReliabilityMemory(nn.Module):
    """Running averages of ``B alpha`` and ``B beta`` of each row by each net: 1 = an even batch.

    Starts at the file's reliabilities, scaled to mean 1; at 1 where there are none.
    """

    def __init__(self, problem: Problem, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.label_2N: Tensor
        self.pseudo_2N: Tensor
        targets = problem.targets
        rows = len(targets.weights)
        self.register_buffer("label_2N", _prior(targets.label_reliability, rows))
        self.register_buffer("pseudo_2N", _prior(targets.pseudo_reliability, rows))

    def remember(
        self, fabric: Fabric, net: int, rows: Tensor, label_B: Tensor, pseudo_B: Tensor
    ) -> None:
        """Moves the averages of a net's rows towards what a batch showed (alpha and beta)."""
        size = len(rows)
        for memory_2N, fresh_B in ((self.label_2N, label_B), (self.pseudo_2N, pseudo_B)):
            moved_B = torch.lerp(size * fresh_B, memory_2N[net, rows], self.momentum)
            everywhere, values = all_gather_rows(fabric, rows, moved_B)
            memory_2N[net, everywhere] = values


def _prior(reliability: NDArray[np.float32] | None, rows: int) -> Tensor:
    if reliability is None or np.isnan(reliability).all():
        return torch.ones(2, rows)
    mean = max(float(np.nanmean(reliability)), 1e-6)
    scaled = np.nan_to_num(reliability / mean, nan=1.0)
    return torch.from_numpy(scaled.astype(np.float32)).repeat(2, 1)


def measured(
    student: Student, inputs_B: Tensor, labels_BK: Tensor, direction: Direction
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities ``(B, K)``, alpha and beta ``(B,)`` of a batch by one tangent (Eq. 1 to 5).

    Args:
        student: the classifier.
        inputs_B: the batch.
        labels_BK: labels; a row of zeros = no label.
        direction: the upper loss's gradient.

    Differs: BatchNorm and dropout are frozen for the tangent too, so that a row's reliability does
    not depend on the batch it came in, and the pass serves as the pseudo-labels' as well.
    """
    with evaluating(student.net):
        logs_BK, tangent_BK = student.log_probs_and_tangent(inputs_B, direction)
    own_BK = F.one_hot(logs_BK.argmax(-1), logs_BK.shape[1]).to(logs_BK.dtype)
    alpha_B, beta_B = hrp.reliabilities(tangent_BK, labels_BK, own_BK)
    return logs_BK.exp(), alpha_B, beta_B

"""The meta step that every learned teacher takes, in bilevel learning and in retraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from labelfix.equations.mlc import lower_loss, teacher_gradient
from labelfix.equations.weight_vectors import Direction
from labelfix.predictors.bilevel.student import Student

Measure = Callable[[Direction], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class MetaStep:
    """What is known after a virtual step of the student.

    Attributes:
        gradient: of the lower loss, along which the student steps.
        upper: the upper loss after the step, a scalar.
        upper_gradient: its gradient there.
        teacher_gradient: the same for the parameters that shaped the targets.
    """

    gradient: dict[str, Tensor]
    upper: Tensor
    upper_gradient: dict[str, Tensor]
    teacher_gradient: list[Tensor]


def through_one_step(
    student: Student,
    x: Tensor,
    log_probs_BK: Tensor,
    targets_BK: Tensor,
    parameters: Sequence[Tensor],
    measure: Measure,
    *,
    keep_graph: bool = False,
) -> MetaStep:
    """The upper loss's gradient through the student's next step (CLID-MU, Eq. 4, 5 and 10).

    Args:
        student: in the mode that its step takes; it does not move.
        x: the batch, which the student has just looked at.
        log_probs_BK: ``(B, K)``, its log-probabilities there, with their graph.
        targets_BK: ``(B, K)``, with their graph to the parameters; the lower loss is linear in
            them.
        parameters: the teacher's.
        measure: the upper loss and its gradient at some weights of the student.
        keep_graph: whether ``log_probs_BK`` are needed again.
    """
    lower = lower_loss(targets_BK, log_probs_BK)
    gradient = student.gradient(lower, keep_graph=keep_graph)
    ahead, pull = student.ahead(gradient)
    upper, after = measure(ahead)
    tangent_BK = student.tangent(x, pull(after))
    return MetaStep(
        gradient=gradient,
        upper=upper,
        upper_gradient=after,
        teacher_gradient=teacher_gradient(targets_BK, parameters, tangent_BK),
    )

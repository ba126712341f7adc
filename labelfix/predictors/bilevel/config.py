"""Settings that all bilevel methods share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from labelfix.ranges import AtLeastOne, BelowOne, NotNegative, OneOf, Positive, check_settings


@dataclass(frozen=True, kw_only=True)
class BilevelConfig:
    """Settings of student, teacher and upper loss.

    Attributes:
        batch: noisy rows of one student step.
        student_steps: k, of the student to one of the teacher.
        meta_batch: rows of the upper loss a step.
        meta_rows: rows of the upper loss in all, where they are not the checked ones.
        optimizer: the student's: sgd (Nesterov) or adamw.
        lr, momentum, weight_decay: of the student.
        teacher_lr: of Adam.
        warm_up: share of the epochs in which the teacher rests, where the rule asks whether it
            does (as in ``meta_weight_net.py``), as with ``tolerance``.
        tolerance: relative fall of an epoch's upper loss that still counts; 0 = the teacher learns
            to the end. Once two epochs in a row stay below it, meta steps stop (CLID-MU's third
            economy).
        temperature: tau of CLID.
        snapshots: states of the student that are averaged.
        compile: whether the tangent runs under ``torch.compile``, in full precision alone; it pays
            for long trainings of convolutional students.
    """

    batch: AtLeastOne = 128
    student_steps: AtLeastOne = 1
    meta_batch: AtLeastOne = 100
    meta_rows: AtLeastOne = 1000
    optimizer: Annotated[str, OneOf("sgd", "adamw")] = "sgd"
    lr: Positive = 0.1
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    teacher_lr: Positive = 3e-4
    warm_up: BelowOne = 0.0
    tolerance: NotNegative = 0.0
    temperature: Positive = 0.5
    snapshots: AtLeastOne = 5
    compile: bool = False

    def __post_init__(self) -> None:
        check_settings(self)

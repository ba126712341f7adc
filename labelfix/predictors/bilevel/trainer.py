"""The one trainer under all bilevel methods: student, teacher, upper loss, snapshots, for a fold.

The training loop (`loop.py`) drives a :class:`FoldTrainer`; what a step does is its plan's rule,
one short file a paper (`mlc.py`, `emlc.py`, `ebomlc.py`, `meta_weight_net.py`).
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.weight_vectors import Direction
from labelfix.predictors.bilevel.config import BilevelConfig, BilevelMethod
from labelfix.predictors.bilevel.fold_data import Batch, FoldRows, FoldTask
from labelfix.predictors.bilevel.snapshots import Snapshots
from labelfix.predictors.bilevel.student import Student, average
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, MetaSet, UpperLoss
from labelfix.training.config import EpochContext, StepContext

_LOOK_ROWS = 512  # rows a batch where nothing is learned


class FoldTrainer:
    """A plan at work on one fold: what the training loop calls a method.

    Attributes:
        student: the classifier under training.
        teacher: see :class:`labelfix.predictors.bilevel.teachers.Teacher`.
        data: the rows this fold may learn from.
    """

    manual_update = True

    def __init__(self, fabric: Fabric, *, task: FoldTask, plan: BilevelMethod, fold: int) -> None:
        self.fabric, self.plan = fabric, plan
        config = self.config = plan.config
        self.data = FoldRows(task, fold, fabric.device, clean_apart=plan.needs_checked)
        net, self.teacher = task.make_student(), plan.make_teacher(task)
        fused = fabric.device.type == "cpu"  # elsewhere torch chooses well by itself
        self.student = Student(
            fabric, net, _student_optimizer(net, config, fused), compiled=config.compile
        )
        self.teacher_optimizer = torch.optim.Adam(
            self.teacher.parameters(), lr=config.teacher_lr, fused=fused
        )
        self.upper = self._upper_loss()
        self.snapshots = Snapshots(net, config.snapshots)
        self.record = MetaState(self.teacher, self.upper.rows, len(task.folds))
        self._this_epoch: tuple[bool, Tensor] | None = None  # settled, rows of the upper loss
        self.modules: dict[str, nn.Module] = {
            "student": net, "teacher": self.teacher,
            "snapshots": self.snapshots, "record": self.record,
        }  # fmt: skip
        self.optimizers: dict[str, Optimizer] = {
            "student": self.student.optimizer, "teacher": self.teacher_optimizer
        }  # fmt: skip

    def _upper_loss(self) -> UpperLoss:
        config = self.config
        settings = MetaSet(rows=config.meta_rows, temperature=config.temperature)
        return UPPER_LOSSES[self.plan.upper](self.data, settings)

    @cached_property
    def teacher_parameters(self) -> list[Tensor]:
        return list(self.teacher.parameters())

    def teaches(self, context: EpochContext) -> bool:
        """Whether the teacher moves in an epoch."""
        resting = context.epoch < self.config.warm_up * context.epochs
        return not resting and not self._epoch_state()[0]

    def _epoch_state(self) -> tuple[bool, Tensor]:
        """Whether the teacher has settled, and the upper loss's rows: read once an epoch."""
        if self._this_epoch is None:
            settled = bool(self.record.settled)
            self._this_epoch = settled, self.record.meta_N.nonzero()[:, 0].cpu()
        return self._this_epoch

    # --- what rules ask for ---------------------------------------------------------------------

    def targets(
        self, batch: Batch, log_probs_BK: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """The teacher's targets ``(B, K)`` for a student of these log-probabilities."""
        with self.fabric.autocast():
            return self.teacher.targets(batch, log_probs_BK.detach(), generator)

    def corrected(self, batch: Batch, log_probs_BK: Tensor) -> Tensor:
        """The teacher's corrected labels, ``(B, K)``.

        Raises:
            TypeError: it has none.
        """
        with self.fabric.autocast():
            corrected_BK = self.teacher.corrected(batch, log_probs_BK.detach())
        if corrected_BK is None:
            raise TypeError(f"{type(self.teacher).__name__} corrects no labels")
        return corrected_BK

    def meta_rows(self) -> Tensor:
        """Row numbers for the upper loss."""
        return self.upper.draw(self._epoch_state()[1], self.config.meta_batch, self.random)

    def meta_batch(self, generator: torch.Generator) -> Batch:
        """Rows for the upper loss."""
        return self.data.batch(self.meta_rows(), generator if self.upper.augment else None)

    def more_rows(self, size: int) -> Tensor:
        """More noisy rows than the loop hands out."""
        order = torch.randperm(len(self.data.noisy), generator=self.random)
        return self.data.noisy[order[:size]]

    def upper_gradient(
        self, parameters: Direction, meta: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The upper loss at some weights of the student, and its gradient for them."""
        loss = self.upper.loss(self.student.log_probs_at(parameters, meta.x), meta)
        return loss.detach(), self.student.gradient_at(parameters, loss)

    def move_teacher(self, gradient: list[Tensor]) -> None:
        """One step of the teacher."""
        for part, slope in zip(
            self.teacher_parameters, average(self.fabric, gradient), strict=True
        ):
            part.grad = slope
        self.teacher_optimizer.step()
        self.teacher_optimizer.zero_grad()

    # --- what the loop asks for -----------------------------------------------------------------

    def epoch_rows(self, context: EpochContext) -> Tensor:
        self.record.close_epoch(self.fabric, self.config.tolerance)
        self._this_epoch = None
        if self.upper.choose_again is not None and self.teaches(context):
            losses: Any = self._noisy_losses() if self.fabric.is_global_zero else None
            self.record.choose(self.upper.choose_again(self.fabric.broadcast(losses)))
            self._this_epoch = None
        return self.data.noisy

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        # row numbers are drawn on the CPU; the loop has seeded the global generator for this step
        self.random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        metrics = self.plan.rule.step(self, rows, context)
        if self.teaches(context):
            self.record.add(metrics["upper"])
        return metrics

    def evaluate(self, epoch: int) -> dict[str, float]:
        """The upper loss on the meta set, by which snapshots are chosen; how far the teacher is."""
        self.student.net.eval()
        seen = self._epoch_state()[1]
        every = self.upper.draw(seen, self.config.meta_rows, torch.Generator().manual_seed(0))
        batch = self.data.batch(every, None)
        score = float(self.upper.loss(self._logits(batch.x), batch))
        if epoch:
            self.snapshots.offer(self.student.net, score)
        return {"upper_loss": score, "teacher_moved": self.record.moved(self.teacher)}

    @torch.no_grad()
    def _logits(self, x: Tensor) -> Tensor:
        with self.fabric.autocast():
            return torch.cat([self.student.net(part).float() for part in x.split(_LOOK_ROWS)])

    @torch.no_grad()
    def _noisy_losses(self) -> NDArray[np.float32]:
        """Cross-entropy of each noisy row to its given label."""
        self.student.net.eval()
        losses = []
        for rows in self.data.noisy.split(_LOOK_ROWS):
            batch = self.data.batch(rows, None)
            loss_B = nn.functional.cross_entropy(
                self._logits(batch.x), batch.labels, reduction="none"
            )
            losses.append(loss_B.cpu())
        self.student.net.train()
        return torch.cat(losses).numpy()


def _student_optimizer(net: nn.Module, config: BilevelConfig, fused: bool) -> Optimizer:
    parts, decay = net.parameters(), config.weight_decay
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parts, lr=config.lr, weight_decay=decay, fused=fused)
    nesterov = config.momentum > 0
    return torch.optim.SGD(
        parts, config.lr, config.momentum, weight_decay=decay, nesterov=nesterov, fused=fused
    )


class MetaState(nn.Module):
    """Buffers alone, so that a checkpoint holds them.

    Args:
        teacher: untrained.
        meta_rows: row numbers of the upper loss.
        rows: N.
    """

    settled: Tensor
    upper_sum: Tensor
    upper_count: Tensor
    lowest: Tensor
    stale: Tensor
    meta_N: Tensor

    def __init__(self, teacher: nn.Module, meta_rows: Tensor, rows: int) -> None:
        super().__init__()
        self.first = copy.deepcopy(teacher).requires_grad_(False)
        for name in ("stale", "upper_count"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.register_buffer("upper_sum", torch.zeros(()))
        self.register_buffer("lowest", torch.tensor(torch.inf))
        self.register_buffer("meta_N", torch.zeros(rows, dtype=torch.bool))
        self.choose(meta_rows)

    def choose(self, meta_rows: Tensor) -> None:
        """The rows of the upper loss from now on."""
        self.meta_N.zero_()
        self.meta_N[meta_rows.to(self.meta_N.device)] = True

    def add(self, upper: Tensor) -> None:
        self.upper_sum += upper.detach()
        self.upper_count += 1

    def close_epoch(self, fabric: Fabric, tolerance: float) -> None:
        """Before the next epoch: whether the last ones still lowered the upper loss."""
        if tolerance and int(self.upper_count):
            (mean,) = average(fabric, [(self.upper_sum / self.upper_count)[None]])
            fell = bool(mean < (1 - tolerance) * self.lowest)
            self.stale.fill_(0 if fell else int(self.stale) + 1)
            self.lowest.copy_(torch.minimum(self.lowest, mean[0]))
            self.settled.fill_(int(self.stale) >= 2)
        self.upper_sum.zero_()
        self.upper_count.zero_()

    def moved(self, teacher: nn.Module) -> float:
        """Largest change of any of the teacher's parameters."""
        pairs = zip(teacher.parameters(), self.first.parameters(), strict=True)
        return max(float((now - first).abs().max()) for now, first in pairs)

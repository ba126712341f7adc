"""The one trainer under all bilevel methods: student, teacher, upper loss, snapshots, for a fold.

The training loop (`loop.py`) drives a :class:`FoldTrainer`; what a step does is its method's rule,
one short file a paper (`mlc.py`, `emlc.py`, `ebomlc.py`, `meta_weight_net.py`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.weight_vectors import Direction
from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.fold_data import FoldRows, FoldTask
from labelfix.predictors.bilevel.meta_state import MetaRows, MetaState
from labelfix.predictors.bilevel.rows_in_view import Batch
from labelfix.predictors.bilevel.snapshots import Snapshots
from labelfix.predictors.bilevel.student import Student, average
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig
from labelfix.training.config import EpochContext, StepContext

if TYPE_CHECKING:
    from labelfix.predictors.bilevel.method import BilevelMethod

_LOOK_ROWS = 512  # rows a batch where nothing is learned


class FoldTrainer:
    """A bilevel method at work on one fold, for the training loop.

    Attributes:
        student: the classifier under training.
        teacher: see :class:`labelfix.predictors.bilevel.teachers.Teacher`.
        data: the rows this fold may learn from.
        objective: the upper loss for these rows.
    """

    manual_update = True

    def __init__(self, fabric: Fabric, *, task: FoldTask, method: BilevelMethod, fold: int) -> None:
        self.fabric, self.method = fabric, method
        config = self.config = method.config
        self.data = FoldRows(task, fold, fabric.device, clean_apart=method.needs_clean)
        net, self.teacher = task.make_student(), method.make_teacher(task)
        fused = fabric.device.type == "cpu"  # elsewhere torch chooses well by itself
        self.student = Student(
            fabric, net, _student_optimizer(net, config, fused), compiled=config.compile
        )
        chosen = ObjectiveConfig(rows=config.meta_rows, temperature=config.temperature)
        self.objective = UPPER_LOSSES[method.upper_loss].build(self.data, chosen)
        self.meta = MetaRows(self.objective, len(task.source))
        self.snapshots = Snapshots(net, config.snapshots)
        self.state = MetaState(self.teacher)
        self._settled: bool | None = None
        self.modules: dict[str, nn.Module] = {
            "student": net, "teacher": self.teacher,
            "snapshots": self.snapshots, "meta_rows": self.meta, "meta_state": self.state,
        }  # fmt: skip
        self.optimizers: dict[str, Optimizer] = {"student": self.student.optimizer}
        if self.teacher_parameters:
            self.optimizers["teacher"] = self.teacher_optimizer = torch.optim.Adam(
                self.teacher_parameters, lr=config.teacher_lr, fused=fused
            )

    @cached_property
    def teacher_parameters(self) -> list[Tensor]:
        """Empty for a method that has no teacher."""
        return list(self.teacher.parameters())

    def teaches(self, context: EpochContext) -> bool:
        """Whether the teacher moves in an epoch."""
        if self._settled is None:  # once an epoch: reading waits for a GPU
            self._settled = bool(self.state.settled)
        return not self._settled and context.epoch >= self.config.warm_up * context.epochs

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
        return self.meta.draw(self.config.meta_batch, self.random)

    def meta_batch(self, generator: torch.Generator) -> Batch:
        """Rows for the upper loss."""
        return self.data.batch(self.meta_rows(), generator if self.objective.augment else None)

    def more_rows(self, size: int) -> Tensor:
        """More noisy rows than the loop hands out."""
        order = torch.randperm(len(self.data.noisy_rows), generator=self.random)
        return self.data.noisy_rows[order[:size]]

    def upper_gradient(
        self, parameters: Direction, meta: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The upper loss at some weights of the student, and its gradient for them."""
        loss = self.objective.loss(self.student.log_probs_at(parameters, meta.x), meta)
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
        self.state.close_epoch(self.fabric, self.config.tolerance)
        self._settled = None
        if self.teaches(context):
            self.meta.choose_again(self.fabric, self._noisy_losses)
        return self.data.noisy_rows

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        # row numbers are drawn on the CPU; the loop has seeded the global generator for this step
        self.random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        metrics = self.method.rule.step(self, rows, context)
        if self.teaches(context):
            self.state.add(metrics["upper"])
        return metrics

    def evaluate(self, epoch: int) -> dict[str, float]:
        """The upper loss on the meta set, by which snapshots are chosen; how far the teacher is."""
        self.student.net.eval()
        every = self.meta.draw(self.config.meta_rows, torch.Generator().manual_seed(0))
        batch = self.data.batch(every, None)
        score = float(self.objective.loss(self._logits(batch.x), batch))
        if epoch:
            self.snapshots.offer(self.student.net, score)
        found = {"upper_loss": score}
        if self.teacher_parameters:
            found["teacher_moved"] = self.state.moved(self.teacher)
        return found

    @torch.no_grad()
    def _logits(self, x: Tensor) -> Tensor:
        with self.fabric.autocast():
            return torch.cat([self.student.net(part).float() for part in x.split(_LOOK_ROWS)])

    @torch.no_grad()
    def _noisy_losses(self) -> NDArray[np.float32]:
        """Cross-entropy of each noisy row to its given label."""
        self.student.net.eval()
        losses = []
        for rows in self.data.noisy_rows.split(_LOOK_ROWS):
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

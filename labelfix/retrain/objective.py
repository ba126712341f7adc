"""An upper loss for the rows of a retraining, as the bilevel methods have it."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labelfix.equations.weight_vectors import Direction
from labelfix.errors import InputError
from labelfix.features.standardise import Matrix
from labelfix.nets.classifiers import evaluating
from labelfix.nets.datasets import FeatureSource
from labelfix.predictors.bilevel.meta_state import MetaRows
from labelfix.predictors.bilevel.rows_in_view import Batch
from labelfix.predictors.bilevel.student import Student
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig
from labelfix.retrain.noise_split import losses_on
from labelfix.retrain.problem import Problem


class ProblemRows:
    """The rows of a problem as upper losses ask for them.

    Attributes:
        visible_rows, clean_rows, noisy_rows, noisy_labels, classes: see
            :class:`labelfix.predictors.bilevel.rows_in_view.RowsInView`.
    """

    def __init__(self, problem: Problem, device: torch.device) -> None:
        targets = problem.targets
        codes = targets.codes.astype(np.int64)
        self.source = problem.source.to(device)
        self.visible_rows, self.clean_rows = problem.usable, problem.clean_rows
        self.noisy_rows = problem.labelled
        self.classes = targets.soft_labels.shape[1]
        self.noisy_labels = codes[self.noisy_rows.numpy()]
        self.labels_N = torch.from_numpy(codes).to(device)

    @property
    def features(self) -> Matrix:
        """``(N, D)``, of datasets of features.

        Raises:
            InputError: the rows are images.
        """
        if not isinstance(self.source, FeatureSource):
            raise InputError(
                "the images have no features to find neighbours by",
                hint="--set upper_loss=clid measures the same without",
            )
        return self.source.features

    def batch(self, rows: Tensor, net: nn.Module) -> Batch:
        """Rows by number (int64, CPU) as they are; the structure is what the net makes of them."""
        x = self.source.test_batch(rows)
        with evaluating(net):
            structure_BD = net.structure(x)  # type: ignore[operator]
        labels_B = self.labels_N[rows.to(self.labels_N.device)]
        return Batch(x=x, features=structure_BD, labels=labels_B, given=labels_B)


class RetrainObjective(nn.Module):
    """An upper loss on a problem's rows, BatchNorm and dropout frozen (HRP, Eq. 3).

    Args:
        fabric: of the worker process.
        problem: whose usable rows may be looked at.
        upper_loss: by name.
        batch: rows a measurement.
        config: how its rows are found.
    """

    def __init__(
        self,
        fabric: Fabric,
        problem: Problem,
        upper_loss: str,
        batch: int,
        config: ObjectiveConfig,
    ) -> None:
        super().__init__()
        self.fabric, self.problem, self.batch = fabric, problem, batch
        self.view = ProblemRows(problem, fabric.device)
        self.meta = MetaRows(UPPER_LOSSES[upper_loss].build(self.view, config), len(problem.source))

    def begin_epoch(self, net: nn.Module) -> None:
        """Other rows, where the upper loss wants that, by a net's losses."""
        self.meta.choose_again(self.fabric, lambda: losses_on(net, self.problem))

    def gradient(
        self, student: Student, parameters: Direction, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The upper loss at some weights of the student, and its gradient for them."""
        rows = self.meta.draw(self.batch, generator, again=True)
        batch = self.view.batch(rows, student.net)
        with evaluating(student.net), torch.enable_grad():
            loss = self.meta.objective.loss(student.logits_at(parameters, batch.x), batch)
            return loss.detach(), student.gradient_at(parameters, loss)

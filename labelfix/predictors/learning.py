"""What every predictor is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.annotations import Annotations
from labelfix.features.neighbours import Neighbours
from labelfix.features.standardise import Design, Matrix
from labelfix.training.config import LoopConfig
from labelfix.training.devices import algebra_device
from labelfix.training.diagnostics import TrainingLog
from labelfix.training.progress import SILENT, Reporter

TEACHER = "-teacher"  # ends the name of the labels that a method's teacher corrected

Logs = NDArray[np.float32]  # log-probabilities, (N, K)


@dataclass(frozen=True, kw_only=True)
class RowImages:
    """The rows' images, for methods that train on them.

    Attributes:
        pixels: ``(N, H, W, 3)`` uint8, array or memory map.
        backbone: name of the net that embedded them.
        weights: where its weights start, as ``backbones.build`` takes them.
    """

    pixels: NDArray[np.uint8]
    backbone: str
    weights: str


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What a predictor learns from, and how.

    Attributes:
        features: ``(N, D)``, array or memory map, or their design.
        graph: the rows' nearest neighbours.
        annotations: their labels and folds.
        images: where students train on the images themselves, else None.
        upper_loss: what steers the methods that can be steered; "auto" = each method's own.
        loop: seed, devices and precision of trainings.
        report: where progress goes.
        scratch: a folder for checkpoints, from which an interrupted run goes on.
    """

    features: Matrix | Design
    graph: Neighbours
    annotations: Annotations
    images: RowImages | None = None
    upper_loss: str = "auto"
    loop: LoopConfig
    report: Reporter = SILENT
    scratch: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where closed forms are computed."""
        return algebra_device(self.loop.device)

    @cached_property
    def design(self) -> Design:
        """The scaled features, measured once for all that follows."""
        return Design.of(self.features, self.device)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a method predicts, out of fold.

    Attributes:
        log_probabilities: log p(y|x) by name, ``(N, K)`` float32 each. Under a name that ends in
            ``-teacher``: the log of labels that a teacher corrected, which saw the given ones.
        auxiliary: further predictions that are pooled with each of them: the neighbours' votes, a
            kernel classifier and so on.
        training_log: of those that have one, by the same names.
    """

    log_probabilities: dict[str, Logs]
    auxiliary: list[Logs]
    training_log: dict[str, TrainingLog] = field(default_factory=dict)

    @property
    def candidates(self) -> dict[str, list[Logs]]:
        """What is decided by: each prediction with the auxiliary ones beside it."""
        return {name: [logs, *self.auxiliary] for name, logs in self.log_probabilities.items()}

    def of_student(self, name: str) -> Logs:
        """The prediction that saw no label of the row: a teacher's student, else itself."""
        return self.log_probabilities[name.removesuffix(TEACHER)]

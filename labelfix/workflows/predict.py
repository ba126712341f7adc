"""Stage purify: the method's out-of-fold predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from labelfix.features.neighbours import Neighbours
from labelfix.predictors import registry
from labelfix.predictors.learning import Learning, Predictions
from labelfix.training.devices import algebra_device, pick_device
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.samples import LearningRows
from labelfix.workflows.settings import PurifyConfig


def predict(
    rows: LearningRows,
    graph: Neighbours,
    config: PurifyConfig,
    report: Reporter = SILENT,
    *,
    scratch: Path | None = None,
) -> Predictions:
    """Run the method that the settings name.

    Args:
        rows: what to learn from.
        graph: their nearest neighbours.
        config: settings.
        report: where progress goes.
        scratch: a folder for checkpoints, from which an interrupted run goes on.

    Raises:
        InputError: the method needs checked rows that are not there.
        DegenerateLearningError: nothing usable was learned.
    """
    learning = Learning(
        features=rows.design(algebra_device(config.device)),
        graph=graph,
        annotations=rows.annotations,
        images=rows.images if learns_from_images(config) else None,
        upper_loss=config.upper_loss,
        loop=replace(config.loop, seed=config.seed),
        report=report,
        scratch=scratch,
    )
    return registry.run_method(config.method, learning)


def learns_from_images(config: PurifyConfig) -> bool:
    """Whether students see images rather than frozen features; by itself, where a GPU is."""
    if config.learn_from != "auto":
        return config.learn_from == "images"
    return pick_device(config.device).type == "cuda"

"""CLID-MU as a method of ``purify``: a weight net steered by the data's structure, no clean row.

Hu et al., CLID-MU (KDD 2025), on frozen features: a head learns from the given labels, each row
weighed by a small net that sees its loss; the net follows the gradient of CLID, which compares the
head's predictions with the features' own graph and reads no label. Five models stand side by side,
each blind to one fold's labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.methods.correctors import OutOfFold
from labelfix.methods.design import Design, Matrix
from labelfix.methods.reweighting import CLID, CLIDConfig

__all__ = ["CLID", "CLIDConfig", "OutOfFold", "purify"]

DEFAULTS = CLIDConfig()


def purify(
    features: Matrix,
    given: NDArray[np.int32],
    folds: NDArray[np.int8],
    classes: int,
    *,
    config: CLIDConfig = DEFAULTS,
    device: torch.device | str = "cpu",
    seed: int = 0,
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> OutOfFold:
    """Run CLID-MU on frozen features.

    Args:
        features: ``(N, D)``, finite, may be memory-mapped.
        given: ``(N,)`` class codes, -1 = no label; a checked row's right label serves better.
        folds: ``(N,)`` from :func:`labelfix.methods.folds.assign`.
        classes: K.
        config: settings.
        device: of the computation.
        seed: of every draw.
        on_pass: called with (candidates done, candidates in all).

    Raises:
        DegenerateLearningError: NaN, or a weight net that CLID never moved.
    """
    learner = CLID(Design.of(features, device), given, folds, classes, config, seed)
    batches = learner.batches()
    for done in range(1, config.candidates + 1):
        while learner.steps < done * learner.total // config.candidates:
            learner.step(next(batches))
        learner.snapshot()
        on_pass(done, config.candidates)
    return learner.result()

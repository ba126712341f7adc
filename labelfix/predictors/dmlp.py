"""DMLP as a method of ``purify``: IPC and EAC in every fold at once, in one read of the features.

Tu et al., CVPR 2023. Each fold's model trains on the other folds' rows; the models stand side by
side in one batch of thin products, so cross-fitting costs no extra read of the features. Models
that hide two folds at once give targets that a further learner may use (:func:`nested`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from labelfix.annotations import Annotations
from labelfix.features.standardise import Design, Matrix
from labelfix.predictors.dmlp_passes import DMLP, DMLPConfig, OutOfFold

__all__ = ["DMLP", "DMLPConfig", "OutOfFold", "nested", "out_of_fold"]

DEFAULTS = DMLPConfig()


def out_of_fold(
    features: Matrix | Design,
    annotations: Annotations,
    *,
    config: DMLPConfig = DEFAULTS,
    device: torch.device | str = "cpu",
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> OutOfFold:
    """Run DMLP on frozen features.

    Args:
        features: ``(N, D)``, finite, may be memory-mapped.
        annotations: the rows' labels; every class is verified outside each fold.
        config: settings.
        device: of the computation.
        on_pass: called with (passes done, passes in all).

    Raises:
        DegenerateLearningError: NaN.
    """
    hides_MG = torch.eye(len(annotations.fold_numbers))
    passes = DMLP(Design.of(features, device), annotations, hides_MG, config)
    passes.run(on_pass)
    return passes.result()


def nested(
    features: Matrix | Design,
    annotations: Annotations,
    chosen: Sequence[int],
    *,
    config: DMLPConfig = DEFAULTS,
    device: torch.device | str = "cpu",
    on_pass: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Predictions that a learner which must not see a fold may train on.

    Entry ``[g, i]`` comes from a model that saw neither row i's fold nor fold g; for g = row i's
    own fold it is meaningless (uniform).

    Args:
        features, annotations, config, device, on_pass: as :func:`out_of_fold`.
        chosen: the snapshot of each fold, as :func:`out_of_fold` chose.

    Returns:
        ``(G, N, K)`` float32 log-probabilities.
    """
    count = len(annotations.fold_numbers)
    pairs = list(combinations(range(count), 2))
    hides_MG = torch.zeros(len(pairs), count)
    for model, pair in enumerate(pairs):
        hides_MG[model, list(pair)] = 1
    passes = DMLP(Design.of(features, device), annotations, hides_MG, config)
    passes.run(on_pass, snapshots=max(chosen) + 1)
    shape = (count, len(annotations), annotations.classes)
    logs_GNK = np.full(shape, -math.log(annotations.classes), dtype=np.float32)
    for model, (a, b) in enumerate(pairs):
        for unseen, own in ((a, b), (b, a)):
            rows = np.flatnonzero(annotations.folds == own)
            logs_GNK[unseen, rows] = passes.predict(rows, model, chosen[unseen])
    return logs_GNK

"""Calibration: the temperature (Guo et al. 2017) and the calibration error (Naeini et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor


def fit_temperature(
    logits_NK: Tensor, labels_N: Tensor, *, low: float = 0.05, high: float = 20.0
) -> float:
    """The temperature in ``[low, high]`` of least log loss, by golden-section search on its log.

    Args:
        logits_NK: ``(N, K)`` logits or log-probabilities of rows that the model did not train on.
        labels_N: ``(N,)`` right classes.

    The log loss is convex in the inverse temperature, so the search cannot miss.
    """
    logits_NK = logits_NK.double()

    def loss(log_t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits_NK / 2.0**log_t, labels_N))

    a, b = torch.tensor([low, high]).log2().tolist()
    golden = (5**0.5 - 1) / 2
    while b - a > 1e-3:
        c, d = b - golden * (b - a), a + golden * (b - a)
        a, b = (a, d) if loss(c) < loss(d) else (c, b)
    return 2.0 ** ((a + b) / 2)


def expected_calibration_error(confidence_N: Tensor, right_N: Tensor, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over ``bins`` bins of equal count; in [0, 1].

    Args:
        confidence_N: ``(N,)`` probability that was given to the predicted label, in [0, 1].
        right_N: ``(N,)`` whether the predicted label was right.

    Equal counts rather than equal widths: empty and nearly empty bins would make the figure jump.
    """
    if not len(confidence_N):
        return float("nan")
    order = confidence_N.double().argsort(stable=True)
    confidence, right = confidence_N.double()[order], right_N.double()[order]
    gaps = [
        len(c) * (c.mean() - r.mean()).abs()
        for c, r in zip(
            confidence.tensor_split(min(bins, len(order))),
            right.tensor_split(min(bins, len(order))),
            strict=True,
        )
    ]
    return float(torch.stack(gaps).sum() / len(order))

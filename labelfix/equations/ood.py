"""How far a row lies from what a net was trained on: MSP and energy.

MSP: Hendrycks and Gimpel, ICLR 2017; energy: Liu et al., NeurIPS 2020. High = in distribution.
"""

from __future__ import annotations

from torch import Tensor


def msp_score(logits_BK: Tensor) -> Tensor:
    """The largest softmax probability, ``(B,)`` in [1/K, 1]."""
    return logits_BK.softmax(-1).amax(-1)


def energy_score(logits_BK: Tensor) -> Tensor:
    """Minus the energy at temperature 1 (Liu et al., Eq. 4): ``log sum_k exp z_k``, ``(B,)``."""
    return logits_BK.logsumexp(-1)

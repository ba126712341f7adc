"""Arithmetic on directions in weight space: one tensor for each parameter, by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Direction = Mapping[str, Tensor]


def inner(left: Direction, right: Direction) -> Tensor:
    """``<left, right>`` over the parameters of ``left``, a scalar.

    Raises:
        KeyError: ``right`` lacks one of them.
    """
    if not left:
        return torch.zeros(())
    products = [torch.sum(value * right[name]) for name, value in left.items()]
    return torch.stack(products).sum()


def combine(left: Direction, factor: Tensor | float, right: Direction) -> dict[str, Tensor]:
    """``left + factor right``, by the names of ``left``."""
    return {name: value + factor * right[name] for name, value in left.items()}

"""The next step of a ``torch.optim`` optimizer, taken on the side, and its transposed slope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from labelfix.equations import virtual_step as eq
from labelfix.equations.directions import Direction

Slopes = dict[str, Tensor | float]


@torch.no_grad()
def look_ahead(
    optimizer: Optimizer,
    parameters: Mapping[str, Tensor],
    gradient: Direction,
    start: Direction | None = None,
) -> tuple[dict[str, Tensor], Slopes]:
    """Where ``optimizer.step()`` would take the parameters; nothing of the optimizer moves.

    Args:
        optimizer: SGD, Adam or AdamW, without ``amsgrad`` and ``maximize``.
        parameters: by name, all of them the optimizer's.
        gradient: by the same names.
        start: values to step from in the parameters' place, by the same names.

    Returns:
        the stepped parameters as new leaves that ask for gradients; and of each ``dS/dg``, by which
        an upper gradient is multiplied to reach the step's own gradient.

    Raises:
        TypeError: another optimizer.
    """
    groups = {part: group for group in optimizer.param_groups for part in group["params"]}
    steps = {
        name: _step(optimizer, groups[part], part, (start or parameters)[name], gradient[name])
        for name, part in parameters.items()
    }
    ahead = {name: step.value.requires_grad_() for name, step in steps.items()}
    return ahead, {name: step.slope for name, step in steps.items()}


def _step(
    optimizer: Optimizer, group: dict[str, Any], part: Tensor, value: Tensor, gradient: Tensor
) -> eq.Step:
    if group.get("amsgrad") or group.get("maximize"):
        raise TypeError("no virtual step for amsgrad or maximize")
    state = optimizer.state.get(part, {})
    common = {name: group[name] for name in ("lr", "weight_decay")}
    if isinstance(optimizer, SGD):
        names = ("momentum", "dampening", "nesterov")
        settings = common | {name: group[name] for name in names}
        return eq.sgd(value, gradient, state.get("momentum_buffer"), **settings)
    if isinstance(optimizer, Adam | AdamW):
        return eq.adam(
            value,
            gradient,
            state.get("exp_avg"),
            state.get("exp_avg_sq"),
            float(state.get("step", 0)),  # on the CPU unless fused or capturable
            betas=group["betas"],
            eps=group["eps"],
            decoupled=isinstance(optimizer, AdamW) or group.get("decoupled_weight_decay", False),
            **common,
        )
    raise TypeError(f"no virtual step for {type(optimizer).__name__}")


def pull_back(slopes: Slopes, direction: Direction) -> dict[str, Tensor]:
    """``(dS/dg)^T direction``."""
    return {name: slope * direction[name] for name, slope in slopes.items()}

"""A student under bilevel training: its net, its optimizer, and what a meta step asks of them.

Several processes: each sees its own rows; every gradient is averaged over the processes before it
is used, so that weights and directions are the same everywhere, and the tangent stays local.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Adam, AdamW, Optimizer

from labelfix.equations import virtual_step as eq
from labelfix.equations.forward_cache import Remembering
from labelfix.equations.tangents import compiled_log_prob_tangent, log_prob_tangent, wide
from labelfix.equations.weight_vectors import Direction


class Student:
    """Gradients, virtual steps and tangents of a net that is trained by ``optimizer``.

    The net stays in the mode it is in. Only :meth:`log_probs` moves its running statistics, and
    only :meth:`step` its weights.

    Args:
        fabric: of the worker process.
        net: the plain classifier.
        optimizer: the plain optimizer.
        compiled: whether the tangent runs under ``torch.compile``.
        precise: whether all is computed in float32, whatever precision the training has.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        optimizer: Optimizer,
        *,
        compiled: bool = False,
        precise: bool = False,
    ) -> None:
        self.fabric, self.net, self.optimizer = fabric, net, optimizer
        self._autocast = nullcontext if precise else fabric.autocast
        self._compiled = compiled_log_prob_tangent(net) if compiled else None
        self._random_state: list[Tensor] = []
        self._outputs: list[Tensor] = []

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """Those that learn, by name; first asked for when the net is on its device."""
        return {name: part for name, part in self.net.named_parameters() if part.requires_grad}

    def log_probs(self, x: Tensor, *, remember: bool = False) -> Tensor:
        """Log-probabilities ``(B, K)`` of a batch, with their graph.

        With ``remember`` a :meth:`tangent` of the batch, before the next step, costs a third less.
        """
        self._random_state = _random_state(x.device)
        memory = Remembering()
        with self._autocast(), memory if remember else nullcontext():
            logits_BK = self.net(x)
        self._outputs = memory.outputs
        return wide(logits_BK).log_softmax(1)

    def look(self, x: Tensor) -> Tensor:
        """The same, but neither the running statistics nor torch's generators move.

        For a step that is taken elsewhere: it then sees the dropout masks that this saw.
        """
        self._random_state, self._outputs = _random_state(x.device), []
        with _Replay(self._random_state, x.device):
            return self.log_probs_at(self.parameters, x)

    def logits_at(self, parameters: Direction, x: Tensor) -> Tensor:
        """Logits ``(B, K)`` at other weights; the running statistics stay."""
        buffers = {name: value.detach().clone() for name, value in self.net.named_buffers()}
        with self._autocast():
            return wide(functional_call(self.net, {**parameters, **buffers}, (x,)))

    def log_probs_at(self, parameters: Direction, x: Tensor) -> Tensor:
        """Log-probabilities likewise."""
        return self.logits_at(parameters, x).log_softmax(1)

    def replayed(self, parameters: Direction, x: Tensor) -> Tensor:
        """:meth:`log_probs_at` without a graph, under the dropout masks of the last batch."""
        with torch.no_grad(), _Replay(self._random_state, x.device):
            return self.log_probs_at(parameters, x)

    def gradient(self, loss: Tensor, *, keep_graph: bool = False) -> dict[str, Tensor]:
        """Gradient of a loss for the weights, averaged over the processes."""
        return self.gradient_at(self.parameters, loss, keep_graph=keep_graph)

    def gradient_at(
        self, parameters: Direction, loss: Tensor, *, keep_graph: bool = False
    ) -> dict[str, Tensor]:
        """The same for other weights."""
        found = torch.autograd.grad(
            loss, list(parameters.values()), retain_graph=keep_graph, materialize_grads=True
        )
        return dict(zip(parameters, average(self.fabric, found), strict=True))

    def ahead(
        self, gradient: Direction, start: Direction | None = None
    ) -> tuple[dict[str, Tensor], Callable[[Direction], Direction]]:
        """The weights after the optimizer's step along ``gradient``, and its transposed slope.

        From the weights as they are, or from others.
        """
        ahead, slopes = look_ahead(self.optimizer, self.parameters, gradient, start)
        return ahead, lambda direction: pull_back(slopes, direction)

    def moment(self) -> Moment:
        """What a later :meth:`tangent` of the last batch needs: the weights as they are now."""
        weights = {name: part.detach().clone() for name, part in self.parameters.items()}
        return Moment(weights=weights, random_state=self._random_state)

    def tangent(self, x: Tensor, direction: Direction, moment: Moment | None = None) -> Tensor:
        """Derivative of a batch's log-probabilities along a direction, ``(B, K)``.

        In the net's mode, and under the dropout masks of that batch: the last one, or the one that
        ``moment`` was taken after.
        """
        return self.log_probs_and_tangent(x, direction, moment)[1]

    def log_probs_and_tangent(
        self, x: Tensor, direction: Direction, moment: Moment | None = None
    ) -> tuple[Tensor, Tensor]:
        """Both, ``(B, K)`` each; see :meth:`tangent`."""
        state = self._random_state if moment is None else moment.random_state
        outputs = self._outputs if moment is None else []
        point = {} if moment is None else moment.weights
        with (
            _Replay(state, x.device),
            sdpa_kernel(SDPBackend.MATH),  # fused attention has no forward mode
            self._autocast(),
        ):
            buffers = dict(self.net.named_buffers())
            if self._compiled is not None and not torch.is_autocast_enabled(x.device.type):
                here = point or self.parameters
                return self._compiled(here, buffers, x, direction, outputs)
            return log_prob_tangent(self.net, point, buffers, x, direction, outputs=outputs)

    def step(self, gradient: Direction) -> None:
        """The real step."""
        self._outputs = []
        for name, part in self.parameters.items():
            part.grad = gradient[name]
        self.optimizer.step()
        self.optimizer.zero_grad()

    def rate(self) -> float:
        """The learning rate now."""
        return float(self.optimizer.param_groups[0]["lr"])


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A student's weights, and torch's random state before the batch that was seen with them."""

    weights: dict[str, Tensor]
    random_state: list[Tensor]


class _Replay:
    """Sets torch's global generators as they were before the last batch, and back again."""

    def __init__(self, state: list[Tensor], device: torch.device) -> None:
        self.state, self.device = state, device

    def __enter__(self) -> None:
        self.now = _random_state(self.device)
        if self.state:
            _set_random_state(self.state, self.device)

    def __exit__(self, *_: object) -> None:
        _set_random_state(self.now, self.device)


def _random_state(device: torch.device) -> list[Tensor]:
    on_device = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_device]


def _set_random_state(state: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


def average(fabric: Fabric, parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """The mean of each tensor over the processes, in one exchange."""
    if fabric.world_size == 1:
        return parts
    flat = fabric.all_reduce(torch.cat([part.flatten() for part in parts]), reduce_op="mean")
    assert isinstance(flat, Tensor)
    pieces = flat.split([part.numel() for part in parts])
    return [piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)]


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

"""The tangent of log-probabilities: the one primitive of all bilevel methods.

An upper loss moves the weights along its gradient; how much that moves a row's own loss is one
directional derivative. For any soft target q of row i, with ``t_i`` the tangent of its
log-probabilities in direction g, ``<grad_w CE(q, p(.|x_i)), g> = -q . t_i``: one forward-mode pass
serves every row, every candidate label and every method.

Shape suffixes: B rows of the batch, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call

from labelfix.equations.forward_cache import Recalling


def log_prob_tangent(
    model: torch.nn.Module,
    params: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    x: Tensor,
    direction: Mapping[str, Tensor],
    *,
    outputs: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of a batch and their derivative along a direction in weight space.

    One forward-mode Jacobian-vector product, about three forward passes, two with ``outputs``; no
    graph is kept.

    Args:
        model: maps ``x`` to logits ``(B, K)``. Its mode counts: in training mode BatchNorm couples
            the rows, and the derivative of that coupled forward is what is returned. Use the mode
            (and batch) of the step whose effect is asked for; the two differ by about 100 %.
        params: the point, by name as in ``named_parameters``; names left out stay the model's own.
        buffers: by name, as in ``named_buffers``; they are copied, so running statistics do not
            move.
        x: the batch.
        direction: the direction g, by name; a parameter left out does not move.
        outputs: of :class:`labelfix.equations.forward_cache.Remembering`, where the same net in the
            same mode has just seen the same batch at the same point.

    Returns:
        log-probabilities and tangent, ``(B, K)`` each, detached, float32 at least. With p the
        probabilities, ``(p * tangent).sum(1) == 0``.

    Dropout in training mode draws a mask from the global generator: seed it as the inner step had
    it (``torch.random.fork_rng``), or the tangent belongs to another network. Fused attention has
    no forward mode: call inside ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)``. Works under
    autocast, where ``torch.func.jvp`` does not.

    Raises:
        KeyError: the direction names a parameter that the model lacks.
    """
    own = dict(model.named_parameters())
    _load_forward_rules()
    unknown = sorted(set(direction) - set(own))
    if unknown:
        raise KeyError(f"the model has no parameter {unknown[0]!r}")
    with torch.no_grad(), forward_ad.dual_level():
        point = {name: value.detach() for name, value in (own | dict(params)).items()}
        duals = {
            name: forward_ad.make_dual(point[name], tangent.detach())
            for name, tangent in direction.items()
        }
        copies = {name: value.detach().clone() for name, value in buffers.items()}
        with Recalling(outputs) if outputs else nullcontext():
            logits_BK = functional_call(model, {**point, **duals, **copies}, (x,))
        dual_BK = torch.log_softmax(wide(logits_BK), dim=-1)
        log_probs_BK, tangent_BK = forward_ad.unpack_dual(dual_BK)
        if tangent_BK is None:  # nothing that moves reaches the logits
            tangent_BK = torch.zeros_like(log_probs_BK)
        return log_probs_BK.clone(), tangent_BK.clone()


class Tangent(Protocol):
    """:func:`log_prob_tangent` of one model."""

    def __call__(
        self,
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        direction: Mapping[str, Tensor],
        outputs: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]: ...


def compiled_log_prob_tangent(
    model: torch.nn.Module, *, tolerance: float = 1e-2, backend: str = "inductor"
) -> Tangent:
    """:func:`log_prob_tangent` of one model under ``torch.compile``.

    The first call compiles (tens of seconds) and compares with the eager value, for compilers were
    seen to drop forward-mode rules. It takes the model's mode of that moment. A batch of another
    shape compiles anew; a model that draws (dropout) does not draw what the eager one does.

    Args:
        model: as for :func:`log_prob_tangent`; ``params`` and ``direction`` name all of its
            parameters.
        tolerance: relative difference from the eager tangent that is taken for rounding.
        backend: of ``torch.compile``.

    Raises:
        RuntimeError: at the first call, where the compiled tangent is another one.
    """

    def tangent(
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        direction: Mapping[str, Tensor],
        outputs: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        def log_probs(point: Mapping[str, Tensor]) -> Tensor:
            copies = {name: value.clone() for name, value in buffers.items()}
            with Recalling(outputs) if outputs else nullcontext():
                logits_BK = functional_call(model, {**point, **copies}, (x,))
            return torch.log_softmax(wide(logits_BK), -1)

        value_BK, tangent_BK, *_ = torch.func.jvp(log_probs, (params,), (direction,))
        return value_BK, tangent_BK

    compiled, checked = torch.compile(tangent, backend=backend), False

    def call(
        params: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        x: Tensor,
        direction: Mapping[str, Tensor],
        outputs: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]:
        nonlocal checked
        point = {name: value.detach() for name, value in params.items()}
        with torch.no_grad():
            found = compiled(point, dict(buffers), x, dict(direction), list(outputs))
        if not checked:
            _, eager = log_prob_tangent(model, point, buffers, x, direction)
            apart = float((found[1] - eager).norm() / eager.norm().clamp_min(1e-30))
            if not apart <= tolerance:
                raise RuntimeError(
                    f"the compiled tangent differs from the eager one by {apart:.1e}"
                )
            checked = True
        return found

    return call


def wide(logits_BK: Tensor) -> Tensor:
    """float32 at least: a tangent in bfloat16 would lose what little of it differs by class."""
    return logits_BK.to(torch.promote_types(logits_BK.dtype, torch.float32))


@cache
def _load_forward_rules() -> None:
    """Let torch load its forward rules, once: in some versions that warns of torch.jit."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore")
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))

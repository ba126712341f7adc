"""Outputs of a net's linear maps, remembered for a tangent at the same point.

The derivative of ``y = W x + b`` is ``W x' + W' x + b'``; y itself is only passed on. A forward
pass of the same batch at the same weights has just had it, and with it a tangent's pass costs two
of three products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode

LINEAR_MAPS = {F.linear, F.conv1d, F.conv2d, F.conv3d}  # of (x, weight, bias, settings)


class _OnLinearMaps(TorchFunctionMode):
    """A context in which :meth:`linear_map` stands in for each of them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        return self.linear_map(func, args, kwargs) if func in LINEAR_MAPS else func(*args, **kwargs)

    def linear_map(
        self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        raise NotImplementedError


class Remembering(_OnLinearMaps):
    """A context that keeps what linear maps give, in order.

    Attributes:
        outputs: detached; the graph of a backward pass holds most of them anyway.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def linear_map(
        self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        found = func(*args, **kwargs)
        self.outputs.append(found.detach())
        return found


class Recalling(_OnLinearMaps):
    """A context in which linear maps of dual tensors take their values from a forward pass.

    Args:
        outputs: of :class:`Remembering`, from the same net, mode, batch and weights.

    Raises:
        RuntimeError: the net asks for more maps, or for others.
    """

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.outputs = iter(outputs)

    def linear_map(
        self, func: Callable[..., Tensor], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Tensor:
        value = next(self.outputs, None)
        if len(args) < 3:  # named arguments: rare, so plainly
            return func(*args, **kwargs)
        (x, x_dot), (weight, weight_dot), (_, bias_dot) = map(_unpacked, args[:3])
        if bias_dot is not None and weight_dot is None:  # a bias moves alone: rare, so plainly
            return func(*args, **kwargs)
        parts = []
        if x_dot is not None:
            parts.append(func(x_dot, weight, None, *args[3:], **kwargs))
        if weight_dot is not None:
            parts.append(func(x, weight_dot, bias_dot, *args[3:], **kwargs))
        if value is None or any(part.shape != value.shape for part in parts):
            raise RuntimeError("the net does not run as it did when its outputs were remembered")
        return forward_ad.make_dual(value, reduce(torch.add, parts)) if parts else value


def _unpacked(value: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    if value is None:
        return None, None
    return forward_ad.unpack_dual(value)

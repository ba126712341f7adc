"""The one scaling of features, over all rows, and the matrix of scaled rows that methods read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Matrix(Protocol):
    """Rows on disk or in memory: an array, a memory map, or two of them :class:`Stacked`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any) -> Any: ...  # noqa: ANN401


BLOCK_ROWS = 8192
SCALE_RANGE = 4.0
HELD_BYTES = 2**29  # above this, float16 features are widened a block at a time


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Where the columns of a feature matrix lie and how far they spread, over all its rows.

    Every method scales features by these figures. They use no label, so they cannot leak one.

    Attributes:
        mean_D: ``(D,)`` float64.
        std_D: ``(D,)`` float64 >= 0; 0 = the column is constant, but for the rounding of float32.
    """

    mean_D: Tensor
    std_D: Tensor

    @classmethod
    def of(cls, features: Matrix) -> Scaling:
        """Measure ``(N, D)`` finite features, N >= 1, in one pass of float64 sums over blocks."""
        count, total, square = 0, torch.zeros(()), torch.zeros(())
        shift = torch.from_numpy(np.array(features[:1])).double()  # keeps the one-pass sum stable
        for rows in _parts(features.shape[0]):
            block = torch.from_numpy(np.array(features[rows])).double() - shift
            count += len(block)
            total = total + block.sum(0)
            square = square + block.square().sum(0)
        mean_D = total / count
        std_D = (square / count - mean_D.square()).clamp_min(0).sqrt()
        mean_D = shift[0] + mean_D
        return cls(mean_D=mean_D, std_D=std_D * (std_D > CONSTANT * mean_D.abs()))

    def inverse(self, unit: float = 1.0) -> Tensor:
        """``(D,)`` float64: what makes a centred column's spread 1 / ``unit``; 0 if constant."""
        return torch.where(self.std_D > 0, 1 / (self.std_D.clamp_min(1e-30) * unit), 0.0)


_NOWHERE = torch.device("meta")
CONSTANT = 1e-6  # a smaller spread, in units of the mean, is what rounding leaves of a constant


def _parts(rows: int) -> Iterator[slice]:
    """Blocks of rows, in order."""
    for start in range(0, rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))


@dataclass(frozen=True, kw_only=True)
class Design:
    """Rows ``[(f - mean) / (std sqrt(D)), 1]``, float32, so that a row's squared norm is about 2.

    The matrix is never held whole unless it is small or the device is a GPU with room:
    memory-mapped features stay on disk. A pickled design keeps the scaling and lies nowhere:
    :meth:`of` places it.

    Attributes:
        source: ``(N, D)`` NumPy array or memory map.
        scaling: of its columns; a constant one drops out.
        device: where blocks are delivered.
        held: the whole design on the device, where it fits.
    """

    source: Matrix
    scaling: Scaling
    device: torch.device
    held: Tensor | None = None

    @classmethod
    def of(
        cls,
        features: Matrix | Design,
        device: torch.device | str | None = None,
    ) -> Design:
        """The design of ``(N, D)`` finite features on a device.

        Args:
            features: they are measured; a design is not measured again, and stays itself where it
                lies on this device.
            device: None = where a design lies, the CPU for features.
        """
        if isinstance(features, Design):
            there = features.device if device is None else _exactly(device)
            return features if there == features.device else features._on(there)
        scaling = Scaling.of(features)
        return cls(source=features, scaling=scaling, device=_NOWHERE)._on(_exactly(device or "cpu"))

    def _on(self, device: torch.device) -> Design:
        """The same on another device, held there if it fits."""
        design = replace(self, device=device, held=None)
        if not fits(design.shape, device):
            return design
        whole = torch.empty(design.shape, device=device)
        for rows, block_BD in design.blocks():
            whole[rows] = block_BD
        return replace(design, held=whole)

    def __getstate__(self) -> dict[str, object]:
        return {"source": self.source, "scaling": self.scaling, "device": _NOWHERE, "held": None}

    @cached_property
    def mean(self) -> Tensor:
        """The columns' means, ``(D,)`` float32 on the device."""
        return self.scaling.mean_D.float().to(self.device)

    @cached_property
    def scale(self) -> Tensor:
        """``1 / (std sqrt(D))``, ``(D,)`` float32 on the device."""
        return self.scaling.inverse(self.source.shape[1] ** 0.5).float().to(self.device)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and columns with the constant."""
        return self.source.shape[0], self.source.shape[1] + 1

    def parts(self) -> Iterator[slice]:
        """The rows of each block, in order."""
        return _parts(self.shape[0])

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """The design as ``(rows, block)`` in order; a block is ``(B, D + 1)`` float32."""
        for rows in self.parts():
            yield rows, self.take(rows)

    def take(self, rows: slice | np.ndarray) -> Tensor:
        """Some rows of the design, ``(B, D + 1)``."""
        if self.held is not None:
            index = rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device)
            return self.held[index]
        raw = torch.from_numpy(np.array(self.source[rows])).to(self.device)
        block = (raw.float() - self.mean) * self.scale
        return torch.nn.functional.pad(block, (0, 1), value=1.0)

    def net_rows(self, rows: slice | np.ndarray) -> Tensor:
        """Some rows as a net takes them, ``(B, D + 1)``; see :attr:`net_scale`."""
        return self.take(rows) * self.net_scale

    @cached_property
    def net_scale(self) -> Tensor:
        """What a net's input multiplies the design's columns with, ``(D + 1,)``.

        An embedding's columns are in one unit, and its strong directions carry more of the classes
        than its weak ones: they keep their relative size, within a factor of ``SCALE_RANGE`` of
        the median each way, so that columns in other units do not drown the rest. The constant
        drops out (nets have biases); the mean square of a row's entries is 1.
        """
        inverse_D = self.scale.cpu().double()
        varies_D = inverse_D > 0
        std_D = torch.where(varies_D, 1 / inverse_D.clamp_min(1e-300), 0.0)
        if not varies_D.any():
            return torch.zeros(self.shape[1], device=self.device)
        relative_D = std_D / std_D[varies_D].median()
        relative_D = relative_D.clamp(1 / SCALE_RANGE, SCALE_RANGE) * varies_D
        scale_D = relative_D * (len(std_D) / relative_D.square().mean()) ** 0.5
        return torch.nn.functional.pad(scale_D.float(), (0, 1)).to(self.device)


def _exactly(device: torch.device | str) -> torch.device:
    """A device with its number: cuda:0, not cuda."""
    return torch.empty(0, device=device).device


def fits(shape: tuple[int, int], device: torch.device) -> bool:
    """Whether so many float32 rows and columns may be held whole, beside what else is there."""
    size = 4 * shape[0] * shape[1]
    if device.type == "cuda":
        return size < torch.cuda.mem_get_info(device)[0] // 2
    return size <= HELD_BYTES


class Stacked:
    """Two feature matrices read as one, without copying a memory-mapped one into memory."""

    def __init__(self, upper: np.ndarray, lower: np.ndarray) -> None:
        self.parts = upper, lower
        self.shape = (len(upper) + len(lower), upper.shape[1])

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        upper, lower = self.parts
        index = np.arange(self.shape[0])[rows]
        above = index < len(upper)
        out = np.empty((len(index), self.shape[1]), dtype=np.result_type(upper, lower))
        out[above] = upper[index[above]]
        out[~above] = lower[index[~above] - len(upper)]
        return out

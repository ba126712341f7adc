"""What a retraining method sees of a row: an image or a feature vector, behind one face."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from labelfix.errors import InputError
from labelfix.features.standardise import Scaling
from labelfix.nets.mirroring import NOT_MIRRORED
from labelfix.nets.views import ViewConfig, simclr_view, supervised_view, to_unit

STRONG = ViewConfig(min_scale=0.5)


class BatchSource(Protocol):
    """Rows to train on or to predict; picklable, so that worker processes can have it.

    Attributes:
        notices: what people should know of the views.
    """

    notices: tuple[str, ...]

    def __len__(self) -> int: ...

    def to(self, device: torch.device) -> BatchSource:
        """Serve batches on ``device``."""
        ...

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Weakly augmented inputs of the net: what supervised training sees."""
        ...

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Strongly augmented inputs, for consistency and contrast."""
        ...

    def test_batch(self, rows: Tensor) -> Tensor:
        """Inputs of the net as they are."""
        ...


class ImageSource:
    """Images, ``(N, H, W, 3)`` uint8, array or memory map.

    Weak: shifted by up to an eighth of the side, mirrored. Strong: SimCLR's crop, mirroring,
    colours and grey, with crops of at least half of the area.

    Args:
        images: all rows.
        mirrored: whether views are mirrored half of the time.
    """

    def __init__(self, images: np.ndarray, *, mirrored: bool = True) -> None:
        self.store, self.flip = ImageStore(images), 0.5 if mirrored else 0.0
        self.strong = replace(STRONG, flip=self.flip)
        self.notices: tuple[str, ...] = () if mirrored else (NOT_MIRRORED,)

    def __len__(self) -> int:
        return len(self.store)

    def to(self, device: torch.device) -> ImageSource:
        self.store.to(device)
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return supervised_view(self.store[rows], generator, flip=self.flip)

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return simclr_view(self.store[rows], self.strong, generator)

    def test_batch(self, rows: Tensor) -> Tensor:
        return to_unit(self.store[rows])


class FeatureSource:
    """Feature vectors, ``(N, D)``, array or memory map.

    Weak: Gaussian noise of 0.2 standard deviations of each column. Strong: noise of 0.5, and one
    value in five replaced by its column's mean.

    Args:
        features: all rows.
        scaling: of the columns; None = measured where noise is first asked for.
    """

    weak_noise, strong_noise, strong_drop = 0.2, 0.5, 0.2
    notices: tuple[str, ...] = ()

    def __init__(self, features: np.ndarray, scaling: Scaling | None = None) -> None:
        self.features, self.scaling, self.device = features, scaling, torch.device("cpu")
        self._columns: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device) -> FeatureSource:
        self.device, self._columns = device, None
        return self

    def train_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self._noisy(self.test_batch(rows), self.weak_noise, generator)

    def strong_batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        x_BD = self._noisy(self.test_batch(rows), self.strong_noise, generator)
        lost_BD = torch.rand(x_BD.shape, generator=generator, device=x_BD.device) < self.strong_drop
        return torch.where(lost_BD, self._mean_and_std()[0], x_BD)

    def test_batch(self, rows: Tensor) -> Tensor:
        taken = np.asarray(self.features[rows.numpy()], dtype=np.float32)
        return torch.from_numpy(taken).to(self.device)

    def _noisy(self, x_BD: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        drawn_BD = torch.randn(x_BD.shape, generator=generator, device=x_BD.device)
        return x_BD + noise * self._mean_and_std()[1] * drawn_BD

    def _mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Of each column, ``(D,)`` float32 on the device."""
        if self._columns is None:
            self.scaling = self.scaling or Scaling.of(self.features)
            found = self.scaling.mean_D, self.scaling.std_D
            self._columns = found[0].float().to(self.device), found[1].float().to(self.device)
        return self._columns


class ImageStore:
    """Gathers batches of images by row; worker processes open the same memory-mapped file.

    On a GPU the images move there once when they fit in half of its free memory; otherwise each
    batch is gathered on the host, from memory or from the memory-mapped file, and sent over.

    Args:
        images: uint8 (N, H, W, 3), an array or an `np.memmap`.

    Raises:
        InputError: another type or shape, or no image at all.
    """

    def __init__(self, images: np.ndarray) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
            raise InputError(
                f"images are {images.dtype} {images.shape}", hint="give uint8 of shape (N, H, W, 3)"
            )
        self._host = images
        self._device = torch.device("cpu")
        self._on_device: Tensor | None = None

    def __len__(self) -> int:
        return len(self._host)

    @property
    def size(self) -> int:
        """Pixels of the longer side."""
        return max(self._host.shape[1:3])

    def to(self, device: torch.device, *, keep: bool = True) -> ImageStore:
        """Serves batches on `device` from now on; `keep` moves all images there when they fit."""
        self._device, self._on_device = device, None
        if keep and device.type != "cpu" and self._host.nbytes <= _free_bytes(device) / 2:
            self._on_device = torch.tensor(np.asarray(self._host), device=device)
        return self

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The images of `rows` (int64, CPU): uint8 (B, H, W, 3) on the device."""
        if self._on_device is not None:
            return self._on_device[rows.to(self._device)]
        batch = torch.from_numpy(np.take(self._host, rows.numpy(), axis=0))
        if self._device.type == "cuda":
            return batch.pin_memory().to(self._device, non_blocking=True)
        return batch.to(self._device)

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: a memory-mapped file travels by name, an array as a copy."""
        host = self._host
        if isinstance(host, np.memmap) and host.filename is not None:
            return {"file": (str(host.filename), host.offset, host.shape)}
        return {"array": np.asarray(host)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "file" in state:
            name, offset, shape = state["file"]
            self.__init__(np.memmap(name, np.uint8, "r", offset, shape))  # type: ignore[misc]
        else:
            self.__init__(state["array"])  # type: ignore[misc]


def _free_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return 0.0

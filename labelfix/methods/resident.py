"""Images as uint8 where they are read fastest: on the device when they fit, else on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelfix.errors import InputError


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
                f"images are {images.dtype} {images.shape}", mend="give uint8 of shape (N, H, W, 3)"
            )
        self._host = images
        self._device = torch.device("cpu")
        self._resident: Tensor | None = None

    def __len__(self) -> int:
        return len(self._host)

    @property
    def size(self) -> int:
        """Pixels of the longer side."""
        return max(self._host.shape[1:3])

    def to(self, device: torch.device, *, keep: bool = True) -> ImageStore:
        """Serves batches on `device` from now on; `keep` moves all images there when they fit."""
        self._device, self._resident = device, None
        if keep and device.type != "cpu" and self._host.nbytes <= _free_bytes(device) / 2:
            self._resident = torch.tensor(np.asarray(self._host), device=device)
        return self

    def __getitem__(self, rows: Tensor) -> Tensor:
        """The images of `rows` (int64, CPU): uint8 (B, H, W, 3) on the device."""
        if self._resident is not None:
            return self._resident[rows.to(self._device)]
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

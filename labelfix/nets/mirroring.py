"""Whether images may be mirrored in training: not where left and right mean something."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from labelfix.features.folds import some_of
from labelfix.features.knn_accuracy import knn_accuracy

NOT_MIRRORED = "images are not mirrored in training: mirrored, they look like other classes"
ROWS, SIDE, BLOCK_ROWS = 3000, 16, 256
LOSS = 0.2  # share of the accuracy above chance; where mirroring loses more, it changes classes


def may_mirror(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> bool:
    """Whether a mirrored image still looks like its own class.

    The nearest of the other images, seen small, vote on each image and on its mirror image. Noisy
    labels lower the accuracy of both votes alike. Where that of mirror images is lower by more than
    three standard errors and a fifth of the plain ones' accuracy above chance, mirroring would
    teach wrong labels (digits, text, left and right hands).

    Args:
        images: ``(N, H, W, 3)``, array or memory map; at most 3,000 are read.
        labels: ``(N,)`` codes, as good as there are; -1 = none.
    """
    rows = some_of(np.flatnonzero(labels >= 0), ROWS)
    if len(rows) < 2:
        return True
    codes, view = labels[rows], _seen_small(images, rows)
    images_BD, mirrored_BD = (x.reshape(len(rows), -1) for x in (view, view[..., ::-1]))
    plain = knn_accuracy(images_BD, codes)
    mirrored = knn_accuracy(images_BD, codes, views=mirrored_BD)
    chance = np.bincount(codes).max() / len(rows)
    error = np.sqrt((plain * (1 - plain) + mirrored * (1 - mirrored)) / len(rows))
    return bool(plain - mirrored <= max(3 * error, LOSS * (plain - chance)))


def _seen_small(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Some images, at most 16 pixels a side and without their mean colour, ``(B, 3, h, w)``."""
    parts = []
    for start in range(0, len(rows), BLOCK_ROWS):
        taken = torch.from_numpy(np.asarray(images[rows[start : start + BLOCK_ROWS]]))
        pixels = taken.permute(0, 3, 1, 2).float()
        small = [min(side, SIDE) for side in pixels.shape[2:]]
        parts.append(interpolate(pixels, small, mode="area"))
    view = torch.cat(parts)
    return (view - view.mean((2, 3), keepdim=True)).numpy()

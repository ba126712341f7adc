"""Whether images may be mirrored in training: not where left and right mean something."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from labelfix.methods.knn import knn_accuracy
from labelfix.methods.sampling import some_of

NOT_MIRRORED = "images are not mirrored in training: mirrored, they look like other classes"
ROWS, SIDE, BLOCK_ROWS = 4000, 16, 256
LOSS = 0.2  # of what neighbours tell above chance: more than that, and mirroring changes classes


def may_mirror(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> bool:
    """Whether a mirrored image still looks like its own class.

    The nearest of other images, seen small, vote on some images and on their mirror images. Noisy
    labels blur both votes alike. Where the mirrored ones are told worse, by more than three
    standard errors and a fifth of what the plain ones are told above chance, mirroring would teach
    wrong labels (digits, text, left and right hands).

    Args:
        images: ``(N, H, W, 3)``, array or memory map; at most 4,000 are read.
        labels: ``(N,)`` codes, as good as there are; -1 = none.
    """
    rows = some_of(np.flatnonzero(labels >= 0), ROWS)
    if len(rows) < 2:
        return True
    asked, voters = np.array_split(rows, 2)
    plain, bank = _seen_small(images, asked), _seen_small(images, voters)
    told, told_mirrored = (
        knn_accuracy(
            view.reshape(len(view), -1),
            labels[asked],
            bank=bank.reshape(len(bank), -1),
            bank_labels=labels[voters],
        )
        for view in (plain, plain[..., ::-1])
    )
    chance = np.bincount(labels[voters]).max() / len(voters)
    spread = np.sqrt((told * (1 - told) + told_mirrored * (1 - told_mirrored)) / len(asked))
    return bool(told - told_mirrored <= max(3 * spread, LOSS * (told - chance)))


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

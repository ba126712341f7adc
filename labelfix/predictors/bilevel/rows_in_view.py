"""What an upper loss is measured on: rows that may be looked at, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from labelfix.features.standardise import Matrix


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some rows on the device.

    Attributes:
        x: the net's inputs.
        features: ``(B, D)``, where CLID finds the data's structure; constants.
        labels: ``(B,)`` codes; of clean rows the verified ones.
        given: ``(B,)`` codes as somebody gave them, which is what a teacher corrects; where nobody
            did, the labels.
    """

    x: Tensor
    features: Tensor
    labels: Tensor
    given: Tensor


class RowsInView(Protocol):
    """The rows that an upper loss may be measured on; numbers are int64 on the CPU.

    Attributes:
        visible_rows: all that may be looked at, labelled or not.
        clean_rows: those with a verified label.
        noisy_rows: those with a label to learn from.
        classes: K.
    """

    visible_rows: Tensor
    clean_rows: Tensor
    noisy_rows: Tensor
    classes: int

    @property
    def noisy_labels(self) -> NDArray[np.int64]:
        """Codes of the noisy rows."""
        ...

    @property
    def features(self) -> Matrix:
        """``(N, D)``, of all rows.

        Raises:
            InputError: there are none.
        """
        ...

"""What a training with corrected labels measured, as in metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The share of test rows that a net names rightly, with its 95 % interval."""

    value: float
    interval: tuple[float, float]
    rows: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What one training read, how it was set, and how well its net does.

    Attributes:
        method, labels, settings, epochs, seed: of the training.
        test: on the test rows; None = there were none.
        uses: the columns of labels.parquet that it read.
        trained_rows: rows with a label that it learned from.
        left_out_as_test_rows: rows that stand in the test table too.
        last_epoch: what the method reported of its last epoch.
        diagnostics: what a person should know, one line each.
        seconds: of the wall clock.
        versions: of the libraries.
    """

    method: str
    labels: str
    test: Accuracy | None
    uses: tuple[str, ...]
    settings: Mapping[str, Any]
    trained_rows: int
    left_out_as_test_rows: int
    epochs: int
    seed: int
    last_epoch: Mapping[str, float]
    diagnostics: tuple[str, ...]
    seconds: float
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As in metrics.json; ``test_accuracy`` is None where nothing was tested."""
        whole = asdict(self)
        test = whole.pop("test") or {"value": None}
        names = {"value": "test_accuracy", "interval": "test_accuracy_interval"}
        return whole | {names.get(name, f"test_{name}"): value for name, value in test.items()}

"""labelfix: a dataset with noisy labels in, a corrected dataset out, with evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelfix.api import Result, purify, read
    from labelfix.errors import DegenerateLearningError, InputError

__version__ = "0.1.0"
__all__ = ["DegenerateLearningError", "InputError", "Result", "purify", "read"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import on first use, so that ``labelfix --help`` does not wait for torch."""
    from importlib import import_module

    if name in ("Result", "purify", "read"):
        return getattr(import_module("labelfix.api"), name)
    if name in ("DegenerateLearningError", "InputError"):
        return getattr(import_module("labelfix.errors"), name)
    raise AttributeError(f"module 'labelfix' has no attribute '{name}'")

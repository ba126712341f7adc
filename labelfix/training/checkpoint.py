"""Checkpoints of the training loop: plain tensors and numbers, complete or absent."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from errno import EIO
from pathlib import Path
from typing import Any

import torch

from labelfix.errors import InputError


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Writes `state` (tensors, numbers, strings, lists, dicts) aside, then renames it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".partial")
    try:
        torch.save(dict(state), aside)
    except RuntimeError as error:  # torch's word for a disk that takes no more
        raise OSError(EIO, "cannot be written (is the disk full?)", str(path)) from error
    os.replace(aside, path)


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The state in `path` on the CPU, or None where there is no such file.

    Args:
        path: the file.
        identity: must equal the state's "identity": the settings that make a run what it is.

    Raises:
        InputError: the file is broken or belongs to a run with other settings.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise InputError("the checkpoint is broken", hint="delete it", file=path) from error
    other = [key for key, value in identity.items() if state["identity"].get(key) != value]
    if other:
        raise InputError(
            f"this checkpoint belongs to a run with another {', '.join(other)}",
            hint="delete it, or use the settings it was written with",
            file=path,
        )
    return state


def restore(objects: Mapping[str, Any], states: Mapping[str, Any], path: Path) -> None:
    """Loads every named state into the module or optimizer of that name.

    Raises:
        InputError: names or shapes differ: the checkpoint is another method's or net's.
    """
    try:
        for name, thing in objects.items():
            thing.load_state_dict(states[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            "this checkpoint holds another net or method",
            hint="delete it, or use the settings it was written with",
            file=path,
        ) from error

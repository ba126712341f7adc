"""State dicts from files, whatever training script wrote them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from errno import EIO
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from labelfix.errors import InputError

_WRAPPERS = ("state_dict", "model", "model_state_dict", "teacher", "net")
_PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "encoder_q.", "net.")
_HEADS = ("fc", "head", "heads", "classifier", "linear", "projector", "projection", "predictor")


def load_weights(net: nn.Module, path: Path) -> None:
    """Loads the weights of `net` from a .safetensors, .pt or .pth file.

    Wrapping dictionaries ("state_dict", "model") and common prefixes ("module.", "backbone.",
    "encoder.") are taken off; classification and projection heads in the file are left out.

    Raises:
        InputError: no such file, not a state dict, or names or shapes that do not fit; one line.
    """
    found = strip_prefixes(read_state(path), set(net.state_dict()))
    problem = _mismatch(found, net.state_dict())
    if problem:
        raise InputError(
            f"the weights do not fit the backbone: {problem}",
            hint="name the --backbone that they were trained with",
            file=path,
        )
    net.load_state_dict({name: found.get(name, own) for name, own in net.state_dict().items()})


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file by name, without the dictionaries around them.

    Raises:
        InputError: the file is missing or holds no tensors.
    """
    if not path.is_file():
        raise InputError("no such weights file", hint="give a .safetensors or .pt file", file=path)
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            "not a readable weights file", hint="give a .safetensors or .pt state dict", file=path
        ) from error
    return _unwrap(state, path)


def _unwrap(state: object, path: Path) -> dict[str, Tensor]:
    while isinstance(state, Mapping):
        inner = next((key for key in _WRAPPERS if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = state[inner]
    tensors = (
        {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
        if isinstance(state, Mapping)
        else {}
    )
    if not tensors:
        raise InputError("holds no weights", hint="give a file with a state dict", file=path)
    return tensors


def strip_prefixes(state: Mapping[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Takes off leading prefixes as long as more names become `wanted` ones."""
    best = dict(state)
    tried = True
    while tried:
        tried = False
        for prefix in _PREFIXES:
            inner = {n.removeprefix(prefix): v for n, v in best.items() if n.startswith(prefix)}
            rest = {n: v for n, v in best.items() if not n.startswith(prefix)}
            if inner and len(wanted & set(inner)) >= len(wanted & set(rest)):
                best, tried = inner, True
    return best


def _mismatch(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The first difference in words, or an empty string."""
    for name, value in wanted.items():
        if name not in found:
            if name.endswith("num_batches_tracked"):
                continue
            return f"'{name}' is missing"
        if found[name].shape != value.shape:
            return f"'{name}' is {tuple(found[name].shape)}, not {tuple(value.shape)}"
    extra = [name for name in found if name not in wanted and name.split(".")[0] not in _HEADS]
    return f"'{extra[0]}' has no place in it" if extra else ""


def save_weights(net: nn.Module, path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Writes the state dict of `net` as safetensors, aside first; it takes packed tensors only."""
    aside = path.with_name(f".{path.name}.partial")
    state = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    try:
        save_file(state, aside, metadata=metadata)
    except SafetensorError as error:
        raise OSError(EIO, f"cannot be written ({error})", str(path)) from error
    os.replace(aside, path)

"""What a row holds, as 64 bits: equal rows of features have equal keys, on any machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from labelfix.errors import InputError

_CHUNK_BYTES = 16 << 20
_ODD = np.uint64(0x9E3779B97F4A7C15)


def content_keys(
    features: np.ndarray,
    *,
    like: np.ndarray | None = None,
    blame: Callable[[int], InputError] | None = None,
) -> np.ndarray:
    """Hashes each row bit by bit, in chunks, and checks in the same pass that it is finite.

    Integer arithmetic only, so a key depends on nothing but the row's bits. Two different rows
    share a key with a chance of about 2^-64.

    Args:
        features: (N, D) floating, D >= 1.
        like: features that these are compared with: numbers are hashed as of their type, so that
            a row that was stored as float32 here and as float16 there has one key.
        blame: makes the error for a row position that is not finite; by default its row number.

    Returns:
        (N,) uint64.

    Raises:
        InputError: a row holds NaN or infinity.
    """
    rows, width = features.shape
    kind = (features if like is None else like).dtype
    words = -(-width * kind.itemsize // 8)
    salts = _mix(np.arange(1, words + 1, dtype=np.uint64) * _ODD)
    keys = np.empty(rows, dtype=np.uint64)
    step = max(1, _CHUNK_BYTES // (words * 8))
    for start in range(0, rows, step):
        chunk = np.ascontiguousarray(features[start : start + step])
        finite = _finite_rows(chunk)
        if not finite.all():
            bad = start + int(np.argmin(finite))
            raise blame(bad) if blame else _not_finite(bad)
        with np.errstate(over="ignore"):  # what float16 cannot hold is no row of float16 features
            chunk = chunk.astype(kind, copy=False)
        keys[start : start + step] = _hash(chunk, words, salts)
    return keys


def _hash(chunk: np.ndarray, words: int, salts: np.ndarray) -> np.ndarray:
    raw = chunk.view(np.uint8).reshape(len(chunk), -1)
    if raw.shape[1] != words * 8:
        raw = np.pad(raw, ((0, 0), (0, words * 8 - raw.shape[1])))
    mixed = raw.view(np.dtype("<u8")) ^ salts
    mixed *= salts | np.uint64(1)
    mixed ^= mixed >> np.uint64(32)
    mixed *= _ODD
    return _mix(mixed.sum(axis=1, dtype=np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """Spreads every bit over all 64: the finaliser of splitmix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _finite_rows(chunk: np.ndarray) -> np.ndarray:
    if chunk.dtype == np.float16:
        # On the bits: many times faster than NumPy's float16 loops.
        exponent = np.uint16(0x7C00)
        return ~((chunk.view(np.uint16) & exponent) == exponent).any(axis=1)
    return np.isfinite(chunk).all(axis=1)


def _not_finite(row: int) -> InputError:
    return InputError(
        "features hold NaN or infinity", hint="correct or remove this row's features", row=row + 1
    )

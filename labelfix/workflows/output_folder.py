"""The output folder: stages complete or absent, skipped when nothing they depend on has changed."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from labelfix.errors import InputError

MARKER = "labelfix.json"
DAMAGE = OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, BadZipFile


@dataclass(frozen=True)
class Stage:
    """A stage of the output folder.

    Attributes:
        name: its folder below ``stages``.
        version: goes into its key. It is raised where the stage's code gives another result, and
            then alone; what was done is then done again. ``tests/workflows/test_stage_versions.py``
            holds the result of each version.
    """

    name: str
    version: int

    def key(self, **parts: object) -> str:
        """The fingerprint of this version with the inputs and settings that it depends on."""
        return fingerprint(stage=self.name, version=self.version, **parts)


IMAGES = Stage("images", 1)  # pixels.npy, keys.npy
PRETRAIN = Stage("pretrain", 1)  # weights.safetensors
EMBED = Stage("embed", 1)  # features.npy
NEIGHBOURS = Stage("neighbours", 1)  # rows.npy, similarities.npy
PURIFY = Stage("purify", 1)  # log_probabilities-NAME.npy, auxiliary.npy, training_log.json
SCORE = Stage("score", 1)  # scores.npz
RETRAIN = Stage("retrain", 1)  # a training's checkpoint


def fingerprint(**parts: Any) -> str:  # noqa: ANN401
    """Hash of the named values that determine a result: whatever JSON or ``vars`` can express."""
    text = json.dumps(parts, sort_keys=True, default=lambda value: vars(value))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest(array: NDArray[Any]) -> str:
    """Hash of an array's type, shape and content."""
    array = np.ascontiguousarray(array)
    found = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    found.update(array.view(np.uint8).data if array.size else b"")
    return found.hexdigest()


def row_digest(ids: NDArray[np.object_], content: NDArray[np.uint64]) -> str:
    """Hash of the rows that were read: their ids and content keys, ``(N,)`` each, in order."""
    return fingerprint(ids=ids.tolist(), content=digest(content))


def file_digest(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def stamps(files: Sequence[Path]) -> str:
    """Hash of the files' names, sizes and times: whether any was changed since the last run."""
    found = hashlib.blake2b(digest_size=16)
    for file in files:
        state = file.stat()
        found.update(os.fsencode(file) + f" {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Versions of labelfix and of the libraries that a result depends on."""
    names = ("labelfix", "torch", "numpy", "scikit-learn", "pyarrow", "timm")
    return {name: version(name) for name in names}


@dataclass(frozen=True)
class OutputFolder:
    """A purify output folder.

    Attributes:
        path: the folder; see :meth:`open`.
        apart: where stages are built by a node that may not write; None = this one may.
    """

    path: Path
    apart: Path | None = None

    @classmethod
    def open(cls, path: Path, *, fresh: bool = False, writes: bool = True) -> OutputFolder:
        """Open or make an output folder.

        Args:
            path: the folder.
            fresh: forget every stage that is there.
            writes: False for all nodes but the first: nothing is written into the folder. Stages
                that are done are taken from it, others built in a temporary one.

        Raises:
            InputError: it is a file, cannot be written, or is not empty and not labelfix's.
        """
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise InputError("is a file", hint="give a folder to --out", file=path)
        if not writes:
            apart = Path(mkdtemp(prefix="labelfix-"))
            atexit.register(shutil.rmtree, apart, ignore_errors=True)
            return cls(apart if fresh else path, apart)
        if path.is_dir() and any(path.iterdir()) and not folder._is_ours():
            raise InputError(
                "is not empty and was not written by labelfix",
                hint="give --out a new or empty folder",
                file=path,
            )
        if fresh:
            shutil.rmtree(folder.stages, ignore_errors=True)
        try:
            folder.stages.mkdir(parents=True, exist_ok=True)
            folder._marker.write_text('{"written_by": "labelfix"}\n')
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})", hint="give --out another folder", file=path
            ) from error
        return folder

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def labels(self) -> Path:
        return self.path / "labels.parquet"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def source(self) -> Path:
        return self.stages / "source.json"

    @property
    def _marker(self) -> Path:
        return self.stages / MARKER

    def _is_ours(self) -> bool:
        """By the marker; by the results where someone deleted the stages to save space."""
        if self._marker.exists():
            return True
        try:
            ours = "labelfix" in json.loads(self.summary.read_text())["versions"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return ours and self.labels.is_file() and not any(self.stages.glob("*"))

    def stage(self, name: str, key: str, build: Callable[[Path], None]) -> tuple[Path, bool]:
        """The folder of a stage, built if it is missing or was built from something else.

        Args:
            name: the stage.
            key: from :meth:`Stage.key`.
            build: fills the folder it is given. What an interrupted build with the same key left
                there (checkpoints) is still there when it is called again.

        Returns:
            The complete folder, and whether it was already there.
        """
        done = self.stages / name
        if _key_of(done) == key:
            return done, True
        if self.apart is not None:
            done = self.apart / name
        partial = done.with_name(f".{name}.partial")
        if _key_of(partial) != key:
            shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        write_json(partial / "stage.json", {"fingerprint": key})
        build(partial)
        shutil.rmtree(done, ignore_errors=True)
        partial.rename(done)
        return done, False


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """Around the reading of a stage's files: a damaged or missing one is a line, not a traceback.

    Raises:
        InputError: in place of what went wrong.
    """
    try:
        yield
    except DAMAGE as error:
        raise InputError(
            "a file of this stage is missing or damaged",
            hint="run labelfix purify with --fresh, or delete this folder and run it again",
            file=place,
        ) from error


def _key_of(folder: Path) -> str | None:
    try:
        return json.loads((folder / "stage.json").read_text())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write JSON aside, then rename; NaN becomes null, since JSON has none."""
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    os.replace(aside, path)


def plain(value: Any) -> Any:  # noqa: ANN401
    """The value as JSON has it: NaN becomes None, tuples become lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value

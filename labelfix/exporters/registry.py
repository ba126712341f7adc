"""What an exporter is, what it is given, and which there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pyarrow as pa

import labelfix.exporters as package
from labelfix.exporters.destination import Destination


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A corrected dataset as exporters see it: N rows in order, never all in memory.

    Attributes:
        title: the dataset's plain name.
        rows: N.
        class_names: ``(K,)``, in the order of soft_label.
        schema: of labels.parquet, whose columns are those of the contract and then DATA's own.
        own: names of DATA's own columns.
        batches: called with column names, yields their record batches.
        images: called, yields each row's image, encoded bytes or a file; None = there are none.
        excel_safe: whether text that a spreadsheet would run as a formula is made harmless.
    """

    title: str
    rows: int
    class_names: tuple[str, ...]
    schema: pa.Schema
    own: tuple[str, ...]
    batches: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
    images: Callable[[], Iterator[bytes | Path]] | None
    excel_safe: bool = False


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """A target format.

    Attributes:
        name: as ``--format`` takes it.
        title: what reads it, in a few words.
        write: writes into the destination; returns a sentence for each thing that the format
            cannot hold.
        needs_images: whether there must be images.
    """

    name: str
    title: str
    write: Callable[[Exported, Destination], list[str]]
    needs_images: bool = False


@cache
def exporters() -> dict[str, Exporter]:
    """All exporters by name, sorted."""
    modules = (
        import_module(f"{package.__name__}.{each.name}") for each in iter_modules(package.__path__)
    )
    found = (module.EXPORTER for module in modules if hasattr(module, "EXPORTER"))
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}

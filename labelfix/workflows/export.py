"""export: a corrected dataset in the form that another tool reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from labelfix import contract
from labelfix.errors import InputError
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, exporters
from labelfix.workflows.shown_rows import RowViews
from labelfix.workflows.source import Source


def export(run: Path, destination: str, format: str, *, excel_safe: bool = False) -> list[str]:
    """Write a corrected dataset for another tool.

    Args:
        run: a purify output folder or a labels.parquet.
        destination: a new or empty folder, or an address that fsspec opens, such as s3://bucket/a.
        format: a name of :func:`labelfix.exporters.registry.exporters`.
        excel_safe: for csv: make text harmless that a spreadsheet would run as a formula.

    Returns:
        A sentence for each thing that the format cannot hold.

    Raises:
        InputError: RUN is not usable, has no images where the format needs them, or the destination
            is not empty, unknown, or cannot be written.
    """
    known = exporters()
    if format not in known:
        raise InputError(f"--format is '{format}'", hint=f"use one of {', '.join(known)}")
    labels = contract.read_labels(run)
    file = run / "labels.parquet" if run.is_dir() else run
    views = RowViews.of(file, labels)
    if known[format].needs_images and views.image_column is None:
        raise InputError(
            f"has no images, which {format} needs",
            hint=f"use one of {', '.join(n for n, e in known.items() if not e.needs_images)}",
            file=file,
        )
    place = _empty_place(destination)
    try:
        return known[format].write(_exported(file, labels, views, excel_safe), place)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror or error})",
            hint="give another destination",
            file=destination,
        ) from error


def _empty_place(destination: str) -> Destination:
    try:
        place = Destination.of(destination)
        empty = place.is_empty()
    except ImportError as error:
        raise InputError(
            f"needs another package ({error})", hint="install it with pip", file=destination
        ) from error
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot be reached ({reason})", hint="check the address", file=destination
        ) from error
    if not empty:
        raise InputError("is not empty", hint="give a new or empty destination", file=destination)
    return place


def _exported(file: Path, labels: contract.Labels, views: RowViews, excel_safe: bool) -> Exported:
    def batches(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=4096, columns=list(names)):
                yield batch.select(list(names))

    schema = pq.read_schema(file)
    ours = {column.name for column in contract.COLUMNS}
    return Exported(
        title=Source.of_labels(labels).data or file.stem,
        rows=len(labels),
        class_names=labels.class_names,
        schema=schema,
        own=tuple(name for name in schema.names if name not in ours),
        batches=batches,
        images=views.images if views.image_column is not None else None,
        excel_safe=excel_safe,
    )

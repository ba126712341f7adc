"""Writing labels.parquet: complete or absent, the same bytes for the same content."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelfix.contract.schema import DECISIONS, KEY, SCHEMA_VERSION, SCORES, Labels, schema
from labelfix.errors import InputError

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 256 * 2**20


def write_labels(
    path: Path,
    labels: Labels,
    *,
    other_schema: pa.Schema | None = None,
    other_columns: Iterable[pa.RecordBatch] = (),
) -> None:
    """Write ``labels`` and the untouched columns; aside first, so a file is complete or absent.

    Args:
        path: the file; an old one is replaced.
        labels: the corrected dataset.
        other_schema, other_columns: DATA's other columns, in row order, in batches of any size.

    Raises:
        InputError: the other columns have more or fewer rows than the labels.
    """
    file_metadata = {"schema_version": SCHEMA_VERSION, "class_names": labels.class_names}
    file_metadata |= labels.metadata
    text = json.dumps(file_metadata, sort_keys=True, ensure_ascii=False, allow_nan=False)
    full = schema(len(labels.class_names), other_schema).with_metadata({KEY: text.encode()})
    aside = path.with_name(f".{path.name}.partial")
    start = 0
    with pq.ParquetWriter(aside, full, compression="zstd") as writer:
        for group in _row_groups(other_columns, other_schema, len(labels)):
            rows = slice(start, start + len(group))
            _require_rows(rows.stop <= len(labels), len(labels))
            core = _core_columns(labels, rows)
            writer.write_table(pa.table([*core, *group.columns], schema=full))
            start = rows.stop
    _require_rows(start == len(labels), len(labels))
    os.replace(aside, path)


def _require_rows(holds: bool, rows: int) -> None:
    if not holds:
        raise InputError(
            f"DATA no longer holds the {rows} rows that were read: it changed under way",
            hint="run the same command again",
        )


def _row_groups(
    batches: Iterable[pa.RecordBatch], other_schema: pa.Schema | None, rows: int
) -> Iterator[pa.Table | _NoColumns]:
    """The other columns gathered into row groups; bare row ranges where there are none."""
    if not other_schema:
        for start in range(0, rows, ROW_GROUP_ROWS):
            yield _NoColumns(min(ROW_GROUP_ROWS, rows - start))
        return
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        full = sum(len(b) for b in held) >= ROW_GROUP_ROWS
        if full or sum(b.nbytes for b in held) >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


@dataclass(frozen=True)
class _NoColumns:
    rows: int
    columns: tuple[()] = ()

    def __len__(self) -> int:
        return self.rows


def _core_columns(labels: Labels, rows: slice) -> list[pa.Array]:
    soft = pa.array(labels.soft_label[rows].ravel(), pa.float32())
    scores = [getattr(labels, name) for name in SCORES]
    count = len(labels.label[rows])
    return [
        pa.array(labels.ids[rows], pa.string()),
        _category(labels.given[rows], labels.class_names),
        _category(labels.label[rows], labels.class_names),
        _category(labels.decision[rows], DECISIONS),
        pa.FixedSizeListArray.from_arrays(soft, len(labels.class_names)),
        *(
            pa.nulls(count, pa.float32())
            if score is None
            else pa.array(score[rows], pa.float32(), mask=np.isnan(score[rows]))
            for score in scores
        ),
        pa.array(labels.weight[rows], pa.float32()),
        pa.array(labels.review_rank[rows], pa.int32()),
    ]


def _category(codes: NDArray[np.integer], names: tuple[str, ...]) -> pa.DictionaryArray:
    indices = pa.array(codes.astype(np.int32), pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))

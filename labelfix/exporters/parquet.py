"""parquet: labels.parquet in parts, with all its columns and metadata."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import pyarrow as pa
import pyarrow.parquet as pq

from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

PART_ROWS = 1_000_000


def _write(data: Exported, place: Destination) -> list[str]:
    """Write labels.parquet/part-00000.parquet and so on, a million rows each; nothing is lost."""
    for part, slices in groupby(_slices(data), key=lambda each: each[0]):
        with (
            place.open(f"labels.parquet/part-{part:05d}.parquet") as file,
            pq.ParquetWriter(file, data.schema, compression="zstd") as writer,
        ):
            for _, batch in slices:
                writer.write_batch(batch)
    return []


def _slices(data: Exported) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The rows in order, cut where a part ends, with the part's number."""
    done = 0
    for batch in data.batches(data.schema.names):
        start = 0
        while start < batch.num_rows:
            part, within = divmod(done, PART_ROWS)
            rows = min(batch.num_rows - start, PART_ROWS - within)
            yield part, batch.slice(start, rows)
            start, done = start + rows, done + rows


EXPORTER = Exporter(name="parquet", title="pandas, polars, DuckDB, Spark: lossless", write=_write)

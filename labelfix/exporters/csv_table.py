"""csv: one table for spreadsheets and anything else that reads text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pv

from labelfix.exporters.columns import decoded, harmless, is_flat, soft_rows, top_two
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

EXTRA = (
    ("label_probability", pa.float32()),
    ("second_label", pa.string()),
    ("second_probability", pa.float32()),
)


def _write(data: Exported, place: Destination) -> list[str]:
    """Write labels.csv: all columns but soft_label, and the two likeliest classes instead of it."""
    flat = [field.name for field in data.schema if is_flat(field.type)]
    lost = [name for name in data.schema.names if name not in (*flat, "soft_label")]
    fields = [pa.field(name, _text_type(data.schema.field(name).type)) for name in flat]
    schema = pa.schema([*fields, *(pa.field(name, kind) for name, kind in EXTRA)])
    with place.open("labels.csv") as file, pv.CSVWriter(file, schema) as writer:
        for batch in data.batches([*flat, "soft_label"]):
            writer.write_batch(_rows(batch, flat, data, schema))
    notes = ["CSV holds no lists: soft_label is left out, the two likeliest classes stand instead"]
    notes += [
        f"column '{name}' is left out: CSV holds no {data.schema.field(name).type}" for name in lost
    ]
    return notes


def _text_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _rows(
    batch: pa.RecordBatch, flat: list[str], data: Exported, schema: pa.Schema
) -> pa.RecordBatch:
    codes, shares = top_two(soft_rows(batch["soft_label"], len(data.class_names)))
    names = pa.array(data.class_names, pa.string())
    columns = [decoded(batch[name]) for name in flat]
    columns += [
        pa.array(shares[:, 0], pa.float32()),
        names.take(pa.array(codes[:, 1])),
        pa.array(shares[:, 1], pa.float32()),
    ]
    if data.excel_safe:
        columns = [harmless(column) for column in columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


EXPORTER = Exporter(name="csv", title="a spreadsheet, or anything that reads text", write=_write)

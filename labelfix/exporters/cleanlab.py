"""cleanlab: a table that ``CleanLearning.fit(label_issues=...)`` takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labelfix.exporters.columns import decoded, soft_rows
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("is_label_issue", pa.bool_()),
        ("label_quality", pa.float32()),
        ("given_label", pa.int64()),
        ("predicted_label", pa.int64()),
        ("sample_weight", pa.float32()),
    ]
)


def _write(data: Exported, place: Destination) -> list[str]:
    """Write label_issues.parquet and classes.txt.

    Codes are those of the sorted class names, as cleanlab and scikit-learn number them. A label is
    an issue where it was changed or is likelier wrong than right; its quality is its probability.
    """
    order = np.array([data.class_names.index(name) for name in sorted(data.class_names)])
    place_of = {name: code for code, name in enumerate(sorted(data.class_names))}
    missing = 0
    with place.open("label_issues.parquet") as file, pq.ParquetWriter(file, SCHEMA) as writer:
        for batch in data.batches(["id", "given_label", "label", "soft_label", "weight"]):
            soft_BK = soft_rows(batch["soft_label"], len(order))[:, order]
            given = [place_of.get(name, -1) for name in decoded(batch["given_label"]).to_pylist()]
            label = np.array([place_of.get(n, -1) for n in decoded(batch["label"]).to_pylist()])
            code = np.array(given, np.int64)
            missing += int((code < 0).sum())
            held = np.where(code >= 0, soft_BK[np.arange(len(code)), code.clip(0)], np.nan)
            columns = [
                batch["id"],
                pa.array((code < 0) | (label != code) | (held < 0.5)),
                pa.array(held.astype(np.float32), from_pandas=True),
                pa.array(code, mask=code < 0),
                pa.array(label),
                batch["weight"],
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
    place.write("classes.txt", "".join(f"{name}\n" for name in sorted(data.class_names)))
    notes = ["soft labels and reliabilities are left out: cleanlab's table has no place for them"]
    if missing:
        notes.append(f"{missing} rows had no given label: their given_label is null")
    return notes


EXPORTER = Exporter(name="cleanlab", title="CleanLearning.fit(label_issues=...)", write=_write)

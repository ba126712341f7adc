"""fiftyone: images and labels.json, as ``FiftyOneImageClassificationDataset`` reads them."""

from __future__ import annotations

import json

from labelfix.exporters.columns import decoded, pictures, soft_rows
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

FACTS = (
    "id", "given_label", "decision", "label_reliability", "pseudo_reliability", "clid", "weight",
    "review_rank",
)  # fmt: skip


def _write(data: Exported, place: Destination) -> list[str]:
    """Write data/0000001.png and so on, and labels.json with label, confidence and attributes."""
    facts = [name for name in FACTS if name in data.schema.names]
    images, number = pictures(data), 0
    with place.open("labels.json") as file:
        file.write(b'{"classes": ' + json.dumps(list(data.class_names)).encode() + b', "labels": {')
        for batch in data.batches(["label", "soft_label", *facts]):
            soft_BK = soft_rows(batch["soft_label"], len(data.class_names))
            columns = {name: decoded(batch[name]).to_pylist() for name in ("label", *facts)}
            for row in range(batch.num_rows):
                content, suffix = next(images)
                place.write(f"data/{number:07d}{suffix}", content)
                label = columns["label"][row]
                made = {
                    "label": label,
                    "confidence": float(soft_BK[row, data.class_names.index(label)]),
                    "attributes": {name: columns[name][row] for name in facts},
                }
                lead = b"" if number == 0 else b","
                entry = f'\n"{number:07d}": {json.dumps(made, default=str)}'.encode()
                file.write(lead + entry)
                number += 1
        file.write(b"\n}}\n")
    own = [name for name in data.own if name != "image"]
    notes = ["of the soft labels the corrected label's probability alone is kept, as confidence"]
    return notes + [f"column '{name}' is left out" for name in own]


EXPORTER = Exporter(
    name="fiftyone", title="FiftyOne: FiftyOneImageClassificationDataset", write=_write,
    needs_images=True,
)  # fmt: skip

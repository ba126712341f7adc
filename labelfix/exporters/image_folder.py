"""imagefolder: one folder of images a class, and what is known of each in metadata.jsonl."""

from __future__ import annotations

import json

from labelfix.exporters.columns import decoded, is_flat, pictures, safe_name
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

NO_CLASS = "none"


def _write(data: Exported, place: Destination) -> list[str]:
    """Write train/CLASS/0000001.png and so on, bytes untouched, and train/metadata.jsonl.

    ``label`` stands in metadata.jsonl too, since ``datasets`` gives none from the folders where
    there is such a file. A row that fits no class is left out.
    """
    flat = [field.name for field in data.schema if is_flat(field.type)]
    lost = [name for name in data.schema.names if name not in (*flat, "soft_label", "image")]
    left_out, number, images = 0, 0, pictures(data)
    with place.open("train/metadata.jsonl") as lines:
        for batch in data.batches([*flat, "soft_label"]):
            columns = {name: decoded(batch[name]).to_pylist() for name in (*flat, "soft_label")}
            for row in range(batch.num_rows):
                content, suffix = next(images)
                number += 1
                facts = {name: values[row] for name, values in columns.items()}
                if facts["decision"] == NO_CLASS:
                    left_out += 1
                    continue
                name = f"{safe_name(facts['label'])}/{number:07d}{suffix}"
                place.write(f"train/{name}", content)
                line = {"file_name": name, **facts}
                lines.write((json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())
    notes = [f"column '{name}' is left out: a line of text holds no such value" for name in lost]
    if left_out:
        notes.append(f"{left_out} rows that fit no class are left out: they have no folder")
    return notes


EXPORTER = Exporter(
    name="imagefolder", title="torchvision, Keras, datasets: class folders", write=_write,
    needs_images=True,
)  # fmt: skip

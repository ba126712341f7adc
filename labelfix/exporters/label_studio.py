"""label-studio: tasks with predictions, and the labelling screen's configuration."""

from __future__ import annotations

import json
from xml.sax.saxutils import quoteattr

from labelfix.exporters.columns import decoded, is_flat, pictures, soft_rows
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

MODEL = "labelfix"
SHOWN = 12  # columns of a table row that a task shows


def _write(data: Exported, place: Destination) -> list[str]:
    """Write tasks.json and config.xml, and images/ where there are images.

    Each task's prediction is the corrected label with its probability as score. Images are named as
    files of Label Studio's local storage, whose root is the folder of the export.
    """
    own = [name for name in data.own if is_flat(data.schema.field(name).type)][:SHOWN]
    images = pictures(data) if data.images else None
    first, number = True, 0
    with place.open("tasks.json") as file:
        file.write(b"[\n")
        for batch in data.batches(["id", "given_label", "label", "soft_label", *own]):
            soft_BK = soft_rows(batch["soft_label"], len(data.class_names))
            columns = {name: decoded(batch[name]).to_pylist() for name in batch.schema.names}
            for row in range(batch.num_rows):
                number += 1
                facts = {"id": columns["id"][row], "given_label": columns["given_label"][row]}
                if images is not None:
                    content, suffix = next(images)
                    name = f"images/{number:07d}{suffix}"
                    place.write(name, content)
                    facts["image"] = f"/data/local-files/?d={name}"
                else:
                    facts["text"] = _text(columns, own, row)
                code = data.class_names.index(columns["label"][row])
                task = {
                    "data": facts,
                    "predictions": [_prediction(columns["label"][row], float(soft_BK[row, code]))],
                }
                file.write((b"" if first else b",\n") + json.dumps(task, default=str).encode())
                first = False
        file.write(b"\n]\n")
    place.write("config.xml", _config(data))
    notes = ["of the soft labels a task holds the corrected label's probability alone"]
    if images is not None:
        notes.append(
            "serve the images: LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT = the export's folder"
        )
    return notes


def _text(columns: dict[str, list[object]], own: list[str], row: int) -> str:
    """What a person reads of a row without an image: its own columns, or its id."""
    if not own:
        return str(columns["id"][row])
    if len(own) == 1:
        return str(columns[own[0]][row])
    return "\n".join(f"{name}: {columns[name][row]}" for name in own)


def _prediction(label: str, score: float) -> dict[str, object]:
    result = {
        "id": "label", "from_name": "label", "to_name": "sample", "type": "choices",
        "value": {"choices": [label]},
    }  # fmt: skip
    return {"model_version": MODEL, "score": min(1.0, max(0.0, score)), "result": [result]}


def _config(data: Exported) -> str:
    shown = (
        '<Image name="sample" value="$image"/>'
        if data.images
        else '<Text name="sample" value="$text"/>'
    )
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in data.class_names)
    return f"""<View>
  {shown}
  <Choices name="label" toName="sample" choice="single" showInLine="true">
{choices}
  </Choices>
</View>
"""


EXPORTER = Exporter(name="label-studio", title="Label Studio: tasks with predictions", write=_write)

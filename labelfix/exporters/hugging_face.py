"""huggingface: Parquet files and a card, as ``datasets.load_dataset`` reads them."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from labelfix.exporters.columns import decoded, pictures
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, Exporter

FILE = "data/train-00000-of-00001.parquet"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CODED = ("label", "given_label")
NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}


def _write(data: Exported, place: Destination) -> list[str]:
    """Write data/train-….parquet with class codes, embedded images, and README.md, its card.

    The Arrow metadata names the classes: ``load_dataset`` gives ``ClassLabel`` and ``Image``
    columns. No ``datasets`` package is needed to write it.
    """
    columns = _columns(data)
    features = {name: _feature(name, kind, data.class_names) for name, kind in columns}
    metadata = {"huggingface": json.dumps({"info": {"features": features}}, ensure_ascii=False)}
    schema = pa.schema([pa.field(name, kind) for name, kind in columns], metadata=metadata)
    size = 0
    images = pictures(data) if data.images else None
    read = [name for name, _ in columns if name != "image" or images is None]
    with place.open(FILE) as file, pq.ParquetWriter(file, schema) as writer:
        for batch in data.batches(read):
            found = {name: _encoded(batch[name], name, data.class_names) for name in read}
            if images is not None:
                rows = [next(images)[0] for _ in range(batch.num_rows)]
                found["image"] = pa.array([{"bytes": row, "path": None} for row in rows], IMAGE)
            ready = pa.RecordBatch.from_arrays(
                [found[name].cast(schema.field(name).type) for name in schema.names], schema=schema
            )
            size += ready.nbytes
            writer.write_batch(ready)
    place.write("README.md", _card(data, size))
    return []


def _columns(data: Exported) -> list[tuple[str, pa.DataType]]:
    """The columns in order; what names the images in the table gives way to the images."""
    found = [(field.name, _plain_type(field.type)) for field in data.schema]
    found = [(name, pa.int64() if name in CODED else kind) for name, kind in found]
    if data.images is None:
        return found
    return [("image", IMAGE), *((name, kind) for name, kind in found if name != "image")]


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _encoded(column: pa.Array, name: str, class_names: tuple[str, ...]) -> pa.Array:
    if name not in CODED:
        return decoded(column)
    code = {each: number for number, each in enumerate(class_names)}
    return pa.array(
        [None if each is None else code[each] for each in column.to_pylist()], pa.int64()
    )


def _feature(name: str, kind: pa.DataType, class_names: tuple[str, ...]) -> Any:  # noqa: ANN401
    """A column's type in the words of ``datasets``."""
    if name in CODED:
        return {"names": list(class_names), "_type": "ClassLabel"}
    if name == "image" and kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_struct(kind):
        return {field.name: _feature("", field.type, class_names) for field in kind}
    if pa.types.is_fixed_size_list(kind):
        inner = _feature("", kind.value_type, class_names)
        return {"feature": inner, "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"feature": _feature("", kind.value_type, class_names), "_type": "List"}
    return {"dtype": NAMES.get(str(kind), str(kind)), "_type": "Value"}


def _card(data: Exported, size: int) -> str:
    """README.md: the file's place, its split, and what the columns are."""
    names = "\n".join(
        f"          '{number}': {json.dumps(name, ensure_ascii=False)}"
        for number, name in enumerate(data.class_names)
    )
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
dataset_info:
  splits:
  - name: train
    num_bytes: {size}
    num_examples: {data.rows}
---

# {data.title}, labels corrected by labelfix

`label` is what to train on, `given_label` is as it came, `soft_label` holds the probability of each
class in the order below, `weight` is for weighted training, `decision` says what was done.

```yaml
classes:
{names}
```
"""


EXPORTER = Exporter(name="huggingface", title="datasets.load_dataset, with a card", write=_write)

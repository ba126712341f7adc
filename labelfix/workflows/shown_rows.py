"""How a person sees the rows of a labels.parquet: pictures, texts, table rows, or their ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from labelfix import contract
from labelfix.inputs.file_names import find_file
from labelfix.report.pictures import data_uri
from labelfix.report.purify_report import Shown
from labelfix.workflows.source import Source, candidates

MOST_FIELDS = 12  # columns of a table row that are shown
MOST_LETTERS = 600  # of a text or a value
LONG = 40  # mean letters of a column that is read as text


@dataclass(frozen=True, kw_only=True)
class RowViews:
    """The rows as pictures or texts.

    Attributes:
        file: the labels.parquet.
        own: DATA's own columns in it that a person can read.
        image_column: the column of pictures, or None.
        root: the folder that the pictures' paths start from.
    """

    file: Path
    own: tuple[str, ...]
    image_column: str | None
    root: Path

    @classmethod
    def of(cls, file: Path, labels: contract.Labels) -> RowViews:
        """How the rows of a labels.parquet can be shown; what is not found is left out."""
        source, schema = Source.of_labels(labels), pq.read_schema(file)
        column = source.image_column if source.image_column in schema.names else None
        places = candidates(file, "data", source.data) if source.data else []
        data = places[0] if len(places) == 1 else file
        ours = {each.name for each in contract.COLUMNS}
        own = [
            field.name
            for field in schema
            if field.name not in ours and field.name != column and _is_plain(field.type)
        ]
        return cls(
            file=file,
            own=tuple(own[:MOST_FIELDS]),
            image_column=column,
            root=data if data.is_dir() else data.parent,
        )

    def show(self, rows: NDArray[np.int64]) -> list[Shown]:
        """Some rows, in the order of ``rows``."""
        wanted = np.unique(rows)
        found: dict[int, Shown] = {}
        names = [name for name in (*self.own, self.image_column) if name]
        for start, batch in self._batches(names):
            low, high = np.searchsorted(wanted, [start, start + batch.num_rows])
            for row in wanted[low:high].tolist():
                values = {name: batch[name][row - start].as_py() for name in names}
                found[row] = self._shown(values)
        return [found.get(int(row), Shown()) for row in rows]

    def images(self) -> Iterator[bytes | Path]:
        """Each row's image, encoded; rows without one give empty bytes."""
        assert self.image_column is not None
        for _, batch in self._batches([self.image_column]):
            for value in batch[self.image_column].to_pylist():
                yield self._encoded(value) or b""

    def _batches(self, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        start = 0
        with pq.ParquetFile(self.file) as file:
            if not names:
                return
            for batch in file.iter_batches(batch_size=1024, columns=names):
                yield start, batch
                start += batch.num_rows

    def _shown(self, values: dict[str, object]) -> Shown:
        encoded = self._encoded(values.get(self.image_column)) if self.image_column else None
        picture = data_uri(encoded) if encoded else None
        texts = [(name, _words(values[name])) for name in self.own if values[name] is not None]
        if picture is not None:
            return Shown(picture=picture)
        if len(texts) == 1 and len(texts[0][1]) >= LONG:
            return Shown(text=texts[0][1])
        return Shown(fields=tuple(texts)) if texts else Shown()

    def _encoded(self, value: object) -> bytes | Path | None:
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            return Path(find_file(str(self.root), value))
        return value if isinstance(value, bytes) and value else None


def _is_plain(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )


def _words(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"

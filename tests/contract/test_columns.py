"""One list of columns: for the reader, the writer, reserved names, the docs and a new column."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelfix import contract
from labelfix.contract import kinds, labels, reading, schema, writing

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def test_the_docs_hold_the_table_of_the_columns():
    assert contract.markdown_table() in PAGE.read_text()


def test_every_column_has_a_row_in_the_table():
    rows = contract.markdown_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [column.name for column in contract.COLUMNS]
    assert all(row.count("|") == 4 for row in rows)


def test_names_that_the_file_needs_are_not_taken():
    names = ["note", "weight", "original_weight", "id"]
    found = contract.free_names(names)
    assert list(found) == names
    assert found["note"] == "note"
    assert found["id"] == "original_id"
    assert found["original_weight"] == "original_weight"
    assert found["weight"] == "original_original_weight"


def make():
    columns = {
        "id": np.array(["a", "b", "c"], dtype=object),
        "label": np.array([0, 1, 1], dtype=np.int32),
    }
    return contract.complete(columns, ("no", "yes"), {})


def test_a_passing_column_of_a_reserved_name_is_kept_under_another(tmp_path):
    others = pa.table({"weight": [1, 2, 3], "note": ["x", "y", "z"]})
    path = tmp_path / "labels.parquet"
    contract.write_labels(
        path, make(), other_schema=others.schema, other_columns=others.to_batches()
    )
    frame = pd.read_parquet(path)
    assert frame["original_weight"].tolist() == [1, 2, 3]
    assert frame["note"].tolist() == ["x", "y", "z"]
    assert frame["weight"].tolist() == [1, 1, 1]


def test_a_column_without_a_default_is_required():
    assert schema.REQUIRED == ("id", "label")
    with pytest.raises(KeyError, match="label"):
        contract.complete({"id": np.array(["a"], dtype=object)}, ("no", "yes"), {})


@pytest.fixture
def with_surprise(monkeypatch):
    """A further column, added as a developer would: an entry in COLUMNS, a field of Labels."""
    surprise = contract.Column(
        name="surprise",
        kind=kinds.Number(),
        meaning="how likely label is wrong",
        range="0 to 1",
        holds=lambda values: (values >= 0) & (values <= 1),
        default=lambda known: (
            1 - known["soft_label"][np.arange(len(known["label"])), known["label"]]
        ),
    )
    columns = (*contract.COLUMNS, surprise)
    for module in (schema, labels, reading, writing):
        monkeypatch.setattr(module, "COLUMNS", columns)
    monkeypatch.setitem(schema.BY_NAME, "surprise", surprise)

    class Labels(labels.Labels):
        def __init__(self, *, surprise, **rest):
            super().__init__(**rest)
            object.__setattr__(self, "surprise", surprise)

    monkeypatch.setattr(labels, "Labels", Labels)
    return surprise


def test_a_new_column_is_written_read_checked_and_reserved(with_surprise, tmp_path):
    soft = np.array([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]], dtype=np.float32)
    columns = {
        "id": np.array(["a", "b", "c"], dtype=object),
        "label": np.array([0, 1, 1], dtype=np.int32),
        "soft_label": soft,
    }
    path = tmp_path / "labels.parquet"
    written = labels.complete(columns, ("no", "yes"), {})
    contract.write_labels(path, written)
    assert pq.read_table(path)["surprise"].to_pylist() == [0.25, 0.5, 0.0]
    assert contract.read_labels(path).surprise.tolist() == [0.25, 0.5, 0.0]
    pq.write_table(pq.read_table(path).drop_columns(["surprise"]), path)
    assert contract.read_labels(path).surprise.tolist() == [0.25, 0.5, 0.0]
    assert contract.free_names(["surprise"]) == {"surprise": "original_surprise"}
    assert "| `surprise` | 0 to 1 | how likely label is wrong |" in contract.markdown_table()
    broken = np.array([0.0, 2.0, 0.0], dtype=np.float32)
    object.__setattr__(written, "surprise", broken)
    with pytest.raises(ValueError, match="row 2, column 'surprise': breaks the contract: 0 to 1"):
        contract.check(written)


def test_labels_can_be_changed_as_any_dataclass(tmp_path):
    path = tmp_path / "labels.parquet"
    contract.write_labels(path, replace(make(), weight=np.zeros(3, dtype=np.float32)))
    assert contract.read_labels(path).weight.tolist() == [0, 0, 0]

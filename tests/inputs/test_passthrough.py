"""Other columns pass untouched and in order."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from input_files import LABELS, encoded, write

from labelfix.inputs import (
    read,
)


def test_other_columns_pass_untouched_and_in_order(tmp_path):
    images = [encoded(tmp_path, value) for value in range(600)]
    label = ["cat", "dog"] * 300
    table = pa.table(
        {
            "weight": pa.array(range(600), pa.int16()),
            "id": [f"r{row}" for row in range(600)],
            "image": images,
            "note": pa.array(["x", None] * 300).dictionary_encode(),
            "label": label,
        }
    )
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=100)
    dataset = read(tmp_path / "d.parquet")
    batches = list(dataset.other_columns())
    assert len(batches) > 1
    passed = pa.Table.from_batches(batches, dataset.other_schema)
    assert passed.schema.field("weight").type == pa.int16()
    assert passed.to_pylist() == table.select(["weight", "image", "note"]).to_pylist()


def test_text_that_numbers_would_lose_stays_text(tmp_path, features):
    frame = pd.DataFrame(
        {
            "label": LABELS,
            "zip": ["02139"] * 6,
            "phone": ["+4412.5"] * 6,
            "n": ["1", "", "3", "4", "5", "6"],
            "x": ["0.5"] * 6,
        }
    )
    dataset = read(write(frame, tmp_path / "d.csv"), label_column="label", features=features)
    passed = pa.Table.from_batches(dataset.other_columns())
    assert [str(field.type) for field in passed.schema] == ["string", "string", "int64", "double"]
    assert passed["zip"][0].as_py() == "02139"


def test_dates_in_json_lines_stay_text(tmp_path, features):
    frame = pd.DataFrame({"label": LABELS, "day": ["2026-01-02"] * 6})
    dataset = read(write(frame, tmp_path / "d.jsonl"), label_column="label", features=features)
    assert next(dataset.other_columns())["day"][0].as_py() == "2026-01-02"


def test_no_other_columns_yield_nothing(tmp_path, features):
    data = write(pd.DataFrame({"id": range(6), "label": LABELS}), tmp_path / "d.csv")
    dataset = read(data, features=features)
    assert list(dataset.other_columns()) == []
    assert dataset.other_schema.names == []

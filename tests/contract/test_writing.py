"""labels.parquet as it is written: types, meanings, row groups, and rules that may not break."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from label_files import SOFT, make

from labelfix import contract
from labelfix.contract import writing
from labelfix.errors import InputError

CATEGORY = pa.dictionary(pa.int32(), pa.string())


TYPES = {
    "id": (pa.string(), False),
    "given_label": (CATEGORY, True),
    "label": (CATEGORY, False),
    "decision": (CATEGORY, False),
    "soft_label": (pa.list_(pa.float32(), 3), False),
    "label_reliability": (pa.float32(), True),
    "pseudo_reliability": (pa.float32(), True),
    "clid": (pa.float32(), True),
    "weight": (pa.float32(), False),
    "review_rank": (pa.int32(), False),
    "doubt": (pa.float32(), False),
}


def test_types_are_the_contract(path):
    contract.write_labels(path, make())
    found = pq.read_schema(path)
    assert found.names == list(TYPES) == [column.name for column in contract.COLUMNS]
    for name, (kind, nullable) in TYPES.items():
        assert found.field(name).type == kind, name
        assert found.field(name).nullable == nullable, name


def test_every_field_says_what_it_means(path):
    contract.write_labels(path, make())
    for field, column in zip(pq.read_schema(path), contract.COLUMNS, strict=True):
        about = {
            key: value.decode()
            for key, value in field.metadata.items()
            if key != b"PARQUET:field_id"
        }
        assert about[b"description"].startswith(column.meaning)
        assert about[b"description"].endswith(column.detail)
        assert about[b"range"] == column.range
        assert all(about.values())


def test_file_metadata(path):
    contract.write_labels(path, make())
    about = json.loads(pq.read_schema(path).metadata[b"labelfix"])
    assert about == {
        "schema_version": 1,
        "class_names": ["ant", "bee", "cat"],
        "noise_rate": 0.25,
        "settings": {"seed": 0},
    }


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    contract.write_labels(path, make())
    contract.write_labels(tmp_path / "again.parquet", make())
    assert path.read_bytes() == (tmp_path / "again.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.parquet", "labels.parquet"]


def other_table(rows):
    return pa.table(
        {
            "path": [f"{row}.png" for row in range(rows)],
            "image": pa.array([{"bytes": bytes([row % 256]), "path": None} for row in range(rows)]),
            "size": pa.array(range(rows), pa.int16()),
        }
    )


def test_other_columns_pass_in_several_row_groups(path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 40)
    others = other_table(100)
    contract.write_labels(
        path,
        make(100),
        other_schema=others.schema,
        other_columns=others.to_batches(max_chunksize=15),
    )
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [45, 45, 10]
    assert pq.read_table(path, columns=others.column_names).equals(others)
    assert pq.read_schema(path).names == [*TYPES, "path", "image", "size"]
    assert contract.read_labels(path).ids.tolist() == make(100).ids.tolist()


def test_large_values_close_a_row_group_early(path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_BYTES", 100)
    others = other_table(30)
    contract.write_labels(
        path,
        make(30),
        other_schema=others.schema,
        other_columns=others.to_batches(max_chunksize=10),
    )
    assert pq.ParquetFile(path).num_row_groups == 3


def test_rows_without_other_columns_come_in_row_groups_too(path, monkeypatch):
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 40)
    contract.write_labels(path, make(100))
    assert pq.ParquetFile(path).num_row_groups == 3
    assert np.array_equal(contract.read_labels(path).soft_label, make(100).soft_label)


@pytest.mark.parametrize("rows", [5, 7])
def test_data_that_changed_under_way_is_refused(path, rows):
    others = other_table(rows)
    with pytest.raises(InputError, match="the 6 rows that were read: it changed"):
        contract.write_labels(
            path, make(6), other_schema=others.schema, other_columns=others.to_batches()
        )
    assert not path.exists()


def with_value(name, row, value):
    array = getattr(make(), name).copy()
    array[row] = value
    return {name: array}


BROKEN = {
    "id": (with_value("ids", 3, "ü1"), 4),
    "id null": (with_value("ids", 2, None), 3),
    "label": (with_value("label", 2, -1), 3),
    "decision": (with_value("decision", 0, -1), 1),
    "soft_label sum": (with_value("soft_label", 1, [0.5, 0.4, 0.0]), 2),
    "soft_label range": (with_value("soft_label", 4, [1.5, -0.5, 0.0]), 5),
    "soft_label nan": (with_value("soft_label", 4, [np.nan, 0.5, 0.5]), 5),
    "weight": (with_value("weight", 5, 1.01), 6),
    "weight nan": (with_value("weight", 5, np.nan), 6),
    "review_rank twice": ({"review_rank": np.array([1, 2, 3, 4, 4, 6], dtype=np.int32)}, 4),
    "review_rank zero": ({"review_rank": np.array([1, 2, 3, 4, 5, 0], dtype=np.int32)}, 6),
    "label_reliability": ({"label_reliability": np.array([0, 0, 2, 0, 0, 0], np.float32)}, 3),
    "pseudo_reliability": ({"pseudo_reliability": np.array([0, -1, 0, 0, 0, 0], np.float32)}, 2),
    "clid": ({"clid": np.array([-1, 0, 0, 0, 0, 0], np.float32)}, 1),
}


@pytest.mark.parametrize("case", BROKEN)
def test_every_broken_rule_names_row_and_column(case, path):
    changes, row = BROKEN[case]
    with pytest.raises(InputError) as error:
        contract.check(make(**changes), path)
    text = str(error.value)
    assert text.startswith(f"{path}, row {row}, column '{case.split()[0]}': breaks the contract: ")


def test_a_sum_within_the_tolerance_is_no_breach():
    soft = SOFT.copy()
    soft[0] = [0.5, 0.5, 0.00009]
    contract.check(make(soft_label=soft))

"""labels.parquet: types, metadata, round trip, the columns that pass, and every broken rule."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labelfix import contract, inputs
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
}


def make(rows=6, **changes) -> contract.Labels:
    random = np.random.default_rng(0)
    soft = random.dirichlet([1, 1, 1], rows).astype(np.float32)
    given = (np.arange(rows) % 4 - 1).astype(np.int32)
    labels = contract.Labels(
        ids=np.array([f"ü{row}" for row in range(rows)], dtype=object),
        class_names=("ant", "bee", "cat"),
        given=given,
        label=soft.argmax(1).astype(np.int32),
        decision=(np.arange(rows) % 5).astype(np.int8),
        soft_label=soft,
        weight=random.random(rows).astype(np.float32),
        review_rank=random.permutation(rows).astype(np.int32) + 1,
        metadata={"noise_rate": 0.25, "settings": {"seed": 0}},
    )
    return replace(labels, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.parquet"


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


def test_round_trip(path):
    scores = {
        "label_reliability": np.array([0, 0.5, np.nan, 1, 0.2, 0.3], dtype=np.float32),
        "clid": np.array([0, 5, 1e6, np.nan, 2, 3], dtype=np.float32),
    }
    labels = make(**scores)
    contract.write_labels(path, labels)
    for found in (contract.read_labels(path), contract.read_labels(path.parent)):
        for name in ("ids", "given", "label", "decision", "soft_label", "weight", "review_rank"):
            before, after = getattr(labels, name), getattr(found, name)
            assert np.array_equal(before, after), name
            assert before.dtype == after.dtype, name
        for name, before in scores.items():
            assert np.array_equal(before, getattr(found, name), equal_nan=True)
        assert found.pseudo_reliability is None
        assert found.class_names == labels.class_names
        assert found.metadata == labels.metadata
        assert len(found) == 6
    assert pq.read_table(path)["label_reliability"].null_count == 1


def test_labels_of_the_library_can_be_read_by_anyone(path):
    labels = make()
    contract.write_labels(path, labels)
    frame = pd.read_parquet(path)
    assert frame["id"].tolist() == labels.ids.tolist()
    given = ["ant" if name is None else name for name in (None, "ant", "bee", "cat", None, "ant")]
    assert frame["given_label"].astype(object).fillna("ant").tolist() == given
    assert frame["given_label"].isna().tolist() == [True, False, False, False, True, False]
    assert np.allclose(np.stack(list(frame["soft_label"])), labels.soft_label)
    assert frame["decision"].tolist()[:5] == ["keep", "correct", "review", "fill", "checked"]
    table = pq.read_table(path, columns=["label", "review_rank"])
    names = np.array(labels.class_names)[labels.label]
    assert table["label"].to_pylist() == names.tolist()


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


SOFT = make().soft_label


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


def rewritten(path, change, **metadata):
    """The file as another tool might have changed it."""
    contract.write_labels(path, make())
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"labelfix"]) | metadata
    fields = [field.with_nullable(True) for field in table.schema]
    table = change(table.cast(pa.schema(fields)))
    pq.write_table(table.replace_schema_metadata({"labelfix": json.dumps(about)}), path)


def replaced(name, values):
    return lambda table: table.set_column(table.column_names.index(name), name, values)


FOREIGN = {
    "has no column 'label'": lambda t: t.drop_columns(["label"]),
    "row 2, column 'label': 'cow' is none of ant, bee, cat": replaced(
        "label", pa.array(["ant", "cow", "bee", "cat", "ant", "ant"])
    ),
    "row 1, column 'decision': 'maybe' is none of keep": replaced(
        "decision", pa.array(["maybe"] * 6)
    ),
    "row 2, column 'id': breaks the contract: text, every row its own": replaced(
        "id", pa.array(["a", None, "c", "d", "e", "f"])
    ),
    "row 3, column 'label': breaks the contract": replaced(
        "label", pa.array(["ant", "ant", None, "cat", "ant", "ant"])
    ),
    "column 'soft_label': does not hold 3 values a row": replaced(
        "soft_label", pa.array([[0.5, 0.5]] * 6)
    ),
    "row 2, column 'weight': breaks the contract": replaced(
        "weight", pa.array([1.0, None, 1.0, 1.0, 1.0, 1.0])
    ),
    "row 2, column 'review_rank': breaks the contract": replaced(
        "review_rank", pa.array([1, None, 3, 4, 5, 6])
    ),
    "column 'review_rank': holds string": replaced("review_rank", pa.array(["first"] * 6)),
    "column 'soft_label': holds double": replaced("soft_label", pa.array([0.5] * 6)),
}


@pytest.mark.parametrize("message", FOREIGN)
def test_files_that_another_tool_changed(message, path):
    rewritten(path, FOREIGN[message])
    with pytest.raises(InputError) as error:
        contract.read_labels(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_plain_columns_of_the_right_meaning_are_read(path):
    """A tool that knows neither dictionaries nor fixed sizes may have written the file again."""
    frame_of = {"label": pa.string(), "decision": pa.string(), "review_rank": pa.int64()}

    def change(table):
        for name, kind in frame_of.items():
            table = replaced(name, table[name].cast(kind))(table)
        return replaced("soft_label", pa.array(table["soft_label"].to_pylist()))(table)

    rewritten(path, change)
    assert np.allclose(contract.read_labels(path).soft_label, SOFT)


def test_a_file_by_hand_needs_id_and_label_only(path):
    pd.DataFrame({"id": [7, 8, 9], "label": ["bee", "ant", "bee"], "note": 1}).to_parquet(path)
    found = contract.read_labels(path)
    assert found.ids.tolist() == ["7", "8", "9"]
    assert found.class_names == ("ant", "bee")
    assert found.label.tolist() == [1, 0, 1]
    assert found.given.tolist() == [-1, -1, -1]
    assert found.decision.tolist() == [0, 0, 0]
    assert found.soft_label.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert found.weight.tolist() == [1, 1, 1]
    assert sorted(found.review_rank.tolist()) == [1, 2, 3]
    assert found.clid is None


def test_booleans_and_decimals_are_spelled_as_purify_spells_them(path):
    frame = pd.DataFrame({"id": [3.0, 1e11, 5.0], "label": [True, False, True]})
    frame.assign(given_label=[True, None, False]).to_parquet(path)
    found = contract.read_labels(path)
    assert found.ids.tolist() == ["3", "100000000000", "5"]
    assert found.class_names == ("False", "True")
    assert found.label.tolist() == [1, 0, 1]
    assert found.given.tolist() == [1, -1, 0]
    wanted = inputs.Columns(label="label")
    theirs = inputs.read_truth(path, ids=found.ids, like=found.class_names, wanted=wanted)
    assert theirs.labels.tolist() == [1, 0, 1]


def test_what_a_file_by_hand_leaves_out_follows_from_what_it_has(path):
    soft = [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]
    frame = pd.DataFrame({"id": list("abc"), "label": ["no", "yes", "no"], "soft_label": soft})
    frame.assign(given_label=["no", "no", None]).to_parquet(path)
    found = contract.read_labels(path)
    assert found.weight.tolist() == pytest.approx([0.8, 0.6, 0], abs=1e-6)
    assert [contract.DECISIONS[code] for code in found.decision] == ["keep", "correct", "fill"]
    assert found.review_rank.tolist() == [3, 1, 2]
    frame.assign(label=["yes", "no", "yes"]).to_parquet(path)
    with pytest.raises(InputError, match="classes seem to stand in another order; sort them by"):
        contract.read_labels(path)
    frame.assign(label="yes").to_parquet(path)
    with pytest.raises(InputError, match="names 1 classes; give labels of two or more"):
        contract.read_labels(path)
    frame.assign(weight=[1.0, 2.0, 0.0]).to_parquet(path)
    with pytest.raises(InputError, match="row 2, column 'weight': breaks the contract"):
        contract.read_labels(path)


def test_files_that_are_none_of_ours(path, tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        contract.read_labels(path)
    path.write_text("id,label\n")
    with pytest.raises(InputError, match="cannot be read"):
        contract.read_labels(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(InputError, match="has no column 'label'"):
        contract.read_labels(path)
    for text in ("{", "{}", "[]", '{"schema_version": 1}'):
        pq.write_table(pa.table({"id": ["a"]}).replace_schema_metadata({"labelfix": text}), path)
        with pytest.raises(InputError):
            contract.read_labels(path)
    rewritten(path, lambda table: table, schema_version=2)
    with pytest.raises(InputError, match="has schema version 2, this labelfix reads 1"):
        contract.read_labels(path)


MALFORMED = {
    "class_names": [
        {"class_names": [1, 2]},
        {"class_names": ["ant", "ant", "bee", "cat"]},
        {"class_names": ["ant"]},
        {"class_names": "abc"},
    ],
    "source": [{"source": "q"}, {"source": {"data": 1}}, {"source": {"features": ["x.npy"]}}],
    "settings": [{"settings": [1]}, {"settings": None}, {"settings": {"backbone": 18}}],
    "fingerprints": [{"fingerprints": "q"}, {"fingerprints": {"rows": 1}}],
}


@pytest.mark.parametrize("part", MALFORMED)
def test_malformed_metadata_is_one_clear_line(part, path):
    for metadata in MALFORMED[part]:
        rewritten(path, lambda table: table, **metadata)
        with pytest.raises(InputError) as error:
            contract.read_labels(path)
        assert str(error.value) == (
            f"{path}: its metadata (key labelfix) is broken at {part}; write the file again with "
            "labelfix purify, or leave the metadata out"
        )

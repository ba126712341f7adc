"""labels.parquet as it is read: our own, changed by other tools, or written by hand."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from label_files import SOFT, make

from labelfix import contract, inputs
from labelfix.errors import InputError


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

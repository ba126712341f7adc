"""One table of several files: folders of shards, patterns, and what Hugging Face saves."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from labelfix.errors import InputError
from labelfix.inputs import read

FRAME = pd.DataFrame(
    {"id": range(12), "label": ["cat", "dog"] * 6, "v": [[row, 1.0] for row in range(12)]}
)


def parts(folder, names, frame=FRAME):
    """Writes the frame in as many pieces as there are names."""
    folder.mkdir(exist_ok=True)
    for name, rows in zip(names, np.array_split(np.arange(len(frame)), len(names)), strict=True):
        piece = frame.iloc[rows]
        if name.endswith(".csv"):
            piece.drop(columns="v").to_csv(folder / name, index=False)
        elif name.endswith(".jsonl"):
            piece.to_json(folder / name, orient="records", lines=True)
        elif name.endswith(".arrow"):
            table = pa.Table.from_pandas(piece, preserve_index=False)
            with pa.ipc.new_stream(str(folder / name), table.schema) as file:
                file.write_table(table)
        elif name.endswith(".feather"):
            piece.reset_index(drop=True).to_feather(folder / name)
        else:
            piece.to_parquet(folder / name)
    return folder


@pytest.fixture
def features(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(12, 3)))
    return tmp_path / "x.npy"


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        [f"part-{place}.csv" for place in (0, 1, 2, 10)],
        ["part-00000-5f2a.c000.snappy.parquet", "part-00001-5f2a.c000.snappy.parquet"],
        ["0000.parquet", "0001.parquet", "0002.parquet"],
        ["data_1.jsonl", "data_2.jsonl"],
        ["data-00000-of-00001.arrow"],
        ["rows-1.feather", "rows-2.feather"],
    ],
    ids=lambda names: names[0],
)
def test_shards_are_one_table_in_the_order_of_their_numbers(tmp_path, features, names):
    folder = parts(tmp_path / "data", names)
    (folder / "_SUCCESS").touch()
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text("{}")
    dataset = read(folder, features=features)
    assert dataset.ids.tolist() == [str(row) for row in range(12)]
    assert dataset.given.tolist() == [0, 1] * 6
    assert any("data: read as one table" in line for line in dataset.notices)


def test_a_list_column_and_other_columns_go_on_through_the_shards(tmp_path):
    folder = parts(tmp_path / "data", ["t-1.parquet", "t-2.parquet"], FRAME.assign(note="x"))
    dataset = read(folder, features="v")
    assert dataset.features[:, 0].tolist() == list(range(12))
    assert sum(batch.num_rows for batch in dataset.other_columns()) == 12


def test_a_column_without_values_in_one_shard_has_the_type_of_the_others(tmp_path, features):
    frame = FRAME.assign(note=[None] * 6 + ["x"] * 6)
    folder = parts(tmp_path / "data", ["t-1.parquet", "t-2.parquet"], frame)
    dataset = read(folder, features=features)
    notes = pa.Table.from_batches(dataset.other_columns())["note"].to_pylist()
    assert notes == [None] * 6 + ["x"] * 6


def test_numbers_of_csv_shards_are_told_from_all_of_them(tmp_path, features):
    frame = FRAME.assign(label=[str(row % 2) for row in range(6)] + ["a", "b"] * 3)
    folder = parts(tmp_path / "data", ["t-1.csv", "t-2.csv"], frame)
    assert read(folder, features=features).class_names == ("0", "1", "a", "b")


def test_a_pattern_names_the_files_of_one_split(tmp_path, features):
    folder = parts(tmp_path / "data", ["train-0.parquet", "train-1.parquet"])
    parts(folder, ["test-0.parquet"])
    with pytest.raises(InputError, match=r"holds several tables.*'.*/(test|train)-\*\.parquet'"):
        read(folder, features=features)
    dataset = read(folder / "train-*.parquet", features=features)
    assert len(dataset) == 12
    assert dataset.root == folder
    with pytest.raises(InputError, match="names no table"):
        read(folder / "dev-*.parquet", features=features)


def test_features_may_lie_in_shards_too(tmp_path):
    folder = parts(tmp_path / "data", ["t-1.csv", "t-2.csv"])
    keyed = parts(tmp_path / "x", ["x-1.parquet", "x-2.parquet"], FRAME.drop(columns="label"))
    assert read(folder, features=keyed).features[:, 0].tolist() == list(range(12))


def test_missing_shards_and_other_columns_are_refused(tmp_path, features):
    folder = parts(tmp_path / "data", ["t-00000-of-00003.parquet", "t-00001-of-00003.parquet"])
    with pytest.raises(InputError, match="one of 3 files, and 2 files are here"):
        read(folder, features=features)
    folder = parts(tmp_path / "more", ["t-1.parquet"])
    parts(folder, ["t-2.parquet"], FRAME.rename(columns={"v": "w"}))
    with pytest.raises(InputError, match=r"t-2\.parquet: has other columns than t-1\.parquet: 'v'"):
        read(folder, features=features)


def test_a_saved_dataset_of_several_splits_names_them(tmp_path):
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    with pytest.raises(InputError, match=r"holds the splits .train., .test.; give one.*train"):
        read(tmp_path)


def test_tables_that_are_no_shards_are_not_joined(tmp_path):
    folder = parts(tmp_path / "data", ["train.csv", "truth.csv"])
    with pytest.raises(InputError, match=r"give the table itself, such as .*train\.csv"):
        read(folder)


def test_notes_beside_a_saved_dataset_are_no_tables(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(InputError, match="give a folder that holds one folder of images a class"):
        read(tmp_path)


def test_one_result_for_the_same_rows_in_one_file_or_several(tmp_path, features):
    one = parts(tmp_path / "one", ["t-1.csv"])
    two = parts(tmp_path / "two", ["t-1.csv", "t-2.csv"])
    first, second = read(one, features=features), read(two, features=features)
    assert first.given.tolist() == second.given.tolist()
    assert first.fingerprint != second.fingerprint

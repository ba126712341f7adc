"""Labels spread over columns of 0 and 1."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from labelfix.errors import InputError
from labelfix.inputs import read, read_labelled, read_truth

CLASSES = ["cat", "dog", "owl"]
CODES = np.arange(30) % 3


@pytest.fixture
def features(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(30, 2)))
    return tmp_path / "x.npy"


def frame(codes=CODES, classes=CLASSES, kind=int):
    table = pd.DataFrame({"id": [f"r{row}" for row in range(len(codes))]})
    for code, name in enumerate(classes):
        table[name] = (codes == code).astype(kind)
    return table


def write(folder, table, name="d.csv"):
    table.to_parquet(folder / name) if name.endswith("parquet") else table.to_csv(
        folder / name, index=False
    )
    return folder / name


@pytest.mark.parametrize("kind", [int, float, bool])
@pytest.mark.parametrize("name", ["d.csv", "d.parquet"])
def test_one_hot_columns_are_the_labels(tmp_path, features, kind, name):
    dataset = read(write(tmp_path, frame(kind=kind), name), features=features)
    assert dataset.class_names == ("cat", "dog", "owl")
    assert dataset.given.tolist() == CODES.tolist()
    assert f"{name}: one-hot labels from the columns 'cat', 'dog', 'owl'" in dataset.notices
    passed = pa.Table.from_batches(dataset.other_columns())
    assert passed.column_names == CLASSES  # as they came, and without the joined column


def test_blanks_around_names_and_values(tmp_path, features):
    text = frame().to_csv(index=False).replace(",", ", ")
    (tmp_path / "d.csv").write_text(text)
    assert read(tmp_path / "d.csv", features=features).class_names == ("cat", "dog", "owl")


def test_rows_without_exactly_one_class_have_no_label(tmp_path, features):
    table = frame()
    table.loc[4, CLASSES] = 0
    dataset = read(write(tmp_path, table), features=features)
    assert dataset.given[4] == -1
    assert any("1 row without exactly one 1 have no label" in line for line in dataset.notices)


def test_one_of_the_columns_is_not_the_label(tmp_path, features):
    data = write(tmp_path, frame())
    with pytest.raises(InputError, match="column 'dog': is one of the one-hot columns 'cat', 'do"):
        read(data, features=features, label_column="dog")
    two = write(tmp_path, frame(CODES % 2, ["cat", "dog"]), "two.csv")
    assert read(two, features=features, label_column="dog").given.tolist() == (CODES % 2).tolist()


def test_several_ones_a_row_are_no_one_hot_labels(tmp_path, features):
    table = frame()
    table["owl"] = 1
    with pytest.raises(InputError, match="several columns could be the label"):
        read(write(tmp_path, table), features=features)


def test_a_label_column_stays_the_label_beside_one_hot_features(tmp_path, features):
    table = frame().assign(label=np.where(CODES == 1, "a", "b"))
    assert read(write(tmp_path, table), features=features).class_names == ("a", "b")


def test_another_column_that_may_be_the_label_is_not_passed_over(tmp_path, features):
    table = frame().assign(species=np.where(CODES == 1, "a", "b"))
    with pytest.raises(InputError, match=r"'species' and the one-hot columns.* species, or join"):
        read(write(tmp_path, table), features=features)
    assert read(write(tmp_path, table.assign(species=range(30))), features=features).given[1] == 1
    named = read(write(tmp_path, table), features=features, label_column="species")
    assert named.class_names == ("a", "b")


def test_clean_test_and_truth_tables_may_be_one_hot_too(tmp_path, features):
    data = write(tmp_path, frame())
    right = frame((CODES + 1) % 3)
    clean = write(tmp_path, right[:6], "c.csv")
    assert read(data, clean, features=features).clean[:6].tolist() == [1, 2, 0, 1, 2, 0]
    right = write(tmp_path, right, "t.csv")
    test = read_labelled(right, like=CLASSES, features=features)
    assert test.labels[:3].tolist() == [1, 2, 0]
    assert read_truth(right, ids=test.ids, like=CLASSES).labels[:3].tolist() == [1, 2, 0]

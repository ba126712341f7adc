"""Spellings of one class, and decimals that are class codes."""

import numpy as np
import pandas as pd
import pytest

from labelfix.errors import InputError
from labelfix.inputs import read, read_labelled, read_truth

SPELLED = [
    "Boots",
    "boots",
    "Boots ",
    "Boots",
    " BOOTS",
    "Shoe  Tree",
    "shoe tree",
    "Shoe  Tree",
] * 2


@pytest.fixture
def made(tmp_path):
    """Writes labels as a table of this name, with features; returns what `read` takes."""

    def write(labels, name="d.csv"):
        np.save(tmp_path / "x.npy", np.arange(2.0 * len(labels)).reshape(-1, 2))
        frame = pd.DataFrame({"id": range(len(labels)), "label": labels})
        path = tmp_path / name
        frame.to_csv(path, index=False) if name.endswith("csv") else frame.to_parquet(path)
        return {"data": path, "features": tmp_path / "x.npy"}

    return write


def clean_set(folder, labels):
    pd.DataFrame({"id": range(len(labels)), "label": labels}).to_csv(folder / "c.csv", index=False)
    return folder / "c.csv"


def test_spellings_that_differ_by_case_or_space_are_one_class(made, tmp_path):
    dataset = read(**made(SPELLED), clean=clean_set(tmp_path, ["BOOTS", "Shoe Tree", "boots"]))
    assert dataset.class_names == ("Boots", "Shoe  Tree")
    assert dataset.given.tolist() == [0, 0, 0, 0, 0, 1, 1, 1] * 2
    assert dataset.clean[:3].tolist() == [0, 1, 0]
    notice = next(line for line in dataset.notices if "spellings" in line)
    assert "'Boots' ('boots', 'Boots ', ' BOOTS')" in notice
    assert "--no-join-spellings" in notice


def test_spellings_are_kept_apart_if_a_person_says_so(made, tmp_path):
    clean = clean_set(tmp_path, ["boots", "Boots"])
    dataset = read(**made(SPELLED), clean=clean, join_spellings=False)
    assert len(dataset.class_names) == 6
    assert [dataset.class_names[code] for code in dataset.clean[:2]] == ["boots", "Boots"]
    with pytest.raises(InputError, match="'BOOTS' is not a class"):
        read(**made(SPELLED), clean=clean_set(tmp_path, ["BOOTS"]), join_spellings=False)


def test_single_letters_keep_their_case(made):
    assert read(**made(["a", "A", "b", "B", "a ", "A"] * 2)).class_names == ("A", "B", "a", "b")


def test_test_and_truth_tables_may_spell_classes_otherwise(made, tmp_path):
    right = clean_set(tmp_path, ["cat", "DOG"])
    assert read_labelled(right, like=["Cat", "Dog"], features=np_file(tmp_path, 2)).labels[1] == 1
    truth = read_truth(right, ids=np.array(["1", "0"], object), like=["Cat", "Dog"])
    assert truth.labels.tolist() == [1, 0]


def np_file(folder, rows):
    np.save(folder / "t.npy", np.arange(2.0 * rows).reshape(-1, 2))
    return folder / "t.npy"


@pytest.mark.parametrize("name", ["d.csv", "d.parquet"])
@pytest.mark.parametrize(
    "codes", [[62.01, 62.02, 10.71, 47.11], [2, 2.1, 2.21, 2.3], [0.5, 1.0, 1.5, 2.0]]
)
def test_few_decimals_in_many_rows_are_class_codes(made, name, codes):
    dataset = read(**made(codes * 30, name))
    assert sorted(map(float, dataset.class_names)) == sorted(codes)
    assert np.bincount(dataset.given).tolist() == [30] * 4


def test_codes_keep_the_text_of_the_file(made, tmp_path):
    dataset = read(**made(["1.1", "1.10", "1.2", "2.0"] * 30))
    assert dataset.class_names == ("1.1", "1.10", "1.2", "2.0")
    clean = clean_set(tmp_path, ["1.10", "1.1", "2"])
    dataset = read(**made(["1.1", "1.10", "1.2", "2.0"] * 30), clean=clean)
    assert [dataset.class_names[code] for code in dataset.clean[:3]] == ["1.10", "1.1", "2.0"]


def test_many_codes_with_gaps_are_codes_and_measures_are_not(made):
    random = np.random.default_rng(0)
    codes = random.choice(np.arange(100, 9_999), 200, replace=False) / 100
    assert len(read(**made(np.repeat(codes, 25))).class_names) == 200
    measured = np.arange(300, 420) / 10  # every tenth of a degree, each in many rows
    with pytest.raises(InputError, match=r"looks like a regression target.*--decimal-classes"):
        read(**made(np.repeat(measured, 25)))
    assert len(read(**made(np.repeat(measured, 25)), decimal_classes=True).class_names) == 120


def test_infinity_is_no_code(made):
    with pytest.raises(InputError, match=r"0\.5 looks like a regression target"):
        read(**made([0.5, np.inf, 1.5] * 30, "d.parquet"))


def test_a_clean_set_of_codes_that_the_data_lacks_is_refused(made, tmp_path):
    with pytest.raises(InputError, match=r"label '62.03' is not a class"):
        read(**made(["62.01", "62.02"] * 60), clean=clean_set(tmp_path, [62.01, 62.03]))

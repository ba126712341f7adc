"""Clean sets: several of them, answers that name no class, verdicts, and which column is taken."""

import numpy as np
import pandas as pd
import pytest

from labelfix.annotations import Answer, Drawn
from labelfix.errors import InputError
from labelfix.inputs import CleanSource, Columns, read

NAMES = ["cat", "dog", "owl"]
GIVEN = [NAMES[row % 3] for row in range(12)]
NONE, WRONG, UNSURE = Answer.NONE, Answer.WRONG, Answer.UNSURE


class Case:
    """DATA of twelve rows r0..r11 with features, and clean sets beside it."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.data = self.write("data.csv", {"id": self.ids(range(12)), "label": GIVEN})
        np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(12, 3)))

    @staticmethod
    def ids(rows):
        return [f"r{row}" for row in rows]

    def write(self, name, columns):
        pd.DataFrame(columns).to_csv(self.folder / name, index=False)
        return self.folder / name

    def checked(self, rows, **columns):
        """A clean set of these rows."""
        number = len(list(self.folder.glob("c*.csv")))
        return self.write(f"c{number}.csv", {"id": self.ids(rows), **columns})

    def read(self, *paths, **settings):
        source = CleanSource(paths=paths, **settings)
        return read(self.data, source, features=self.folder / "x.npy")


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def said(dataset, words):
    return any(words in line for line in dataset.notices)


def test_rows_of_several_clean_sets_add_up(case):
    one = case.checked([0, 1], label=["dog", "dog"])
    two = case.checked([1, 2, 3], label=["dog", "cat", "cat"])
    dataset = case.read(one, two)
    assert dataset.clean.tolist() == [1, 1, 0, 0] + [-1] * 8


def test_clean_sets_of_several_formats_and_columns(case):
    one = case.checked([0, 1], label=["dog", "dog"])
    two = case.folder / "two.parquet"
    pd.DataFrame({"id": ["r5"], "true_label": ["cat"]}).to_parquet(two)
    assert case.read(one, two).clean[[0, 1, 5]].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("answers", "agreed"),
    [
        (["dog", "dog"], 1),
        (["dog", "dog", "cat"], 1),
        (["dog", "cat"], -1),
        (["dog", "owl", "cat"], -1),
        (["dog", "unsure"], 1),
        (["unsure", "skip"], UNSURE),
        (["none", "none", "dog"], NONE),
        (["none", "dog"], -1),
    ],
)
@pytest.mark.parametrize("together", [False, True], ids=["several sets", "one set"])
def test_several_answers_to_one_row(case, answers, agreed, together):
    if together:
        sets = [case.checked([0] * len(answers), label=answers)]
    else:
        sets = [case.checked([0], label=[answer]) for answer in answers]
    dataset = case.read(case.checked([3, 4], label=["cat", "dog"]), *sets)
    assert dataset.answers[0] == agreed
    assert dataset.clean[0] == max(agreed, -1)
    assert said(dataset, "1 checked row set aside") == (agreed == -1)
    assert not said(dataset, "set aside") or said(dataset, "'r0'")


def test_a_random_draw_may_miss_classes(case):
    dataset = case.read(case.checked([0, 3], label=["cat", "cat"]))
    assert dataset.clean[[0, 3]].tolist() == [0, 0]
    assert said(dataset, "no checked row of 2 classes, learned from given labels alone: 'dog'")


def test_none_and_unsure_are_answers(case):
    labels = ["cat", "None of the classes", "unsure", "SKIP", None, "none"]
    dataset = case.read(case.checked(range(6), label=labels))
    assert dataset.answers[:6].tolist() == [0, NONE, UNSURE, UNSURE, -1, NONE]
    assert dataset.clean[:6].tolist() == [0, -1, -1, -1, -1, -1]
    assert said(dataset, "2 of none of the classes, 2 unsure")
    assert said(dataset, "1 row without an answer count as not checked")


def test_answers_beside_boolean_classes(case):
    case.data = case.write("d.csv", {"id": case.ids(range(12)), "label": [True, False] * 6})
    dataset = case.read(case.checked(range(3), label=["TRUE", "None of these", "Unsure"]))
    assert dataset.answers[:3].tolist() == [1, NONE, UNSURE]


def test_a_class_that_is_called_none_is_that_class(case):
    case.data = case.write("d.csv", {"id": case.ids(range(12)), "label": ["cat", "none"] * 6})
    assert case.read(case.checked([0, 1], label=["none", "none"])).answers[0] == 1


def test_a_decision_column_says_who_was_unsure(case):
    clean = case.checked(
        range(4), label=["cat", None, None, "owl"], decision=["label", "unsure", "skip", "none"]
    )
    assert case.read(clean).answers[:4].tolist() == [0, UNSURE, UNSURE, NONE]


def test_an_unknown_label_is_refused_with_the_nearest_class(case):
    with pytest.raises(InputError, match=r"row 2.*'dgo'.*did you mean 'dog'.*write 'none'"):
        case.read(case.checked([0, 1], label=["cat", "dgo"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("verification_label", [1, 0, 1]),
        ("verdict", ["right", "wrong", "right"]),
        ("is_correct", [True, False, True]),
        ("Is Correct?", ["yes", "no", "yes"]),
        ("correct", ["Y", "N", "Y"]),
    ],
)
@pytest.mark.parametrize("beside", [True, False], ids=["beside the label", "alone"])
def test_verdicts_on_the_given_labels(case, name, words, beside):
    label = {"label": GIVEN[:3]} if beside else {}
    dataset = case.read(case.checked(range(3), **label, **{name: words}))
    assert dataset.answers[:3].tolist() == [0, WRONG, 2]
    assert dataset.clean[:3].tolist() == [0, -1, 2]
    assert said(dataset, f"verdicts from column '{name}'")


def test_verdicts_with_corrections(case):
    clean = case.checked(
        range(5),
        label=GIVEN[:5],
        verdict=["right", "wrong", "wrong", None, "unsure"],
        corrected_label=[None, "owl", None, None, None],
    )
    assert case.read(clean).answers[:5].tolist() == [0, 2, WRONG, -1, UNSURE]


def test_a_label_beside_a_no_is_the_correction_where_it_differs(case):
    clean = case.checked([0, 1, 2], label=["cat", "owl", "owl"], is_correct=["yes", "no", "no"])
    assert case.read(clean).answers[:3].tolist() == [0, 2, WRONG]


def test_verdicts_of_rows_that_are_not_in_the_data_teach_only_what_is_right(case):
    ids = case.ids(range(14))
    keyed = pd.DataFrame(np.random.default_rng(0).normal(size=(14, 2)), columns=["a", "b"])
    keyed.assign(id=ids).to_parquet(case.folder / "keyed.parquet")
    clean = case.checked([0, 12, 13], label=["cat", "dog", "dog"], verdict=["yes", "yes", "no"])
    dataset = read(case.data, clean, features=case.folder / "keyed.parquet")
    assert dataset.answers[0] == 0
    assert dataset.clean_labels.tolist() == [1]
    assert dataset.clean_rows.rows.tolist() == [1]


def test_classes_that_are_yes_and_no_are_labels(case):
    case.data = case.write("d.csv", {"id": case.ids(range(12)), "correct": ["yes", "no"] * 6})
    clean = case.checked([0, 1], correct=["no", "no"])
    assert case.read(clean).clean[:2].tolist() == [0, 0]


@pytest.mark.parametrize(
    "name", ["corrected_label", "clean_label", "True Label", "ground-truth", "verified_label"]
)
def test_right_labels_are_found_by_their_name_beside_the_given_ones(case, name):
    clean = case.checked(range(4), label=GIVEN[:4], **{name: ["dog", "dog", "dog", "cat"]})
    dataset = case.read(clean)
    assert dataset.clean[:4].tolist() == [1, 1, 1, 0]
    assert said(dataset, f"right labels from column '{name}'")


def test_the_right_column_may_be_named(case):
    clean = case.checked(range(3), label=GIVEN[:3], ann=["dog", "dog", "dog"])
    other = case.checked([5], label=["cat"])
    dataset = case.read(clean, other, columns=Columns(label="ann"))
    assert dataset.clean[[0, 1, 2, 5]].tolist() == [1, 1, 1, 0]
    with pytest.raises(InputError, match=r"'anne'.*did you mean 'ann'\? --clean-label-column"):
        case.read(clean, other, columns=Columns(label="anne"))


def test_two_columns_of_right_labels_that_differ_are_refused_by_name(case):
    columns = {"corrected_label": ["dog", "dog", "cat"], "true_label": ["dog", "owl", "cat"]}
    clean = case.checked(range(3), **columns)
    with pytest.raises(
        InputError, match=r"'corrected_label' and 'true_label' both.*--clean-label-column"
    ):
        case.read(clean)
    assert case.read(clean, columns=Columns(label="true_label")).clean[1] == 2
    columns["true_label"] = ["dog", None, "cat"]
    assert case.read(case.checked(range(3), **columns)).clean[1] == 1


def test_labels_that_repeat_the_given_ones_are_not_taken_beside_others(case):
    clean = case.checked(range(3), label=GIVEN[:3], fixed=["dog", "dog", "owl"])
    with pytest.raises(InputError, match=r"'label' repeats.*'fixed' differs.*clean-label-column"):
        case.read(clean)
    assert case.read(clean, columns=Columns(label="label")).clean[:3].tolist() == [0, 1, 2]
    assert case.read(clean, columns=Columns(label="fixed")).clean[:3].tolist() == [1, 1, 2]


def test_the_noisy_column_of_the_data_is_not_the_right_one(case):
    case.data = case.write("d.csv", {"id": case.ids(range(12)), "noisy_label": GIVEN})
    clean = case.checked(range(2), noisy_label=GIVEN[:2], label=["dog", "owl"])
    assert case.read(clean).clean[:2].tolist() == [1, 2]


def test_the_data_itself_may_hold_the_right_labels_of_some_rows(case):
    right = [None] * 9 + ["cat", "cat", "owl"]
    columns = {"id": case.ids(range(12)), "label": GIVEN, "corrected_label": right}
    case.data = case.write("d.csv", columns)
    dataset = case.read(case.data)
    assert dataset.given[:3].tolist() == [0, 1, 2]
    assert dataset.clean.tolist() == [-1] * 9 + [0, 0, 2]
    with pytest.raises(InputError, match="is the dataset itself"):
        case.read(case.data, columns=Columns(label="label"))


def test_how_rows_were_drawn_is_kept_row_by_row(case):
    one = case.checked([0, 1], label=["cat", "dog"])
    two = case.checked([1, 2], label=["dog", "owl"])
    assert set(case.read(one, two).drawn[:3]) == {Drawn.UNKNOWN}
    assert set(case.read(one, two, drawn=(Drawn.RANDOM,)).drawn[:3]) == {Drawn.RANDOM}
    drawn = case.read(one, two, drawn=(Drawn.CHOSEN, Drawn.RANDOM)).drawn
    assert drawn[:3].tolist() == [Drawn.CHOSEN, Drawn.RANDOM, Drawn.RANDOM]
    with pytest.raises(InputError, match="given 3 times for 2 clean sets"):
        case.read(one, two, drawn=(Drawn.CHOSEN,) * 3)
    with pytest.raises(InputError, match="without --clean-set"):
        case.read(drawn=(Drawn.CHOSEN,))


def test_a_column_filled_only_where_it_differs_is_no_random_draw(case):
    fixes = [None, "owl", None, "dog"]
    dataset = case.read(case.checked(range(4), label=GIVEN[:4], corrected_label=fixes))
    assert dataset.clean[:4].tolist() == [-1, 2, -1, 1]
    assert dataset.drawn[[1, 3]].tolist() == [Drawn.CHOSEN] * 2
    assert said(dataset, "taken as chosen, not as drawn at random")


def test_what_was_taken_is_said(case):
    dataset = case.read(case.checked([0, 1], label=["dog", "dog"]))
    assert dataset.notices == (
        "data.csv: columns taken: label 'label', id 'id'",
        "data.csv: labels from column 'label': 3 classes: cat 4, dog 4, owl 4",
        "data.csv: 3 classes with fewer than 5 rows: 'cat', 'dog', 'owl'",
        "features: 3 numbers a row, from x.npy",
        "c0.csv: 2 checked rows, 2 of them rows of data.csv",
        "c0.csv: right labels from column 'label': 1 class: dog 2",
        "c0.csv: no checked row of 2 classes, learned from given labels alone: 'cat', 'owl'",
    )

"""labelfix.purify and labelfix.read: arrays in, arrays out."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

import labelfix
from labelfix import contract

NAMES = np.array(["ant", "bee", "cat", None], dtype=object)


@pytest.fixture
def made(blobs):
    return blobs(rows=200, missing=15)


def audited(made, names=NAMES):
    return {int(row): names[made.checked[row]] for row in np.flatnonzero(made.checked >= 0)}


def purify(made, given=None, features=None, **settings):
    settings = {"audited": audited(made), "device": "cpu", "method": "dmlp"} | settings
    return labelfix.purify(
        made.features if features is None else features,
        NAMES[made.given] if given is None else given,
        **settings,
    )


def test_strings(made):
    result = purify(made)
    truth = NAMES[made.right]
    assert result.labels.tolist() != NAMES[made.given].tolist()
    assert (result.labels == truth).mean() > (NAMES[made.given] == truth).mean() + 0.1
    assert result.classes.tolist() == ["ant", "bee", "cat"]
    assert result.soft_labels.shape == (200, 3)
    assert set(result.decisions) <= set(contract.DECISIONS)
    assert ((result.decisions == "fill") == (made.given < 0) & (made.checked < 0)).all()
    assert ((result.decisions == "checked") == (made.checked >= 0)).all()
    assert result.weights.shape == (200,)
    assert sorted(result.review_ranks) == list(range(1, 201))
    assert result.evidence.rows == ((made.checked >= 0) & (made.given >= 0)).sum()
    assert 0.1 < result.noise_rate < 0.5


def test_lists_arrays_series_and_tensors_give_the_same(made):
    codes = made.given.astype(float)
    codes[made.given < 0] = math.nan
    expected = purify(made)
    known = {row: int(made.checked[row]) for row in audited(made)}
    words = NAMES[made.given]
    for given in (words.tolist(), pd.Series(words), pd.Categorical(words)):
        assert np.array_equal(purify(made, given).soft_labels, expected.soft_labels)
    for given in (
        [None if code < 0 else int(code) for code in made.given],
        codes,
        torch.from_numpy(codes),
        pd.Series(codes).astype("Int64"),
    ):
        found = purify(made, given, audited=known)
        assert np.array_equal(found.soft_labels, expected.soft_labels)
        assert found.labels.tolist() == [
            ["ant", "bee", "cat"].index(name) for name in expected.labels
        ]
    tensors = labelfix.purify(
        torch.from_numpy(made.features).requires_grad_(),
        words.tolist(),
        audited=audited(made),
        device="cpu",
        method="dmlp",
    )
    assert np.array_equal(tensors.soft_labels, expected.soft_labels)


@pytest.mark.parametrize(
    "wrapped",
    [
        pd.DataFrame,
        lambda bits: pd.DataFrame(bits).astype({0: float, 1: "boolean", 2: "Int64"}),
        lambda bits: bits.astype(np.float64),
        lambda bits: torch.from_numpy(bits).bfloat16(),
        lambda bits: bits.astype(int).tolist(),
    ],
    ids=["bool frame", "mixed frame", "float64", "bfloat16", "lists"],
)
def test_booleans_are_0_and_1_in_whatever_holds_them(made, wrapped):
    bits = made.features > 0.5
    expected = purify(made, features=bits.astype(np.float32)).soft_labels
    assert np.array_equal(purify(made, features=bits).soft_labels, expected)
    assert np.array_equal(purify(made, features=wrapped(bits)).soft_labels, expected)


@pytest.mark.parametrize(
    "wrapped",
    [
        pd.Series,
        lambda known: pd.Series(known, dtype="category"),
        lambda known: {float(row): label for row, label in known.items()},
        lambda known: {np.int64(row): np.array(label) for row, label in known.items()},
        lambda known: {np.int64(row): np.array([label])[0] for row, label in known.items()},
    ],
    ids=["Series", "categories", "float rows", "0-d arrays", "NumPy scalars"],
)
def test_audited_rows_in_whatever_holds_them(made, wrapped):
    found = purify(made, audited=wrapped(audited(made)))
    assert np.array_equal(found.soft_labels, purify(made).soft_labels)


def test_tensors_as_audited_labels(blobs):
    made = blobs(rows=200)
    known = audited(made, names=np.arange(3))
    found = purify(
        made, made.given, audited={torch.tensor(k): torch.tensor(v) for k, v in known.items()}
    )
    expected = purify(made, made.given, audited={k: int(v) for k, v in known.items()})
    assert np.array_equal(found.soft_labels, expected.soft_labels)


def test_integers_stay_integers(blobs):
    made = blobs(rows=200)
    given = (10 * made.given + 10).astype(np.int64)
    known = {row: int(10 * made.checked[row] + 10) for row in audited(made)}
    result = labelfix.purify(made.features, given, audited=known, device="cpu", method="dmlp")
    assert np.issubdtype(result.labels.dtype, np.integer)
    assert result.classes.tolist() == [10, 20, 30]
    assert set(result.labels.tolist()) == {10, 20, 30}


def test_clean_rows_beside_the_features(made):
    rows = made.checked >= 0
    rest = ~rows
    result = labelfix.purify(
        made.features[rest],
        NAMES[made.given[rest]],
        clean_features=made.features[rows],
        clean_labels=NAMES[made.checked[rows]],
        device="cpu",
        method="dmlp",
    )
    assert len(result.labels) == rest.sum()
    assert sorted(result.review_ranks) == list(range(1, rest.sum() + 1))
    assert not result.evidence.audited  # nobody audited a given label
    assert math.isnan(result.evidence.label_accuracy_before.low)
    had = made.given[rest] >= 0
    truth = NAMES[made.right[rest]]
    assert (result.labels == truth)[had].mean() >= (NAMES[made.given[rest]] == truth)[had].mean()


def test_to_parquet_and_read(made, tmp_path):
    result = purify(made)
    result.to_parquet(tmp_path / "labels.parquet")
    found = labelfix.read(tmp_path / "labels.parquet")
    assert found.ids.tolist() == [str(row) for row in range(200)]
    assert np.array_equal(found.soft_label, result.soft_labels)
    assert np.array(found.class_names)[found.label].tolist() == result.labels.tolist()
    assert found.metadata["evidence"] == "audited"
    assert found.metadata["noise_rate"] == result.noise_rate
    purify(made).to_parquet(str(tmp_path / "again.parquet"))
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "labels.parquet").read_bytes()


def test_to_parquet_says_where_it_cannot_write(made, tmp_path):
    result = purify(made)
    with pytest.raises(labelfix.InputError, match="missing/folder: there is no such folder; make"):
        result.to_parquet(tmp_path / "missing/folder/labels.parquet")
    with pytest.raises(labelfix.InputError, match="is a folder; name a file in it"):
        result.to_parquet(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_seed_another_result(made):
    assert not np.array_equal(purify(made, seed=0).soft_labels, purify(made, seed=1).soft_labels)


def test_min_precision(made):
    loose, strict = purify(made), purify(made, min_precision=0.999)
    assert (strict.decisions == "correct").sum() < (loose.decisions == "correct").sum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given": ["ant"]}, "given holds 1 labels for 200 rows"),
        ({"given": ["ant"] * 200}, "given holds 1 distinct labels"),
        ({"given": ["ant", 1] * 100}, "given mixes strings and numbers"),
        ({"given": None}, "given is of type NoneType; pass a list or an array of one label a row"),
        ({"given": "ant"}, "given is of type str"),
        ({"given": {0: "ant", 1: "bee"}}, "given is of type dict"),
        ({"given": np.zeros((200, 1))}, r"given has shape \(200, 1\); pass shape \(rows,\)"),
        ({"given": torch.eye(200)}, r"given has shape \(200, 200\); .* one-hot rows, the argmax"),
        ({"given": pd.DataFrame({"label": ["ant", "bee"]})}, r"given has shape \(2, 1\)"),
        ({"given": ["ant", ("bee", 1)] * 100}, r"given\[1\] is of type tuple; pass a string or"),
        ({"given": [[0, 1], [1, 0]] * 100}, r"given\[0\] is of type list"),
        ({"audited": {}, "method": "dmlp"}, "there are no checked rows"),
        ({"audited": {0: "ant"}}, "there is one checked row"),
        ({"audited": {200: "ant"}}, "audited names row 200; use row numbers from 0 to 199"),
        ({"audited": {-1: "ant"}}, "audited names row -1"),
        ({"audited": {3: "cow"}}, r"audited\[3\] holds 'cow', which no given label is"),
        ({"audited": {0: "ant", 70: "cow"}}, r"audited\[70\] holds 'cow'"),
        ({"audited": {"3": "ant"}}, "audited names row '3'; use row numbers from 0 to 199"),
        ({"audited": {2.5: "ant"}}, "audited names row 2.5"),
        ({"audited": {math.nan: "ant"}}, "audited names row nan"),
        ({"audited": {None: "ant"}}, "audited names row None"),
        ({"audited": pd.Series(["ant", "bee"], index=[3, 3])}, "audited names row 3 twice"),
        ({"audited": ["ant", "bee"]}, "audited is of type list; pass {row number: right label}"),
        ({"audited": {0: "ant", 9: None}}, r"audited\[9\] is no label; leave out rows that nobody"),
        ({"audited": {9: math.nan}}, r"audited\[9\] is no label"),
        ({"audited": {9: ["ant"]}}, r"audited\[9\] is of type list; pass a string or a number"),
        ({"audited": {9: np.array(["ant"])}}, r"audited\[9\] is of type ndarray"),
        ({"clean_labels": ["ant"]}, "clean_labels come without clean_features"),
        (
            {"clean_labels": ["ant"], "clean_features": np.zeros((2, 8))},
            r"clean_features have shape \(2, 8\); pass \(1, 8\)",
        ),
        (
            {"clean_labels": ["cow"], "clean_features": np.ones((1, 8))},
            r"clean_labels\[0\] holds 'cow'",
        ),
        (
            {"clean_labels": ["ant", None], "clean_features": np.ones((2, 8))},
            r"clean_labels\[1\] is no label; leave out rows that nobody checked",
        ),
        (
            {"clean_labels": ["ant"], "clean_features": np.full((1, 8), np.inf)},
            r"clean_features\[0\] holds NaN, infinity",
        ),
        ({"features": np.zeros(200)}, r"features have shape \(200,\)"),
        ({"features": np.full((200, 8), "x")}, "features have shape"),
        ({"features": np.full((200, 8), np.nan)}, r"features\[0\] holds NaN"),
        ({"features": np.full((200, 8), 1e300)}, r"features\[0\] holds .* more than float32 can"),
        ({"features": np.zeros((200, 0))}, "with a column at least"),
        ({"features": np.ones((200, 8), complex)}, "type complex128; pass real numbers"),
        ({"features": pd.DataFrame({"a": ["x"] * 200})}, r"features have shape \(200, 1\)"),
        ({"features": [[1, 2], [3]] * 100}, "features cannot become an array; pass rows of numb"),
        ({"features": np.zeros((200, 8))}, "only 1 rows differ from each other"),
        ({"method": "magic"}, "method"),
        ({"device": "abacus"}, "device"),
        ({"min_precision": 2.0}, "min-precision"),
    ],
)
def test_errors(made, change, message):
    arguments = {
        "features": made.features, "given": NAMES[made.given].tolist(), "audited": audited(made),
    }  # fmt: skip
    with pytest.raises(labelfix.InputError, match=message):
        labelfix.purify(**arguments | change)


def test_the_packages_names():
    assert set(labelfix.__all__) == {
        "DegenerateLearningError", "InputError", "Result", "purify", "read",
    }  # fmt: skip
    assert all(hasattr(labelfix, name) for name in labelfix.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = labelfix.nothing
    assert labelfix.__version__


def test_a_result_can_be_pickled(made):
    result = purify(made)
    assert pickle.loads(pickle.dumps(result)).labels.tolist() == result.labels.tolist()

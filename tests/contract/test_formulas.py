"""Decision, weight and review rank by hand, and one formula for writer and reader alike."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from labelfix import contract
from labelfix.contract import Decision, formulas

NOBODY = np.zeros(6, dtype=bool)


def test_weights_by_hand():
    soft = np.array([[1, 0, 0, 0], [0.25] * 4, [0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]])
    label = np.array([0, 2, 1, 1], dtype=np.int32)
    found = formulas.weight(label, soft.astype(np.float32))
    assert found.tolist() == pytest.approx([1.0, 0.0, 0.6, 0.0], abs=1e-6)


def test_review_ranks_by_hand():
    soft = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.0, 1.0]])
    given = np.array([0, 0, -1, 1, 0, 0], dtype=np.int32)
    found = formulas.review_rank(given, soft.astype(np.float32), np.arange(6) == 5)
    assert found.tolist() == [4, 1, 2, 3, 5, 6]  # doubts .1 .8 .4 .3 .1, and the checked row last


def test_decisions_by_hand():
    soft = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9], [1.0, 0.0]])
    given = np.array([0, 0, 0, 1, -1, -1], dtype=np.int32)
    label = np.array([0, 1, 0, 1, 1, 0], dtype=np.int32)
    found = formulas.decision(given, label, soft.astype(np.float32), np.arange(6) == 5)
    assert [contract.DECISIONS[code] for code in found] == [
        "keep", "correct", "review", "keep", "fill", "checked",
    ]  # fmt: skip


def purified(rows=300, seed=0):
    """Labels as purify makes them: everything but the model's own opinion follows."""
    random = np.random.default_rng(seed)
    soft = random.dirichlet([0.4] * 3, rows).astype(np.float32)
    given = random.integers(-1, 3, rows).astype(np.int32)
    label = np.where(random.random(rows) < 0.3, given, soft.argmax(1))
    label = np.where(label < 0, soft.argmax(1), label).astype(np.int32)
    checked = np.arange(rows) < 20
    soft[checked] = np.eye(3, dtype=np.float32)[label[checked]]
    columns = {
        "id": np.array([str(row) for row in range(rows)], dtype=object),
        "given_label": given,
        "label": label,
        "decision": contract.decision(given, label, soft, checked),
        "soft_label": soft,
    }
    return contract.complete(columns, ("ant", "bee", "cat"), {})


@pytest.mark.parametrize("name", ["weight", "review_rank"])
def test_a_file_that_leaves_a_column_out_means_what_purify_would_write(tmp_path, name):
    labels, path = purified(), tmp_path / "labels.parquet"
    contract.write_labels(path, labels)
    pq.write_table(pq.read_table(path).drop_columns([name]), path)
    assert np.array_equal(getattr(contract.read_labels(path), name), getattr(labels, name))


def test_decisions_that_are_left_out_follow_but_for_the_checks(tmp_path):
    labels, path = purified(), tmp_path / "labels.parquet"
    contract.write_labels(path, labels)
    pq.write_table(pq.read_table(path).drop_columns(["decision", "review_rank"]), path)
    found, free = contract.read_labels(path), ~labels.checked
    assert np.array_equal(found.decision[free], labels.decision[free])
    assert not found.checked.any()
    assert {Decision.KEEP, Decision.CORRECT, Decision.REVIEW, Decision.FILL} <= {*found.decision}
    assert sorted(found.review_rank) == list(range(1, 301))


def test_ranks_of_a_file_without_ranks_find_wrong_labels_as_well(tmp_path):
    """A label that was changed is as suspicious as before, however sure the new one is."""
    soft = np.array([[0.99, 0.01], [0.02, 0.98], [0.7, 0.3], [0.6, 0.4]], dtype=np.float32)
    columns = {
        "id": np.array(list("abcd"), dtype=object),
        "given_label": np.array([0, 0, 0, 0], dtype=np.int32),
        "label": np.array([0, 1, 0, 0], dtype=np.int32),
        "soft_label": soft,
    }
    path = tmp_path / "labels.parquet"
    contract.write_labels(path, contract.complete(columns, ("no", "yes"), {}))
    pq.write_table(pq.read_table(path).drop_columns(["review_rank", "weight"]), path)
    assert contract.read_labels(path).review_rank.tolist() == [4, 1, 3, 2]

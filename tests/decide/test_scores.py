"""The scores of rows: ranges, what may move what, and that they find wrong labels."""

from dataclasses import replace

import numpy as np
import pytest
from builders import make_blobs
from sklearn.metrics import roc_auc_score

from labelfix.annotations import Annotations
from labelfix.decide.scores import ScoreConfig, score
from labelfix.features.neighbours import NeighbourConfig, nearest
from labelfix.features.standardise import BLOCK_ROWS, Stacked

ROWS = 600


def scored_rows(seed=0, **settings):
    """Blobs with an honest posterior: sharp where a row's distances to the centres say so."""
    blobs = make_blobs(rows=ROWS, spread=3.0, seed=seed, **settings)
    means = np.stack([blobs.features[blobs.right == k].mean(0) for k in range(3)])
    logits = -0.5 * ((blobs.features[:, None] - means) ** 2).sum(2)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return blobs, np.exp(logs), logs


def run(blobs, soft, logs, *, given=None, checked=None, **settings):
    return score(
        blobs.features,
        nearest(blobs.features),
        Annotations.of(
            blobs.given if given is None else given,
            blobs.checked if checked is None else checked,
            blobs.folds,
            3,
        ),
        soft,
        logs,
        **settings,
    )


def columns(scores):
    return scores.label_reliability, scores.pseudo_reliability, scores.clid


NOBODY = np.full(ROWS, -1, np.int32)


@pytest.mark.parametrize("steered", [True, False])
def test_ranges_and_missing_labels(steered):
    blobs, soft, logs = scored_rows(missing=40)
    found = run(blobs, soft, logs, checked=None if steered else NOBODY)
    assert found.direction == ("soft_labels" if steered else "clid")
    for column in columns(found):
        assert column.dtype == np.float32
        assert column.shape == (ROWS,)
    missing = blobs.given < 0
    assert missing.sum() == 40
    assert np.array_equal(np.isnan(found.label_reliability), missing)
    for column in (found.label_reliability[~missing], found.pseudo_reliability):
        assert (column >= 0).all()
        assert (column <= 1).all()
    assert np.isfinite(found.clid).all()
    assert (found.clid >= 0).all()


@pytest.mark.parametrize("steered", [True, False])
def test_they_find_wrong_labels(steered):
    blobs, soft, logs = scored_rows()
    found = run(blobs, soft, logs, checked=None if steered else NOBODY)
    wrong = blobs.given != blobs.right
    assert roc_auc_score(wrong, -found.label_reliability) > 0.95
    assert roc_auc_score(wrong, found.clid) > 0.95
    assert found.label_reliability[wrong].mean() < 0.5 < found.label_reliability[~wrong].mean()


def test_pseudo_reliability_finds_the_models_mistakes():
    blobs, soft, logs = scored_rows()
    mistaken = np.random.default_rng(1).permutation(ROWS)[:80]
    logs = logs.copy()
    logs[mistaken] = np.roll(logs[mistaken], 1, axis=1)
    found = run(blobs, soft, logs)
    wrong = logs.argmax(1) != blobs.right
    assert roc_auc_score(wrong, -found.pseudo_reliability) > 0.9


@pytest.mark.parametrize("steered", [True, False])
def test_own_folds_given_labels_do_not_teach_its_head(steered):
    blobs, soft, logs = scored_rows()
    checked = None if steered else NOBODY
    before = run(blobs, soft, logs, checked=checked)
    own = blobs.folds == 2
    given = np.where(own, (blobs.given + 1) % 3, blobs.given).astype(np.int32)
    after = run(blobs, soft, logs, given=given, checked=checked)
    assert np.array_equal(after.pseudo_reliability[own], before.pseudo_reliability[own])
    assert not np.allclose(after.label_reliability[own], before.label_reliability[own], atol=0.1)


def test_one_rows_label_moves_its_own_scores_only():
    blobs, soft, logs = scored_rows()
    given = blobs.given.copy()
    given[7] = (given[7] + 1) % 3
    before, after = run(blobs, soft, logs), run(blobs, soft, logs, given=given)
    others = np.arange(ROWS) != 7
    for old, new in zip(columns(before), columns(after), strict=True):
        assert np.array_equal(old[others], new[others])
    assert before.label_reliability[7] != after.label_reliability[7]
    assert before.pseudo_reliability[7] == after.pseudo_reliability[7]


def test_own_folds_soft_labels_do_not_teach_its_head():
    blobs, soft, logs = scored_rows()
    own = blobs.folds == 1
    swapped = np.where(own[:, None], soft[:, ::-1], soft)
    before, after = run(blobs, soft, logs), run(blobs, swapped, logs)
    for old, new in zip(columns(before)[:2], columns(after)[:2], strict=True):
        assert np.array_equal(old[own], new[own])
        assert not np.array_equal(old[~own], new[~own])


@pytest.mark.parametrize("steered", [True, False])
def test_two_runs_agree(steered):
    blobs, soft, logs = scored_rows(missing=10)
    checked = None if steered else NOBODY
    first, second = (run(blobs, soft, logs, checked=checked) for _ in range(2))
    for a, b in zip(columns(first), columns(second), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_blocks_do_not_matter():
    blobs = make_blobs(rows=BLOCK_ROWS + 300, checked=60)
    soft = np.full((len(blobs.given), 3), 0.2, np.float32)
    soft[np.arange(len(soft)), blobs.right] = 0.6
    arguments = (blobs.annotations, soft, np.log(soft))
    stacked = Stacked(blobs.features[:50], blobs.features[50:])
    whole, parts = (
        score(rows, nearest(rows, NeighbourConfig(neighbours=5)), *arguments)
        for rows in (blobs.features, stacked)
    )
    for a, b in zip(columns(whole), columns(parts), strict=True):
        assert np.array_equal(a, b)
    assert np.isfinite(whole.clid).all()


def test_nothing_to_learn():
    blobs, soft, logs = scored_rows()
    flat = np.full_like(soft, 1 / 3)
    found = run(blobs, flat, logs)
    np.testing.assert_allclose(found.label_reliability, 0.5)


def test_bad_input():
    blobs, soft, logs = scored_rows()
    with pytest.raises(ValueError, match="length"):
        run(blobs, soft[:-1], logs)
    graph = nearest(blobs.features)
    with pytest.raises(ValueError, match="folds"):
        score(blobs.features, graph, replace(blobs.annotations, folds=0 * blobs.folds), soft, logs)
    with pytest.raises(ValueError, match="ridge"):
        ScoreConfig(ridge=0.0)
    with pytest.raises(ValueError, match="passes"):
        ScoreConfig(passes=0)

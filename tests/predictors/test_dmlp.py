"""DMLP as a method: better labels, blind to the hidden fold, the same bytes."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from labelfix.annotations import Annotations
from labelfix.errors import DegenerateLearningError
from labelfix.features import folds, standardise
from labelfix.features.standardise import Stacked
from labelfix.predictors import dmlp


def run(made, **settings):
    config = dmlp.DMLPConfig(**settings)
    return dmlp.out_of_fold(made.features, made.annotations, config=config)


def accuracy(found, made):
    return float((found.log_probabilities.argmax(1) == made.right).mean())


def test_predictions_are_better_than_the_given_labels(blobs):
    made = blobs(noise=0.4)
    found = run(made)
    assert np.allclose(np.exp(found.log_probabilities).sum(1), 1, atol=1e-5)
    assert found.log_probabilities.dtype == np.float32
    assert accuracy(found, made) > 0.85 > 0.65 > (made.given == made.right).mean()
    assert len(found.history) == 3
    assert all(0 < entry["checked_accuracy"] <= 1 for entry in found.history)


def test_digits_with_forty_percent_noise():
    images, right = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    right = right.astype(np.int32)
    wrong = random.random(len(right)) < 0.4
    given = np.where(wrong, (right + random.integers(1, 10, len(right))) % 10, right)
    checked = np.full(len(right), -1, np.int32)
    chosen = np.concatenate([np.flatnonzero(right == code)[:10] for code in range(10)])
    checked[chosen] = right[chosen]
    fold = folds.assign(np.arange(len(right)).astype(np.uint64), checked)
    notes = Annotations.of(given.astype(np.int32), checked, fold, 10)
    found = dmlp.out_of_fold(images.astype(np.float32), notes)
    assert (found.log_probabilities.argmax(1) == right).mean() > 0.85


@pytest.mark.parametrize("passes", [0, 20])
def test_no_label_of_a_fold_reaches_its_predictions(blobs, passes):
    made = blobs(missing=20)
    before = run(made, passes=passes)
    own = made.folds == 2
    made.given[own] = (made.given[own] + 2) % 3
    made.checked[own & (made.checked >= 0)] = 1
    after = run(made, passes=passes)
    assert before.chosen[2] == after.chosen[2]
    difference = np.abs(before.log_probabilities - after.log_probabilities)
    assert difference[own].max() < 1e-6
    assert difference[~own].max() > 1e-3


def test_the_same_input_gives_the_same_bytes(blobs):
    first, second = run(blobs()), run(blobs())
    assert first.log_probabilities.tobytes() == second.log_probabilities.tobytes()
    assert first.history == second.history


def test_block_size_does_not_matter(blobs, monkeypatch):
    made = blobs()
    whole = run(made)
    monkeypatch.setattr(standardise, "BLOCK_ROWS", 37)
    assert np.allclose(run(made).log_probabilities, whole.log_probabilities, atol=5e-3)


def test_memory_mapped_half_precision_equals_memory(blobs, tmp_path, monkeypatch):
    made = blobs()
    half = made.features.astype(np.float16)
    np.save(tmp_path / "features.npy", half)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    held = dmlp.out_of_fold(half, made.annotations)
    monkeypatch.setattr(standardise, "HELD_BYTES", 0)
    streamed = dmlp.out_of_fold(mapped, made.annotations)
    assert np.allclose(streamed.log_probabilities, held.log_probabilities, atol=1e-4)
    stacked = dmlp.out_of_fold(Stacked(mapped[:200], mapped[200:]), made.annotations)
    assert np.array_equal(stacked.log_probabilities, streamed.log_probabilities)


def test_rows_without_labels_are_predicted_too(blobs):
    made = blobs(missing=100)
    found = run(made)
    unlabelled = made.given < 0
    assert unlabelled.sum() == 100
    hit = found.log_probabilities.argmax(1) == made.right
    assert hit[unlabelled].mean() > 0.85


@pytest.mark.parametrize("checked", [150, 270, 299, 300])
def test_many_checked_rows_do_not_make_it_diverge(blobs, checked):
    made = blobs(checked=checked)
    found = run(made)
    assert accuracy(found, made) > 0.9
    assert all(entry["checked_log_loss"] < 0.5 for entry in found.history)


def test_more_columns_than_rows(blobs):
    made = blobs(rows=200, columns=256, spread=6.0, checked=40)
    found = run(made)
    assert accuracy(found, made) > 0.8
    assert all(entry["checked_log_loss"] < 1 for entry in found.history)


def test_a_class_checked_in_one_fold_only(blobs):
    made = blobs()
    made.checked[(made.checked == 2) & (made.folds != 0)] = -1
    assert (made.folds[made.checked == 2] == 0).all()
    found = run(made)
    assert np.isfinite(found.log_probabilities).all()
    assert accuracy(found, made) > 0.8


def test_features_that_are_not_finite_are_refused(blobs):
    made = blobs()
    made.features[0, 0] = np.inf
    with np.errstate(invalid="ignore"), pytest.raises((DegenerateLearningError, RuntimeError)):
        run(made)


def test_progress_counts_every_pass(blobs):
    made, seen = blobs(rows=60), []
    config = dmlp.DMLPConfig(warm_up=2, passes=3, period=2)
    dmlp.out_of_fold(
        made.features, made.annotations,
        config=config, on_pass=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("warm_up", 0), ("passes", -1), ("period", 0), ("eac_momentum", 1.1), ("scale", 0.0)],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        dmlp.DMLPConfig(**{name: value})

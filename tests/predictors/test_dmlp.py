"""DMLP: its equations against the paper's literal algebra, and the method on blobs and digits."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tensors import draw, relative

from labelfix.equations import dmlp as eq
from labelfix.equations.ridge import ridge_solve, ridge_spectrum
from labelfix.errors import DegenerateLearningError
from labelfix.features import folds, standardise
from labelfix.features.standardise import Design, Stacked
from labelfix.predictors import dmlp

# --- IPC ------------------------------------------------------------------------------------


def literal_loss(labels_NK, features, clean, clean_NK, keep_N, keep_V, prior, settings):
    """Eq. 4 to 6 as the paper writes them, row-major, one fold: solve, predict, square, entropy."""
    scale, ridge, entropy_weight, prior_weight = settings
    targets = torch.softmax(scale * labels_NK[keep_N], dim=1)
    inside = features[keep_N]
    gram = inside.T @ inside + ridge * torch.eye(features.shape[1], dtype=torch.float64)
    predicted = clean[keep_V] @ torch.linalg.inv(gram) @ inside.T @ targets
    error = ((predicted - clean_NK[keep_V]) ** 2).sum(1).mean()
    floored = torch.where(predicted > 1e-6, predicted, torch.tensor(1e-6, dtype=torch.float64))
    loss = error - entropy_weight * (floored * floored.log()).sum(1).mean()
    if prior_weight:
        mean = floored.mean(0) / floored.mean(0).sum()
        loss = loss + prior_weight * (prior * (prior / mean).log()).sum()
    return loss


@pytest.mark.parametrize(
    "settings",
    [(1.0, 0.3, 1.0, 0.0), (4.0, 1e-3, 1.0, 1.0), (2.0, 10.0, 0.0, 0.5)],
    ids=["paper", "prior", "no entropy"],
)
def test_ipc_gradient_equals_autograd_through_the_literal_equations(settings):
    scale, ridge, entropy_weight, prior_weight = settings
    rows, clean_rows, classes, columns, parts = 40, 12, 4, 6, 3
    features, clean = draw(rows, columns), draw(clean_rows, columns, seed=1)
    labels_FNK = 0.5 + draw(parts, rows, classes, seed=2).abs()
    clean_NK = torch.eye(classes, dtype=torch.float64)[torch.arange(clean_rows) % classes]
    prior_FK = torch.softmax(draw(parts, classes, seed=3), 1)
    fold_N, fold_V = torch.arange(rows) % parts, torch.arange(clean_rows) % parts
    labels_FNK.requires_grad_()
    loss = sum(
        literal_loss(
            labels_FNK[f],
            features,
            clean,
            clean_NK,
            fold_N != f,
            fold_V != f,
            prior_FK[f],
            settings,
        )
        for f in range(parts)
    )
    (expected_FNK,) = torch.autograd.grad(loss, labels_FNK)

    outside_FN = (fold_N != torch.arange(parts)[:, None]).double()
    outside_FV = (fold_V != torch.arange(parts)[:, None]).double()
    gram_FDD = torch.einsum("fn,nd,ne->fde", outside_FN, features, features)
    spectrum = ridge_spectrum(gram_FDD)
    targets_FKN = eq.soft_targets(labels_FNK.detach().mT, scale)
    ridge_F = torch.full((parts,), ridge, dtype=torch.float64)
    weights_FKD = ridge_solve((targets_FKN * outside_FN[:, None]) @ features, spectrum, ridge_F)
    estimate_FKV = (weights_FKD @ clean.T).requires_grad_()
    value = eq.validation_loss(
        estimate_FKV,
        clean_NK.T,
        outside_FV / outside_FV.sum(1, keepdim=True),
        entropy_weight=entropy_weight,
        prior_K=prior_FK,
        prior_weight=prior_weight,
    )
    assert float(value.detach()) == pytest.approx(float(loss.detach()), rel=1e-12)
    (upper_FKV,) = torch.autograd.grad(value, estimate_FKV)
    upper_FKD = ridge_solve(upper_FKV @ clean, spectrum, ridge_F)
    gradient_FKN = eq.ipc_gradient(targets_FKN, upper_FKD, features, scale) * outside_FN[:, None]
    assert relative(gradient_FKN.mT, expected_FNK) < 1e-10


def test_upper_loss_by_hand():
    predictions = torch.tensor([[0.5, 1.0], [0.5, 0.0]], dtype=torch.float64)  # K x V
    clean = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    share = torch.tensor([0.5, 0.5], dtype=torch.float64)
    floor = -1e-6 * math.log(1e-6)
    expected = 0.5 * (0.5 + math.log(2)) + 0.5 * (2.0 + floor)
    assert float(eq.validation_loss(predictions, clean, share)) == pytest.approx(expected, 1e-12)
    hidden = torch.tensor([1.0, 0.0], dtype=torch.float64)
    found = float(eq.validation_loss(predictions, clean, hidden, entropy_weight=2.0))
    assert found == pytest.approx(0.5 + 2 * math.log(2), rel=1e-12)


def test_upper_loss_gradient():
    predictions = (0.1 + draw(3, 5).abs()).requires_grad_()
    clean = torch.eye(3, dtype=torch.float64)[:, torch.arange(5) % 3]
    share, prior = torch.full((5,), 0.2, dtype=torch.float64), torch.softmax(draw(3, seed=1), 0)
    assert torch.autograd.gradcheck(
        lambda p: eq.validation_loss(p, clean, share, prior_K=prior, prior_weight=0.7), predictions
    )


def test_entropy_floors_what_a_regression_may_give():
    values = torch.tensor([[0.5, -0.2], [0.5, 1.2]], dtype=torch.float64).requires_grad_()
    found = eq.entropy(values)
    expected = [math.log(2), -1e-6 * math.log(1e-6) - 1.2 * math.log(1.2)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    found.sum().backward()
    assert values.grad is not None
    assert float(values.grad[0, 1]) == 0


# --- the ridge regression -------------------------------------------------------------------


def test_direction_rms_equals_visiting_every_row():
    features, upper = draw(2, 30, 6), draw(2, 4, 6, seed=1)
    expected = (upper @ features.mT).square().mean((-2, -1)).sqrt()
    spectrum = ridge_spectrum(features.mT @ features)
    found = eq.direction_rms(upper, spectrum, torch.tensor([30.0, 30.0], dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-10)


# --- EAC ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entropy_weight", "prior_weight"), [(0, 0), (1, 0), (1, 1), (0.3, 2)])
def test_classifier_gradient_equals_autograd_of_the_loss(entropy_weight, prior_weight):
    logits = draw(2, 3, 9).requires_grad_()
    targets = torch.softmax(draw(2, 3, 9, seed=1), 1)
    share = torch.rand(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    share[0, 3] = 0
    share = share / share.sum(1, keepdim=True)
    prior = torch.softmax(draw(2, 3, seed=3), 1)

    logs = logits.log_softmax(1)
    each = -(targets * logs).sum(1) - entropy_weight * (logs.exp() * logs).sum(1)
    mean = (share[:, None] * logs.exp()).sum(-1)
    divergence = (prior * (prior / mean).log()).sum()
    loss = (share * each).sum() + prior_weight * divergence
    (expected,) = torch.autograd.grad(loss, logits)

    found = eq.classifier_gradient(
        logs.exp().detach(),
        targets,
        share,
        entropy_weight=entropy_weight,
        prior_ratio_K=(prior / mean).detach(),
        prior_weight=prior_weight,
    )
    assert relative(found, expected) < 1e-10
    assert (found[0, :, 3] == 0).all()


def test_label_updates_by_hand():
    labels, prediction = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.2], [0.8]])
    assert eq.eac_update(labels, prediction, 0.5).flatten().tolist() == pytest.approx([0.6, 0.4])
    assert torch.equal(eq.eac_update(labels, prediction, 0.0), labels)
    assert torch.equal(eq.eac_update(labels, prediction, 1.0), prediction)
    assert eq.ipc_update(labels, prediction, 0.1).flatten().tolist() == pytest.approx([0.98, -0.08])
    assert eq.soft_targets(labels, math.log(9)).flatten().tolist() == pytest.approx([0.9, 0.1])


# --- the design -----------------------------------------------------------------------------


def test_design_is_standardised_with_a_constant(blobs):
    features = blobs().features
    features[:, 2] = 7.0  # a constant column drops out
    found = Design.of(features).take(slice(None))
    expected = (features - features.mean(0)) / (features.std(0) + (features.std(0) == 0)) / 8**0.5
    assert np.allclose(found[:, :-1], expected, atol=1e-5)
    assert (found[:, 2] == 0).all()
    assert (found[:, -1] == 1).all()


def test_design_streams_what_it_would_hold(blobs, monkeypatch):
    features = blobs(rows=50).features.astype(np.float16)
    held = Design.of(features)
    monkeypatch.setattr(standardise, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(standardise, "BLOCK_ROWS", 7)
    streamed = Design.of(features)
    assert held.resident is not None
    assert streamed.resident is None
    assert torch.allclose(torch.cat([b for _, b in streamed.blocks()]), held.resident, atol=1e-6)
    rows = np.array([3, 1, 40])
    assert torch.equal(streamed.take(rows), Design.of(features).take(rows))


def test_stacked_reads_as_one_matrix():
    whole = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float16)
    stacked = Stacked(whole[:6], whole[6:])
    assert stacked.shape == (9, 3)
    for rows in (slice(None), slice(4, 8), slice(7, 20), np.array([8, 0, 5, 6])):
        assert np.array_equal(stacked[rows], whole[rows])


# --- folds ----------------------------------------------------------------------------------


def test_folds_keep_copies_together_and_spread_every_stratum():
    content = np.concatenate([np.arange(100), np.arange(20)]).astype(np.uint64)
    strata = (content % 4).astype(np.int64)
    found = folds.assign(content, strata, seed=3)
    assert (found[:20] == found[100:]).all()
    for stratum in range(4):
        counts = np.bincount(found[:100][strata[:100] == stratum], minlength=5)
        assert counts.tolist() == [5] * 5
    assert np.array_equal(found, folds.assign(content, strata, seed=3))
    assert not np.array_equal(found, folds.assign(content, strata, seed=4))


def test_too_few_rows_for_folds():
    with pytest.raises(ValueError, match="only 3 rows differ"):
        folds.assign(np.array([1, 2, 3, 3], dtype=np.uint64), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="at least 2"):
        folds.assign(np.arange(4, dtype=np.uint64), np.zeros(4, dtype=int), folds=1)


# --- the method -----------------------------------------------------------------------------


def run(made, **settings):
    classes = int(made.right.max()) + 1
    config = dmlp.DMLPConfig(**settings)
    return dmlp.purify(made.features, made.given, made.checked, made.folds, classes, config=config)


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
    found = dmlp.purify(images.astype(np.float32), given.astype(np.int32), checked, fold, 10)
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
    arguments = (made.given, made.checked, made.folds, 3)
    held = dmlp.purify(half, *arguments)
    monkeypatch.setattr(standardise, "RESIDENT_BYTES", 0)
    streamed = dmlp.purify(mapped, *arguments)
    assert np.allclose(streamed.log_probabilities, held.log_probabilities, atol=1e-4)
    stacked = dmlp.purify(Stacked(mapped[:200], mapped[200:]), *arguments)
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
    dmlp.purify(
        made.features, made.given, made.checked, made.folds, 3,
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

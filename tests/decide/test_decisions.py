"""The posterior pool by hand, and what decide() decides: never worse, all kinds, honest figures."""

import math

import numpy as np
import pytest
import torch

from labelfix.contract import DECISIONS, Decision, decision
from labelfix.decide.decisions import DecideConfig, decide, measure
from labelfix.decide.pooling import fit_pool
from labelfix.decide.threshold import NEVER
from labelfix.equations import posterior as eq
from labelfix.equations.intervals import paired_difference


def names_of(found, given, checked):
    """What labels.parquet will call each decision."""
    return decision(given, found.labels, found.soft_labels, checked >= 0)


# --- equations ------------------------------------------------------------------------------


def test_transition_by_hand():
    right = torch.tensor([0, 0, 0, 1, 1, 1])
    given = torch.tensor([0, 0, 1, 1, 1, -1])  # five labelled rows, one of them wrong
    found = eq.transition_matrix(right, given, 2, prior_rows=2.0)
    rate = 1.5 / 6
    expected = [
        [(2 + 2 * (1 - rate)) / 5, (1 + 2 * rate) / 5],
        [2 * rate / 4, (2 + 2 * (1 - rate)) / 4],
    ]
    assert found.tolist() == [pytest.approx(row, rel=1e-12) for row in expected]


def test_transition_rows_sum_to_one_also_for_unseen_classes():
    found = eq.transition_matrix(torch.tensor([0, 2]), torch.tensor([1, 2]), 4)
    assert torch.allclose(found.sum(1), torch.ones(4, dtype=torch.float64))
    assert (found > 0).all()
    nothing = torch.tensor([], dtype=torch.int64)
    empty = eq.transition_matrix(nothing, nothing, 3)
    assert torch.allclose(empty.diagonal(), torch.full((3,), 0.5, dtype=torch.float64))


def test_transition_approaches_the_truth_with_many_rows():
    random = np.random.default_rng(0)
    truth = np.array([[0.7, 0.3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.4, 0.6]])
    right = random.integers(0, 3, 30_000)
    given = (random.random((30_000, 1)) > truth[right].cumsum(1)).sum(1)
    found = eq.transition_matrix(torch.from_numpy(right), torch.from_numpy(given), 3)
    assert np.allclose(found, truth, atol=0.02)


def test_the_prior_of_a_transition_follows_the_spread():
    nothing = torch.tensor([], dtype=torch.int64)
    error_transition = torch.tensor(
        [[0.0, 0.9, 0.1], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]], dtype=torch.float64
    )
    found = eq.transition_matrix(
        nothing, nothing, 3, error_transition
    )  # no row: a rate of one half
    assert torch.allclose(found, 0.5 * torch.eye(3, dtype=torch.float64) + 0.5 * error_transition)


def test_rate_and_spread_have_priors_of_their_own():
    right, given = torch.tensor([0, 0, 0, 0, 1]), torch.tensor([0, 0, 1, 2, 1])
    error_transition = torch.tensor(
        [[0, 0.9, 0.1], [0.5, 0, 0.5], [0.2, 0.8, 0]], dtype=torch.float64
    )
    found = eq.transition_matrix(
        right, given, 3, error_transition, rate=0.1, prior_rows=2, rate_rows=5, transition_rows=8
    )
    pooled = (2 + 0.1 * 5) / (5 + 5)
    rate = (2 + 2 * pooled) / (4 + 2)
    went = torch.tensor([0, (1 + 8 * 0.9) / 10, (1 + 8 * 0.1) / 10], dtype=torch.float64)
    assert torch.allclose(found[0, 1:], rate * went[1:], rtol=1e-12)
    assert float(found[0, 0]) == pytest.approx(1 - rate)
    assert torch.allclose(found[2, :2], pooled * error_transition[2, :2], rtol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(3, dtype=torch.float64))


def test_no_noise_at_all_is_no_division_by_zero():
    right = torch.arange(3)
    found = eq.transition_matrix(right, right, 3, rate=0.0)
    assert torch.equal(found, torch.eye(3, dtype=torch.float64))


def test_one_pass_of_the_spread_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=torch.float64)
    given = torch.tensor([1, 1, 0])
    assert np.allclose(eq.error_transition(p, given, passes=1), [[0, 1], [1, 0]])
    three = torch.cat([p, p[:, :1]], 1) / (1 + p[:, :1])  # a third class that nobody gave
    shape = eq.error_transition(three, given, prior_rows=1.0, passes=1)
    start = 0.8 * np.eye(3) + 0.1 * (1 - np.eye(3))
    counts = np.zeros((3, 3))
    for row, code in zip(three.numpy(), given.tolist(), strict=True):
        counts[:, code] += row * start[:, code] / (row * start[:, code]).sum()
    rate = (counts.sum() - counts.trace() + 0.5) / (counts.sum() + 1)
    wrong = (counts + rate / 2) * (1 - np.eye(3))
    assert np.allclose(shape, wrong / wrong.sum(1, keepdims=True), rtol=1e-12)


@pytest.mark.parametrize("quality", [2.0, 4.0])
def test_the_spread_finds_where_wrong_labels_go_without_a_checked_row(quality):
    random = np.random.default_rng(0)
    right = random.integers(0, 4, 8000)
    given = np.where(random.random(8000) < 0.2, (right + 1) % 4, right)
    p = torch.from_numpy(prediction(right, 4, quality)).double().exp()
    found = eq.error_transition(p, torch.from_numpy(given))
    assert (found[range(4), [1, 2, 3, 0]] > 0.9).all()
    assert torch.equal(found.diagonal(), torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(found.sum(1), torch.ones(4, dtype=torch.float64))


def test_likelihood_of_given_takes_the_column():
    transition = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    found = eq.log_likelihood_of_given(transition, torch.tensor([0, 1, -1]))
    assert torch.allclose(found, torch.tensor([[0.9, 0.3], [0.1, 0.7], [1.0, 1.0]]).log())


def test_pool_equals_the_formula():
    logs = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]], dtype=torch.float64).log()
    other = torch.tensor([[0.4, 0.4, 0.2], [0.1, 0.1, 0.8]], dtype=torch.float64).log()
    transition = torch.tensor(
        [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]], dtype=torch.float64
    )
    given = torch.tensor([2, -1])
    weights = torch.tensor([0.9, 0.4, 0.7, 1.3], dtype=torch.float64)
    terms = eq.pool_terms([logs, other], eq.log_likelihood_of_given(transition, given), given)
    assert terms.shape == (2, 3, 4)
    found = eq.pool(weights, terms)
    for row in range(2):
        scores = [0.9 * float(logs[row, y]) + 0.4 * float(other[row, y]) for y in range(3)]
        if given[row] >= 0:
            scores = [
                score + 0.7 * math.log(transition[y, given[row]]) + 1.3 * (y == given[row])
                for y, score in enumerate(scores)
            ]
        total = sum(math.exp(score) for score in scores)
        assert found[row].tolist() == pytest.approx([math.exp(s) / total for s in scores])


def test_log_likelihood_gradient_and_hessian():
    generator = torch.Generator().manual_seed(0)
    terms = torch.randn(7, 4, 3, dtype=torch.float64, generator=generator)
    right = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    weights = torch.randn(3, dtype=torch.float64, generator=generator).requires_grad_()

    def value(w):
        return eq.pool_log_likelihood(w, terms, right)[0]

    _, gradient, hessian = eq.pool_log_likelihood(weights.detach(), terms, right)
    (expected,) = torch.autograd.grad(value(weights), weights)
    assert torch.allclose(gradient, expected, rtol=1e-10)
    assert torch.allclose(
        hessian, torch.autograd.functional.hessian(value, weights.detach()), rtol=1e-9, atol=1e-10
    )
    assert (torch.linalg.eigvalsh(hessian) <= 1e-12).all()


# --- predictions ------------------------------------------------------------------------------


def prediction(right, classes, quality, seed=0):
    """Calibrated log-probabilities: the logit of the right class is ``quality`` higher."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(len(right), classes))
    scores[np.arange(len(right)), right] += quality
    return (scores - np.log(np.exp(scores).sum(1, keepdims=True))).astype(np.float32)


def case(rows=600, classes=4, noise=0.3, quality=2.5, checked=150, missing=0, seed=0):
    """Right labels, given labels, checked labels, folds and one prediction."""
    random = np.random.default_rng(seed)
    right = random.integers(0, classes, rows).astype(np.int32)
    wrong = random.random(rows) < noise
    given = np.where(wrong, (right + random.integers(1, classes, rows)) % classes, right)
    given = given.astype(np.int32)
    given[rows - missing :] = -1
    known = np.where(np.arange(rows) < checked, right, -1).astype(np.int32)
    folds = (np.arange(rows) % 5).astype(np.int8)
    return right, given, known, folds, prediction(right, classes, quality, seed)


def penalised(weights, logs, given, right, folds):
    """What a pool of one prediction maximises, written out."""
    total = 0.0
    for row in range(len(given)):
        others = torch.from_numpy(folds != folds[row])
        transition = eq.transition_matrix(
            torch.from_numpy(right)[others].long(), torch.from_numpy(given)[others].long(), 4
        )
        agrees = torch.eye(4, dtype=torch.float64)[given[row]]
        terms = torch.from_numpy(logs[row]).double(), transition[:, given[row]].log(), agrees
        total += float((torch.stack(terms, 1) @ weights).log_softmax(0)[right[row]])
    centre = torch.tensor([1.0, 0.75, 0.5], dtype=torch.float64)
    precision = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)
    return total - float(0.5 * (precision * (weights - centre) ** 2).sum())


def test_a_fitted_pool_is_at_its_optimum():
    right, given, _, folds, logs = case(rows=80)
    pool = fit_pool([logs], given, right, folds)
    assert np.isfinite(pool.weights.numpy()).all()
    for step in 1e-3 * torch.eye(3, dtype=torch.float64):  # the penalised likelihood falls all ways
        for away in (pool.weights + step, pool.weights - step):
            assert penalised(away, logs, given, right, folds) < penalised(
                pool.weights, logs, given, right, folds
            )
    assert torch.allclose(pool.transition.sum(1), torch.ones(4, dtype=torch.float64))


def test_a_good_prediction_weighs_more_than_a_worthless_one():
    right, given, _, folds, logs = case(rows=1500)
    noise = prediction(right, 4, 0.0, seed=9)
    weights = fit_pool([logs, noise], given, right, folds).weights
    assert float(weights[0]) > 0.5
    assert abs(float(weights[1])) < 0.3


def test_the_pool_is_calibrated_and_beats_both_predictions():
    right, given, _, folds, logs = case(rows=4000, quality=1.5)
    half = slice(0, 2000)
    pool = fit_pool([logs[half]], given[half], right[half], folds[half])
    rest = slice(2000, None)
    q = pool.posterior([logs[rest]], given[rest])
    assert np.allclose(q.sum(1), 1)
    hit = q.argmax(1) == right[rest]
    assert hit.mean() > (given[rest] == right[rest]).mean() + 0.03
    assert hit.mean() > (logs[rest].argmax(1) == right[rest]).mean() + 0.03
    assert abs(q.max(1).mean() - hit.mean()) < 0.03


def test_a_row_without_label_gets_the_predictions_best():
    right, given, _, folds, logs = case()
    pool = fit_pool([logs], given, right, folds)
    q = pool.posterior([logs[:3]], np.array([-1, -1, 0], dtype=np.int32))
    assert (q[:2].argmax(1) == logs[:2].argmax(1)).all()


# --- decide ----------------------------------------------------------------------------------


def run(noise=0.3, config=DecideConfig(), **settings):  # noqa: B008  (frozen)
    right, given, checked, folds, logs = case(noise=noise, **settings)
    return right, given, checked, decide({"dmlp": [logs]}, given, checked, folds, config)


@pytest.mark.parametrize("quality", [0.0, 1.0, 3.0])
def test_right_labels_stay(quality):
    right, given, checked, found = run(noise=0.0, quality=quality)
    assert (found.labels == right).mean() >= (given == right).mean() - 0.005
    assert (names_of(found, given, checked) == Decision.CORRECT).sum() <= 3


def test_few_checked_rows_suffice_where_errors_go_one_way():
    right, _, checked, folds, logs = case(rows=3000, classes=10, quality=4.0, checked=60)
    random = np.random.default_rng(1)
    given = np.where(random.random(3000) < 0.1, (right + 1) % 10, right).astype(np.int32)
    left = checked < 0
    found = decide({"dmlp": [logs]}, given, checked, folds)
    pool = fit_pool([logs[~left]], given[~left], right[~left], folds[~left])  # even spread
    plain = pool.posterior([logs], given).argmax(1)
    best = found.soft_labels.argmax(1)
    assert (best != right)[left].mean() < (plain != right)[left].mean() / 2


@pytest.mark.parametrize("noise", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("quality", [1.0, 2.5])
def test_labels_never_get_worse(noise, quality):
    right, given, checked, found = run(noise=noise, quality=quality, rows=1500)
    left = checked < 0
    assert (found.labels == right)[left].mean() >= (given == right)[left].mean() - 0.01


def test_every_decision_means_what_it_says():
    right, given, checked, found = run(noise=0.35, missing=40, quality=2.0)
    names = names_of(found, given, checked)
    counts = np.bincount(names, minlength=5)
    assert (counts > 0).all()
    labels, best = found.labels, found.soft_labels.argmax(1)
    of_given = found.soft_labels[np.arange(len(given)), given]
    for code, holds in {
        Decision.KEEP: (labels == given) & (of_given >= 0.5),
        Decision.CORRECT: (labels != given) & (given >= 0) & (labels == best),
        Decision.REVIEW: (labels == given) & (of_given < 0.5),
        Decision.FILL: (given < 0) & (labels == best),
        Decision.CHECKED: checked >= 0,
    }.items():
        rows = names == code
        assert holds[rows].all(), DECISIONS[code]
    assert ((names == Decision.FILL) == (given < 0) & (checked < 0)).all()
    assert ((names == Decision.CHECKED) == (checked >= 0)).all()
    corrected = names == Decision.CORRECT
    assert (labels == right)[corrected].mean() > 0.7


def test_checked_rows_take_the_checked_label():
    right, _, checked, found = run()
    rows = checked >= 0
    assert (found.labels[rows] == right[rows]).all()
    assert (found.soft_labels[rows] == np.eye(4)[right[rows]]).all()


def test_soft_labels_keep_the_contract():
    *_, found = run(missing=30)
    assert found.soft_labels.dtype == np.float32
    assert np.abs(found.soft_labels.sum(1, dtype=np.float64) - 1).max() < 1e-4


def test_min_precision_holds_changes_back():
    _, given, checked, free = run(noise=0.35)
    _, _, _, strict = run(noise=0.35, config=DecideConfig(min_precision=0.95))
    changed = names_of(strict, given, checked) == Decision.CORRECT
    assert 0 < changed.sum() < (names_of(free, given, checked) == Decision.CORRECT).sum()
    assert strict.soft_labels.max(1)[changed].min() >= 0.95
    _, _, _, never = run(noise=0.35, config=DecideConfig(min_precision=1.0))
    changed = names_of(never, given, checked) == Decision.CORRECT
    assert not (changed & (never.soft_labels.max(1) < 1)).any()


def test_precision_asked_for_holds_changes_back():
    _, given, checked, bold = run(noise=0.35)
    _, _, _, timid = run(noise=0.35, config=DecideConfig(min_precision=0.95))
    bold, timid = (names_of(found, given, checked) for found in (bold, timid))
    assert (timid == Decision.CORRECT).sum() < (bold == Decision.CORRECT).sum()
    assert (timid == Decision.REVIEW).sum() > (bold == Decision.REVIEW).sum()


def test_changes_that_did_harm_close_the_gate():
    """Every row was given 0. Right is 0 in two folds of four, so the rest always says: mostly 1."""
    folds = (np.arange(440) % 4).astype(np.int8)
    right = (folds < 2).astype(np.int32)
    given = np.zeros(440, dtype=np.int32)
    given[430:] = -1
    checked = np.where(np.arange(440) < 400, right, -1).astype(np.int32)
    worthless = np.log(np.tile([0.5, 0.5], (440, 1)))
    found = decide({"dmlp": [worthless]}, given, checked, folds)
    assert found.change_threshold == NEVER
    names = names_of(found, given, checked)
    assert not (names == Decision.CORRECT).any()
    left = (checked < 0) & (given >= 0)
    assert (found.labels[left] == given[left]).all()
    assert (names == Decision.FILL).sum() == 10
    evidence = found.evidence
    assert evidence.label_accuracy_after.value == evidence.label_accuracy_before.value == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_worthless_predictions_change_next_to_nothing(seed):
    right, given, checked, found = run(quality=0.0, noise=0.2, rows=1000, seed=seed)
    left = checked < 0
    assert (found.labels == right)[left].mean() >= (given == right)[left].mean() - 0.01
    if found.change_threshold == NEVER:
        assert (found.labels[left] == given[left]).all()


def test_fills_need_no_precision():
    right, given, checked, folds, logs = case(missing=50)
    found = decide({"dmlp": [logs]}, given, checked, folds, DecideConfig(min_precision=1.0))
    names = names_of(found, given, checked)
    assert not (names == Decision.CORRECT).any()
    filled = names == Decision.FILL
    assert filled.sum() == 50
    assert (found.labels == right)[filled].mean() > 0.6


def test_one_checked_row_is_enough_to_run():
    right, given, _, folds, logs = case()
    checked = np.full(len(right), -1, np.int32)
    checked[7] = right[7]
    found = decide({"dmlp": [logs]}, given, checked, folds)
    assert found.evidence.rows == 1
    assert np.isfinite(found.soft_labels).all()


def test_evidence_figures_by_hand():
    right = np.array([0, 0, 1, 1, 0, 1], dtype=np.int32)
    given = np.array([0, 1, 1, 0, 1, -1], dtype=np.int32)  # the last had no label: not measured
    label = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)  # mends two, breaks one, misses one
    soft = np.array([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.4, 0.6], [0.5, 0.5]])
    found = measure(soft, label, given, right)
    assert found.audited
    assert found.rows == 5
    assert found.label_accuracy_before.value == pytest.approx(2 / 5)
    assert found.label_accuracy_after.value == pytest.approx(3 / 5)
    gain = found.label_accuracy_gain  # paired: two mended, one broken
    assert (gain.value, gain.low, gain.high) == pytest.approx(paired_difference(2, 1, 5))
    assert gain.value == pytest.approx(1 / 5)
    assert found.change_precision.value == pytest.approx(2 / 3)
    assert found.change_recall.value == pytest.approx(2 / 3)
    assert found.calibration_error.value < 0.4  # the mean gap is 0.36, most of it chance
    for name in (
        "label_accuracy_before", "label_accuracy_after", "change_precision", "calibration_error"
    ):  # fmt: skip
        figure = getattr(found, name)
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_without_audited_rows_all_given_labels_tell_the_noise(noise):
    right, given, _, folds, logs = case(rows=4000, noise=noise, quality=4.0)
    given[:150] = -1  # checked rows that nobody had labelled
    checked = np.where(np.arange(len(right)) < 150, right, -1).astype(np.int32)
    found, left = decide({"dmlp": [logs]}, given, checked, folds), checked < 0
    assert 1 - found.transition.diagonal() == pytest.approx([noise] * 4, abs=0.04)
    after, before = (found.labels == right)[left].mean(), (given == right)[left].mean()
    assert after >= before - 0.003
    assert noise < 0.1 or after > before + 0.05
    evidence = found.evidence
    assert not evidence.audited
    assert math.isnan(evidence.label_accuracy_after.low)
    assert evidence.label_accuracy_after.value == pytest.approx(after, abs=0.03)


def test_the_rate_of_errors_needs_calibration_only():
    random = np.random.default_rng(0)
    right = random.integers(0, 4, 8000)
    given = np.where(random.random(8000) < 0.25, (right + 1) % 4, right)
    scores = random.normal(size=(8000, 4)) * 1.5
    scores[np.arange(8000), right] += 1.5 * 1.5  # calibrated: shift = squared spread
    p, codes = torch.from_numpy(scores).softmax(1), torch.from_numpy(given)
    error_transition = eq.error_transition(p, codes)
    assert eq.rate_of_errors(p, codes, error_transition) == pytest.approx(0.25, abs=0.03)
    assert eq.rate_of_errors(p, torch.from_numpy(right), error_transition) < 0.01


def test_evidence_is_honest():
    """What the checked rows say is what the others show."""
    right, given, checked, found = run(rows=4000, checked=800, noise=0.3)
    left, evidence = checked < 0, found.evidence
    assert evidence.label_accuracy_before.value == (given == right)[~left].mean()
    assert evidence.label_accuracy_after.low < (found.labels == right)[left].mean()
    assert (found.labels == right)[left].mean() < evidence.label_accuracy_after.high
    changed = left & (found.labels != given)
    now_right = (found.labels == right)[changed].mean()
    assert evidence.change_precision.low - 0.03 < now_right < evidence.change_precision.high + 0.03
    assert evidence.calibration_error.value < 0.06


def test_the_same_input_gives_the_same_bytes():
    (_, _, _, once), (_, _, _, again) = run(), run()
    assert once.soft_labels.tobytes() == again.soft_labels.tobytes()
    assert once.evidence == again.evidence


@pytest.mark.parametrize(("name", "value"), [("min_precision", -0.1), ("min_precision", 1.1)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        DecideConfig(**{name: value})

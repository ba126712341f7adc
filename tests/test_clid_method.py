"""CLID-MU as a method: its meta-gradient against double backward, and what it does to labels."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from labelfix.equations.clid import clid_loss
from labelfix.equations.tangents import log_prob_tangent
from labelfix.errors import DegenerateLearningError
from labelfix.methods import clid, unaudited, weight_net
from labelfix.methods.design import Design
from labelfix.methods.fold_heads import (
    FoldHeads,
    clid_of_folds,
    logits_of_fold,
    stepped,
)

QUICK = clid.CLIDConfig(least_steps=160, hidden=32, batch=128, candidates=6)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- weight net -----------------------------------------------------------------------------


def literal_meta_gradient(heads, net, rows_BD, given_B, learns_FB, meta_MD, rate):
    """Eq. 4 and 5 as written: a virtual step that keeps its graph, then backward through it."""
    named = dict(heads.named_parameters())
    logs_FBK = heads(rows_BD).log_softmax(-1)
    losses_FB = -logs_FBK[:, torch.arange(len(given_B)), given_B]
    weights_FB = weight_net.sample_weights(net, losses_FB, learns_FB)
    slopes = torch.autograd.grad(
        (weights_FB * losses_FB).sum(), list(named.values()), create_graph=True
    )
    ahead = {n: v - rate * s for (n, v), s in zip(named.items(), slopes, strict=True)}
    logits_FMK = torch.func.functional_call(heads, ahead, (meta_MD,))
    upper = sum(clid_loss(meta_MD, logits_MK.softmax(-1)) for logits_MK in logits_FMK)
    return torch.autograd.grad(upper, net)


def test_meta_gradient_equals_double_backward_through_the_virtual_step():
    folds, rate = 3, 0.3
    generator = seeded()
    heads = FoldHeads(folds, 6, 8, 4, generator=generator).double()
    with torch.no_grad():
        heads.last.add_(torch.randn(heads.last.shape, generator=generator).double())
    net = weight_net.weight_net(folds, generator=generator, dtype=torch.float64)
    rows_BD, meta_MD = (torch.randn(n, 6, generator=generator).double() for n in (20, 12))
    given_B = torch.randint(4, (20,), generator=generator)
    learns_FB = (torch.rand(folds, 20, generator=generator) < 0.7).double()
    expected = literal_meta_gradient(heads, net, rows_BD, given_B, learns_FB, meta_MD, rate)

    named = dict(heads.named_parameters())
    logs_FBK = heads(rows_BD).log_softmax(-1)
    losses_FB = -logs_FBK[:, torch.arange(20), given_B]
    weights_FB = weight_net.sample_weights(net, losses_FB, learns_FB)
    slopes = torch.autograd.grad((weights_FB.detach() * losses_FB).sum(), list(named.values()))
    ahead = stepped(named, slopes, rate)
    upper = clid_of_folds(heads, ahead, meta_MD, 0.5).sum()
    direction = dict(zip(named, torch.autograd.grad(upper, list(ahead.values())), strict=True))
    _, tangent_FBK = log_prob_tangent(heads, named, {}, rows_BD, direction)
    alignment_FB = -tangent_FBK[:, torch.arange(20), given_B]
    found = weight_net.meta_gradient(net, weights_FB, alignment_FB, rate)

    for ours, theirs in zip(found, expected, strict=True):
        assert float(theirs.abs().max()) > 0
        assert float((ours - theirs).norm()) <= 1e-10 * float(theirs.norm())


def test_weights_sum_to_one_over_the_rows_that_a_fold_learns_from():
    net = weight_net.weight_net(2, generator=seeded())
    learns_FB = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    weights_FB = weight_net.sample_weights(net, torch.tensor([[0.1, 1.0, 4.0]] * 2), learns_FB)
    weights_FB = weights_FB.detach()
    assert torch.allclose(weights_FB.sum(1), torch.tensor([1.0, 0.0]))
    assert float(weights_FB[0, 1]) == 0.0


# --- heads ----------------------------------------------------------------------------------


def test_one_folds_logits_are_those_of_all_folds():
    heads = FoldHeads(3, 5, 7, 4, generator=seeded())
    with torch.no_grad():
        for part in heads.parameters():
            part.add_(torch.randn(part.shape, generator=seeded(1)))
    rows_BD = torch.randn(6, 5, generator=seeded(2))
    for fold in range(3):
        own_BK = logits_of_fold(heads.state_dict(), fold, rows_BD)
        assert torch.allclose(own_BK, heads(rows_BD)[fold], atol=1e-5)


def test_column_scales_keep_relative_size_within_bounds(blobs):
    features = blobs().features * np.array([0.001, 1, 1, 1, 1, 2, 3, 1000], dtype=np.float32)
    features[:, 1] = 7.0  # constant
    design = Design.of(features)
    inputs = design.take(slice(None)) * design.net_scale
    assert float(inputs[:, -1].abs().max()) == 0  # the constant of the design
    assert float(inputs[:, 1].abs().max()) == 0
    assert float(inputs[:, :-1].square().mean()) == pytest.approx(1, rel=1e-3)
    std_D = inputs.std(0)
    assert float(std_D[7] / std_D[0]) == pytest.approx(16, rel=0.01)


# --- method ---------------------------------------------------------------------------------


def share_right(found, right):
    return float((found.log_probabilities.argmax(1) == right).mean())


def test_learns_blobs_with_noisy_and_missing_labels(blobs):
    made = blobs(rows=600, noise=0.3, missing=30)
    found = clid.purify(made.features, made.given, made.folds, 3, config=QUICK)
    assert share_right(found, made.right) > 0.92
    sums = np.exp(found.log_probabilities.astype(np.float64)).sum(1)
    assert np.allclose(sums, 1, atol=1e-4)
    assert len(found.history) == QUICK.candidates
    assert len(found.chosen) == 5


def test_the_net_learns_to_distrust_rows_of_high_loss(blobs):
    made = blobs(rows=600, noise=0.3)
    quick = dataclasses.replace(QUICK, meta_rate=0.01)
    found = clid.purify(made.features, made.given, made.folds, 3, config=quick)
    assert found.history[-1]["weight_at_loss_3"] < 0.5 * found.history[-1]["weight_at_loss_0.1"]


def test_symmetric_noise_on_digits():
    features, right = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    flipped = random.random(len(right)) < 0.4
    given = np.where(flipped, (right + random.integers(1, 10, len(right))) % 10, right)
    folds = (random.permutation(len(right)) % 5).astype(np.int8)
    config = dataclasses.replace(QUICK, hidden=64, least_steps=250)
    found = clid.purify(
        features.astype(np.float32), given.astype(np.int32), folds, 10, config=config
    )
    assert share_right(found, right) > 0.88


def test_digits_with_right_labels_stay_as_they_are():
    features, right = load_digits(return_X_y=True)
    given = right.astype(np.int32)
    folds = (np.random.default_rng(0).permutation(len(right)) % 5).astype(np.int8)
    logs = clid.purify(features.astype(np.float32), given, folds, 10, config=QUICK)
    predictions = [logs.log_probabilities]
    soft = unaudited.estimate(predictions, given).judge(predictions, given)
    assert (soft.argmax(1) != given).mean() < 0.003


def test_a_fold_never_sees_its_own_labels(blobs):
    made = blobs()
    other = made.given.copy()
    own = made.folds == 2
    other[own] = (other[own] + 1) % 3
    one, two = (
        clid.purify(made.features, given, made.folds, 3, config=QUICK).log_probabilities
        for given in (made.given, other)
    )
    assert np.array_equal(one[own], two[own])
    assert not np.array_equal(one[~own], two[~own])


def test_equal_seeds_give_equal_bits(blobs):
    made = blobs()
    one, two, three = (
        clid.purify(made.features, made.given, made.folds, 3, config=QUICK, seed=seed)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one.log_probabilities, two.log_probabilities)
    assert not np.array_equal(one.log_probabilities, three.log_probabilities)


def test_a_net_that_never_moves_is_an_alarm(blobs):
    made = blobs(rows=60)
    frozen = dataclasses.replace(QUICK, least_steps=12, meta_rate=1e-30)
    with pytest.raises(DegenerateLearningError, match="weight net never moved"):
        clid.purify(made.features, made.given, made.folds, 3, config=frozen)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("passes", 0),
        ("noise", -1.0),
        ("meta_rate", 0.0),
        ("meta_batch", 1),
        ("warm_up", 1.0),
        ("temperature", 0.0),
    ],
)
def test_bad_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        clid.CLIDConfig(**{name: value})

"""DMLP's gradients against autograd through the literal equations."""

import math

import pytest
import torch
from tensors import draw, relative

from labelfix.equations import dmlp as eq
from labelfix.equations.ridge import ridge_solve, ridge_spectrum


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


def test_direction_rms_equals_visiting_every_row():
    features, upper = draw(2, 30, 6), draw(2, 4, 6, seed=1)
    expected = (upper @ features.mT).square().mean((-2, -1)).sqrt()
    spectrum = ridge_spectrum(features.mT @ features)
    found = eq.direction_rms(upper, spectrum, torch.tensor([30.0, 30.0], dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-10)


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

"""ELR's penalty by hand, and its gradient against the paper's closed form and autograd."""

import math

import pytest
import torch

from labelfix.equations.elr import average_momentum, early_learning_penalty, remembered

P = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]]).double()
T = torch.tensor([[0.6, 0.2, 0.1], [0.7, 0.1, 0.1], [0.0, 0.0, 0.0]]).double()


def test_by_hand():
    agreement = [0.5 * 0.6 + 0.3 * 0.2 + 0.2 * 0.1, 0.07 + 0.01 + 0.08, 0.0]
    expected = sum(math.log(1 - a) for a in agreement) / 3
    assert float(early_learning_penalty(P.log(), T)) == pytest.approx(expected)


def test_the_gradient_is_the_papers_and_autograds():
    logits = P.log().requires_grad_()
    (found,) = torch.autograd.grad(early_learning_penalty(logits, T), logits)
    agreement = (P * T).sum(1, keepdim=True)
    closed = -P * (T - agreement) / (1 - agreement) / len(P)
    assert torch.allclose(found, closed, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: early_learning_penalty(z, T), (logits,))


def test_full_agreement_stays_finite():
    logits = torch.tensor([[80.0, 0.0, 0.0]], requires_grad=True)
    loss = early_learning_penalty(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    (slope,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert slope.isfinite().all()


def test_memory_by_hand():
    found = remembered(T[:1], P[:1], 0.7)
    assert found.tolist()[0] == pytest.approx([0.57, 0.23, 0.13])
    assert not remembered(T, P.clone().requires_grad_(), 0.7).requires_grad


def test_the_average_moves_at_first():
    assert average_momentum(0.997, 0) == pytest.approx(0.1)
    assert average_momentum(0.997, 10**6) == 0.997

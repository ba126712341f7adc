"""GLC's transition and loss against hand-computed values and a naive loop."""

import math

import pytest
import torch
from tensors import draw

from labelfix.equations.cross_entropy import forward_corrected
from labelfix.equations.glc import corrected_cross_entropy, transition_from_clean


def test_a_transition_in_closed_form():
    p = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    found = transition_from_clean(p, torch.tensor([0, 0, 1]))
    assert found.tolist() == [pytest.approx([0.7, 0.3]), pytest.approx([0.1, 0.9])]


def test_a_transition_is_the_mean_by_class():
    p, labels = (
        draw(40, 5).softmax(1),
        torch.randint(4, (40,), generator=torch.Generator().manual_seed(0)),
    )
    expected = torch.eye(5, dtype=p.dtype)  # nobody verified class 4: its labels stay
    for code in range(4):
        own = [p[row] for row in range(40) if int(labels[row]) == code]
        expected[code] = sum(own) / len(own)
    found = transition_from_clean(p, labels)
    assert torch.allclose(found, expected)
    assert torch.allclose(found.sum(1), torch.ones(5, dtype=p.dtype))


def test_the_loss_by_hand():
    logs = torch.tensor([[0.9, 0.1]]).log()
    transition = torch.tensor([[0.6, 0.4], [0.0, 1.0]])
    found = corrected_cross_entropy(logs, torch.tensor([[0.0, 1.0]]), transition)
    assert float(found) == pytest.approx(-math.log(0.9 * 0.4 + 0.1))


def test_the_loss_of_one_hot_labels_is_forward_correction():
    logs, transition = draw(9, 4).log_softmax(1), draw(4, 4, seed=1).softmax(1)
    given = torch.arange(9) % 4
    labels = torch.eye(4, dtype=logs.dtype)[given]
    expected = forward_corrected(logs, transition.log()[:, given].T)
    assert torch.allclose(corrected_cross_entropy(logs, labels, transition), expected)


def test_the_loss_under_no_noise_is_cross_entropy_and_folds_stand_side_by_side():
    logs, labels = draw(2, 9, 4).log_softmax(-1), draw(9, 4, seed=1).softmax(1)
    eye, other = torch.eye(4, dtype=logs.dtype), draw(4, 4, seed=2).softmax(1)
    found = corrected_cross_entropy(logs, labels, torch.stack([eye, other]))
    assert torch.allclose(found[0], -(labels * logs[0]).sum(1))
    assert torch.allclose(found[1], corrected_cross_entropy(logs[1], labels, other))


def test_the_gradient_is_the_formula_s():
    labels, transition = draw(5, 3, seed=1).softmax(1), draw(3, 3, seed=2).softmax(1)

    def loss(logits):
        return corrected_cross_entropy(logits.log_softmax(1), labels, transition).sum()

    assert torch.autograd.gradcheck(loss, draw(5, 3).requires_grad_())

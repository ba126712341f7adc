"""DivideMix's equations by hand."""

import math

import pytest
import torch

from labelfix.equations import dividemix as eq

P = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).double()
Q = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double()


def test_sharpening_by_hand():
    found = eq.sharpen(P, 0.5)
    assert torch.allclose(found[0], torch.tensor([25, 9, 4]).double() / 38)
    assert torch.allclose(eq.sharpen(P, 1.0), P)
    assert torch.allclose(eq.sharpen(Q, 0.5), Q)
    with pytest.raises(ValueError, match="temperature"):
        eq.sharpen(P, 0.0)


def test_refining_and_guessing_by_hand():
    found = eq.co_refine(Q, torch.tensor([0.5, 0.0]).double(), P)
    assert torch.allclose(found, torch.tensor([[0.75, 0.15, 0.1], [0.1, 0.1, 0.8]]).double())
    assert torch.allclose(eq.co_guess(P, Q)[1], torch.tensor([0.05, 0.55, 0.4]).double())


def test_losses_by_hand_and_gradient():
    logits = P.log().requires_grad_()
    found = eq.unlabelled_loss(logits, Q)
    expected = (0.25 + 0.09 + 0.04 + 0.01 + 0.81 + 0.64) / 6
    assert found.item() == pytest.approx(expected)
    mean = P.mean(0)
    assert eq.balance_penalty(logits).item() == pytest.approx(
        sum(math.log(1 / 3 / float(m)) / 3 for m in mean)
    )
    even = torch.zeros(4, 3).double()
    assert float(eq.balance_penalty(even)) == pytest.approx(0)
    assert torch.autograd.gradcheck(lambda z: eq.unlabelled_loss(z, Q), (logits,))
    assert torch.autograd.gradcheck(eq.balance_penalty, (logits,))


def labels_with(flows):
    """Rows (true, labelled, count) as one-hot labels and beliefs."""
    true = torch.cat([torch.full((n,), t) for t, _, n in flows])
    given = torch.cat([torch.full((n,), g) for _, g, n in flows])
    return torch.eye(4)[given], torch.eye(4)[true]


def test_noise_of_symmetric_and_of_paired_labels():
    even = [(t, g, 30 if t == g else 10) for t in range(4) for g in range(4)]
    matrix = eq.noise_matrix(*labels_with(even))
    assert float(matrix.sum()) == pytest.approx(1)
    assert float(eq.wrong_share(matrix)) == pytest.approx(0.5)
    assert float(eq.noise_symmetry(matrix)) == pytest.approx(1)
    pairs = [(t, t, 60) for t in range(4)] + [(t, (t + 1) % 4, 40) for t in range(4)]
    matrix = eq.noise_matrix(*labels_with(pairs))
    assert matrix[1, 0] == pytest.approx(0.1)  # labelled 1, truly 0
    assert float(eq.wrong_share(matrix)) == pytest.approx(0.4)
    assert float(eq.noise_symmetry(matrix)) == pytest.approx(0, abs=1e-6)


def test_noise_is_symmetric_where_nothing_speaks_against_it():
    assert float(eq.noise_symmetry(torch.eye(3) / 3)) == 1
    assert float(eq.noise_symmetry(torch.tensor([[0.4, 0.1], [0.1, 0.4]]))) == 1


@pytest.mark.parametrize(
    ("rate", "symmetry", "classes", "expected"),
    [
        (0.18, 1.0, 10, 0), (0.5, 1.0, 10, 25), (0.8, 1.0, 10, 25), (0.35, 1.0, 10, 12.5),
        (0.4, 0.0, 10, 0), (0.5, 1.0, 100, 250),
    ],
)  # fmt: skip
def test_lambda_u_beside_the_papers_choices(rate, symmetry, classes, expected):
    """0 for 20 % symmetric and for asymmetric noise, 25 from 50 %; it grows with the classes."""
    found = eq.unlabelled_weight(torch.tensor(rate), torch.tensor(symmetry), classes)
    assert float(found) == pytest.approx(expected, abs=1e-4)

"""HRP's reliabilities by hand; against double backward they stand in test_tangents.py."""

import pytest
import torch

from labelfix.equations.hrp import meta_gradient, ranking_score, reliabilities

TANGENT = torch.tensor([[-3.0, 1.0, 0.5], [2.0, -1.0, 0.0], [0.0, 4.0, -2.0]]).double()
EYE = torch.eye(3).double()


def test_meta_gradient_by_hand():
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]]).double()
    assert meta_gradient(TANGENT, soft).tolist() == [1.0, 1.0, 0.0]


def test_reliabilities_by_hand():
    alpha, beta = reliabilities(TANGENT, EYE[[0, 1, 1]], EYE[[0, 0, 2]], tiny=0.0)
    assert alpha.tolist() == [0.75, 0.25, 0.0]
    assert beta.tolist() == [0.6, 0.0, 0.4]


def test_both_may_be_zero():
    alpha, beta = reliabilities(TANGENT[1:2], EYE[[0]], EYE[[0]])
    assert alpha.tolist() == beta.tolist() == [0.0]


def test_no_label_has_no_reliability():
    alpha, _ = reliabilities(TANGENT, torch.zeros(3, 3).double(), EYE)
    assert alpha.tolist() == [0.0, 0.0, 0.0]


def test_one_label_leaves_the_other_alone():
    _, beta = reliabilities(TANGENT, EYE[[0, 1, 1]], EYE[[0, 0, 2]])
    _, same = reliabilities(TANGENT, EYE[[2, 2, 0]], EYE[[0, 0, 2]])
    assert torch.equal(beta, same)


def test_ranking_score_by_hand_and_its_bound():
    p = torch.tensor([[0.6, 0.2, 0.2]], dtype=torch.float64)
    z = torch.tensor([[1.0, -2.0, 3.0]]).double()
    tangent = z - (p * z).sum()
    expected = (0.8 - 1.0) / (0.16 + 0.04 + 0.04) ** 0.5
    assert float(ranking_score(tangent, p, EYE[[0]])) == pytest.approx(expected, rel=1e-12)
    generator = torch.Generator().manual_seed(0)
    p = torch.softmax(torch.randn(50, 3, dtype=torch.float64, generator=generator), 1)
    z = torch.randn(50, 3, dtype=torch.float64, generator=generator)
    tangent = z - (p * z).sum(1, keepdim=True)
    for label in range(3):
        found = ranking_score(tangent, p, EYE[[label] * 50])
        assert bool((found.abs() <= tangent.norm(dim=1) + 1e-12).all())


def test_a_perfect_fit_is_finite():
    assert float(ranking_score(torch.zeros(1, 3).double(), EYE[:1], EYE[:1])) == 0.0


def test_shapes():
    with pytest.raises(ValueError, match="tangent"):
        meta_gradient(TANGENT, EYE[:2])

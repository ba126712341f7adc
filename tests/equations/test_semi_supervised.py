"""UDA, FixMatch and FlexMatch by hand."""

import math

import pytest
import torch

from labelfix.equations import semi_supervised as ssl

WEAK = torch.tensor([[0.96, 0.02, 0.02], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).double()


def test_targets_by_hand():
    assert ssl.pseudo_targets(WEAK, 0).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    sharp = ssl.pseudo_targets(WEAK, 0.5)
    assert torch.allclose(sharp[1], torch.tensor([25, 9, 4]).double() / 38)


def test_one_threshold_and_one_a_class():
    assert ssl.sure(WEAK, torch.full((3,), 0.95)).tolist() == [True, False, False]
    assert ssl.sure(WEAK, torch.tensor([0.97, 0.1, 0.8])).tolist() == [False, False, True]


def test_flexible_thresholds_by_hand():
    found = ssl.flexible_thresholds(torch.tensor([50.0, 25.0, 0.0]), 100, 0.9)
    # beta 1, 1/2, 0 since the best class beats the 25 unused rows
    assert found.tolist() == pytest.approx([0.9, 0.9 * 0.5 / 1.5, 0])
    early = ssl.flexible_thresholds(torch.tensor([10.0, 0.0, 0.0]), 100, 0.9)
    assert early.tolist() == pytest.approx([0.9 * (1 / 9) / (2 - 1 / 9), 0, 0])


def test_the_loss_by_hand_and_gradient():
    strong = torch.tensor([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]]).double().log()
    targets, sure = ssl.pseudo_targets(WEAK, 0), torch.tensor([True, False, True])
    found = ssl.consistency_loss(strong, targets, sure)
    assert float(found) == pytest.approx(-(math.log(0.2) + math.log(0.4)) / 3)
    assert float(ssl.consistency_loss(strong, targets, ~sure & sure)) == 0
    assert torch.autograd.gradcheck(
        lambda z: ssl.consistency_loss(z, targets, sure), (strong.requires_grad_(),)
    )

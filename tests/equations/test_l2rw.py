"""L2RW's weights against hand-computed values."""

import pytest
import torch

from labelfix.equations.l2rw import example_weights


def test_weights_are_what_rows_do_for_the_upper_loss():
    tangent = torch.tensor([[-3.0, 1.0], [2.0, -1.0], [4.0, -2.0], [-0.5, 0.5]])
    labels = torch.eye(2)[[0, 1, 0, 1]]
    # - label . tangent: 3, 1, -4, -0.5; what hurts has no weight
    assert example_weights(tangent, labels).tolist() == pytest.approx([0.75, 0.25, 0, 0])


def test_no_row_has_weight_where_none_helps():
    tangent, labels = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.eye(2)
    assert example_weights(tangent, labels).tolist() == [0, 0]


def test_soft_labels_weigh_their_parts():
    tangent = torch.tensor([[-4.0, 2.0], [-1.0, 0.0]])
    labels = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert example_weights(tangent, labels).tolist() == pytest.approx([0.5, 0.5])

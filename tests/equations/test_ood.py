"""Scores of rows from outside, by hand."""

import math

import pytest
import torch

from labelfix.equations.ood import energy_score, msp_score


def test_scores_by_hand():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    assert msp_score(logits).tolist() == pytest.approx([0.5, 0.75])
    assert energy_score(logits).tolist() == pytest.approx([math.log(2), math.log(4)])

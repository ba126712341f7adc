"""Snapshots of the student: the best are kept and averaged."""

import pytest
import torch
from bilevel_tasks import quick, task_of, trainer_of
from torch import nn

from labelfix.predictors.bilevel.snapshots import Snapshots


def test_snapshots_keep_the_lowest_scores_and_average_them():
    net = nn.Linear(2, 2)
    kept = Snapshots(net, 2)
    with pytest.raises(ValueError, match="no snapshot"):
        kept(torch.ones(1, 2))
    states = []
    for score in (3.0, 1.0, 2.0, 5.0):
        with torch.no_grad():
            net.weight.normal_(generator=torch.Generator().manual_seed(int(score)))
        states.append((score, net.weight.detach().clone()))
        assert kept.offer(net, score) == (score != 5.0)
    assert sorted(kept.scores.tolist()) == [1.0, 2.0]
    x = torch.ones(1, 2)
    expected = sum((x @ w.T + net.bias).softmax(1) for s, w in states if s in (1.0, 2.0)) / 2
    assert torch.allclose(kept(x), expected)
    assert not kept.offer(net, float("nan"))


def test_snapshots_are_chosen_by_the_upper_loss(blobs):
    trainer = trainer_of(task_of(blobs(rows=150)), quick("mlc"))
    assert len(trainer.snapshots.nets) == 5
    offered = []
    trainer.snapshots.offer = lambda net, score: offered.append(score)
    with torch.no_grad():
        reported = [trainer.evaluate(epoch)["upper_loss"] for epoch in range(3)]
    assert offered == reported[1:]

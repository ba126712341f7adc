"""Ensembles of classifiers, and BatchNorm that follows inputs as they are."""

import torch

from labelfix.nets.classifiers import (
    Ensemble,
    statistics_from,
)


def test_an_ensemble_predicts_the_mean_probability_and_energy():
    nets = [torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)]
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    logits = Ensemble(nets)(x)
    both = torch.stack([net(x) for net in nets])
    assert torch.allclose(logits.softmax(-1), both.softmax(-1).mean(0), atol=1e-6)
    assert torch.allclose(logits.logsumexp(-1), both.logsumexp(-1).mean(0), atol=1e-5)


def test_statistics_follow_inputs_as_they_are():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2))
    inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 3 + 1
    with statistics_from(inputs, net):
        net((inputs + inputs.flip(0)) / 2).sum().backward()
    expected = torch.lerp(torch.zeros(2), inputs.mean(0), 0.1)
    torch.testing.assert_close(net[0].running_mean, expected)
    torch.testing.assert_close(net[0].running_var, torch.lerp(torch.ones(2), inputs.var(0), 0.1))
    assert net[0].momentum == 0.1
    assert net[0].weight.grad is not None

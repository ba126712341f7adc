"""The net on features: nets side by side are single nets, and rows are scaled as measured."""

import numpy as np
import pytest
import torch
from torch import nn

from labelfix.features.standardise import Scaling
from labelfix.nets.feature_net import FeatureNet, feature_classifier, fold_nets, student_net

B, D, H, K, G = 7, 5, 8, 3, 4


def single(nets, fold):
    """One of the nets side by side, by itself."""
    first, second = nets.backbone[0], nets.backbone[2]
    alone = [nn.Linear(D, H), nn.Linear(H, H), nn.Linear(H, K)]
    own = slice(fold * H, (fold + 1) * H)
    with torch.no_grad():
        alone[0].weight.copy_(first.weight[own])
        alone[0].bias.copy_(first.bias[own])
        for layer, later in zip(alone[1:], (second, nets.head), strict=True):
            layer.weight.copy_(later.weight[fold].T)
            layer.bias.copy_(later.bias[fold, 0])
    return FeatureNet(*alone)


def test_nets_side_by_side_are_single_nets():
    torch.manual_seed(0)
    nets, rows_BD = fold_nets(G, D, K, H), torch.randn(B, D)
    with torch.no_grad():  # biases start at 0
        for name, value in nets.named_parameters():
            if "bias" in name:
                value.normal_()
    logits_GBK = nets(rows_BD)
    assert logits_GBK.shape == (G, B, K)
    for fold in range(G):
        torch.testing.assert_close(logits_GBK[fold], single(nets, fold)(rows_BD))


def test_the_loss_of_one_fold_moves_its_net_alone():
    nets = fold_nets(G, D, K, H)
    nets(torch.randn(B, D))[1].square().sum().backward()
    first_GHD = nets.backbone[0].weight.grad.unflatten(0, (G, H))
    for gradient in (first_GHD, nets.backbone[2].weight.grad, nets.head.weight.grad):
        assert gradient.flatten(1).any(1).tolist() == [False, True, False, False]


def test_weights_come_in_the_order_of_the_layers():
    """Sums over them depend on it by rounding, and with them what a seed gives."""
    names = [name for name, _ in student_net(D, K).named_parameters()]
    assert names == ["backbone.0.weight", "backbone.0.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize("make", [student_net, lambda *sizes: fold_nets(3, *sizes)])
def test_predictions_start_nearly_even(make):
    torch.manual_seed(0)
    net, rows_BD = make(200, 10, 256), torch.randn(500, 200)
    with torch.no_grad():
        logits, hidden = net(rows_BD, embeddings=True)
    assert float(logits.softmax(-1).max()) < 0.25
    assert float(hidden.square().mean()) == pytest.approx(1, rel=0.2)  # He: the scale is kept


@pytest.mark.parametrize("constant", [0.0, 0.1, 1000.1, 1.7e9])
def test_a_constant_column_says_nothing(constant):
    features = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    features[:, 2] = constant
    net = feature_classifier(4, 3, scaling=Scaling.of(features))
    scaled_BD = net.structure(torch.from_numpy(features))
    assert (scaled_BD[:, 2] == 0).all()
    assert torch.allclose(scaled_BD.std(0)[[0, 1, 3]], torch.ones(3), rtol=1e-2)


def test_a_classifier_carries_its_scaling_in_its_weights():
    features = np.random.default_rng(0).normal(3, 9, size=(50, 4)).astype(np.float32)
    net = feature_classifier(4, 3, scaling=Scaling.of(features)).eval()
    other = feature_classifier(4, 3).eval()
    other.load_state_dict(net.state_dict())
    rows_BD = torch.from_numpy(features)
    assert torch.equal(net(rows_BD), other(rows_BD))


def test_dropout_is_for_training_alone():
    net, rows_BD = feature_classifier(4, 3), torch.randn(6, 4)
    assert not torch.equal(net(rows_BD), net(rows_BD))
    net.eval()
    assert torch.equal(net(rows_BD), net(rows_BD))

"""The tangent against double backward through a literal virtual step, in float64."""

import pytest
import torch
import torch.nn.functional as F
from tensors import draw, relative
from torch import nn
from torch.func import functional_call

from labelfix.equations import tangents
from labelfix.equations.forward_cache import Remembering
from labelfix.equations.hrp import meta_gradient, reliabilities
from labelfix.equations.tangents import compiled_log_prob_tangent, log_prob_tangent

B, K = 6, 4


def convnet(norm, *, dtype=torch.float64):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5) if norm else nn.Identity(), nn.Tanh()]
    net = nn.Sequential(*layers, nn.Conv2d(5, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, K))
    if norm:  # statistics as after some training
        net(torch.randn(32, 3, 8, 8))
    return net.to(dtype)


def parts(net):
    return dict(net.named_parameters()), dict(net.named_buffers())


def upper_gradient(net, params, buffers):
    """Gradient of the clean loss, BatchNorm frozen as in HRP."""
    mode = net.training
    net.eval()
    clean, labels = draw(5, 3, 8, 8, seed=3), torch.tensor([0, 1, 2, 3, 0])
    loss = F.cross_entropy(functional_call(net, (params, buffers), (clean,)), labels)
    net.train(mode)
    return loss


def double_backward(net, x, targets_BK):
    """d L_meta / d eps at eps = 0, through w' = w - grad sum_i eps_i CE_i (Eq. 1 to 3)."""
    params, buffers = parts(net)
    copies = {name: value.clone() for name, value in buffers.items()}
    eps = torch.zeros(B, dtype=x.dtype, requires_grad=True)
    logs = torch.log_softmax(functional_call(net, (params, copies), (x,)), 1)
    inner = (eps * -(targets_BK * logs).sum(1)).sum()
    slopes = torch.autograd.grad(inner, list(params.values()), create_graph=True)
    moved = {n: p - s for (n, p), s in zip(params.items(), slopes, strict=True)}
    return torch.autograd.grad(upper_gradient(net, moved, buffers), eps)[0]


def tangent_of(net, x):
    params, buffers = parts(net)
    loss = upper_gradient(net, params, buffers)
    slopes = torch.autograd.grad(loss, list(params.values()))
    return log_prob_tangent(net, params, buffers, x, dict(zip(params, slopes, strict=True)))


@pytest.mark.parametrize("case", ["no norm", "eval norm", "train norm"])
def test_equals_double_backward(case):
    net = convnet(case != "no norm").train(case == "train norm")
    x = draw(B, 3, 8, 8, seed=1)
    given = F.one_hot(torch.arange(B) % K, K).double()
    soft = torch.softmax(draw(B, K, seed=2), 1)
    logs_BK, tangent_BK = tangent_of(net, x)
    for targets_BK in (given, soft):
        expected = -double_backward(net, x, targets_BK)
        assert relative(meta_gradient(tangent_BK, targets_BK), expected) < 1e-10
    pseudo = F.one_hot(logs_BK.argmax(1), K).double()
    for found, labels in zip(
        reliabilities(tangent_BK, given, pseudo), (given, pseudo), strict=True
    ):
        helpful = (-double_backward(net, x, labels)).clamp_min(0)
        assert relative(found, helpful / (helpful.sum() + 1e-8)) < 1e-10


@pytest.mark.parametrize("training", [False, True])
def test_value_sum_and_running_statistics(training):
    net = convnet(True).train(training)
    before = {name: value.clone() for name, value in net.named_buffers()}
    x = draw(B, 3, 8, 8, seed=1)
    logs_BK, tangent_BK = tangent_of(net, x)
    for name, value in net.named_buffers():
        assert torch.equal(value, before[name]), name
    assert not logs_BK.requires_grad
    assert not tangent_BK.requires_grad
    assert torch.allclose((logs_BK.exp() * tangent_BK).sum(1), torch.zeros(B).double(), atol=1e-12)
    assert torch.allclose(logs_BK, torch.log_softmax(net(x), 1), atol=1e-12)


def test_modes_differ():
    net, x = convnet(True), draw(B, 3, 8, 8, seed=1)
    train = tangent_of(net.train(), x)[1]
    assert relative(tangent_of(net.eval(), x)[1], train) > 0.05


def test_finite_differences():
    net, x = convnet(False), draw(B, 3, 8, 8, seed=1)
    params, buffers = parts(net)
    direction = {n: draw(*p.shape, seed=i) for i, (n, p) in enumerate(params.items())}
    tangent_BK = log_prob_tangent(net, params, buffers, x, direction)[1]
    ends = []
    with torch.no_grad():
        for step in (1e-6, -1e-6):
            moved = {n: p + step * direction[n] for n, p in params.items()}
            ends.append(torch.log_softmax(functional_call(net, (moved, buffers), (x,)), 1))
    assert relative((ends[0] - ends[1]) / 2e-6, tangent_BK) < 1e-6


def test_under_bfloat16_autocast():
    net, x = convnet(True, dtype=torch.float32).train(), draw(B, 3, 8, 8, dtype=torch.float32)
    params, buffers = parts(net)
    direction = {
        n: draw(*p.shape, seed=i, dtype=torch.float32) for i, (n, p) in enumerate(params.items())
    }
    full = log_prob_tangent(net, params, buffers, x, direction)[1]
    with torch.autocast("cpu", torch.bfloat16):
        half = log_prob_tangent(net, params, buffers, x, direction)[1]
    assert half.dtype == torch.float32
    assert float(F.cosine_similarity(half.flatten(), full.flatten(), dim=0)) > 0.99


def test_a_part_of_the_weights():
    net, x = convnet(False), draw(B, 3, 8, 8, seed=1)
    params, buffers = parts(net)
    still = {n: torch.zeros_like(p) for n, p in params.items()}
    only = {"6.bias": torch.ones(K).double() * torch.arange(K)}
    for direction in (only, still | only):
        found = log_prob_tangent(net, {}, buffers, x, direction)[1]
        p_BK = torch.softmax(net(x), 1).detach()
        expected = torch.arange(K) - (p_BK * torch.arange(K)).sum(1, keepdim=True)
        assert torch.allclose(found, expected, atol=1e-12)
    assert not log_prob_tangent(net, params, buffers, x, {})[1].any()


# --- with the outputs of a forward pass ---------------------------------------------------------


class Named(nn.Module):
    """A linear map that is called with named arguments, before one that is not."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(5, 5), nn.Linear(5, K)

    def forward(self, x):
        return self.last(F.linear(x.tanh(), weight=self.first.weight, bias=self.first.bias))


def remembered(net, x, direction):
    with Remembering() as memory:
        net(x)
    return log_prob_tangent(net, {}, parts(net)[1], x, direction, outputs=memory.outputs)


MOVES = {
    "all": lambda name: True,
    "weights": lambda name: name.endswith("weight"),
    "biases": lambda name: name.endswith("bias"),
    "the first layer": lambda name: name.startswith("0"),
    "the last layer": lambda name: name.startswith("6"),
}


@pytest.mark.parametrize("moves", MOVES)
@pytest.mark.parametrize("case", ["no norm", "eval norm", "train norm"])
def test_a_forward_pass_spares_the_values(case, moves):
    torch.manual_seed(0)
    net = convnet(case != "no norm").train(case == "train norm")
    x = draw(B, 3, 8, 8, seed=1)
    direction = {n: torch.randn_like(p) for n, p in net.named_parameters() if MOVES[moves](n)}
    plain = log_prob_tangent(net, {}, parts(net)[1], x, direction)
    for found, expected in zip(remembered(net, x, direction), plain, strict=True):
        assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_values_are_taken_and_not_computed():
    net, x = convnet(False), draw(B, 3, 8, 8, seed=1)
    direction = {n: torch.ones_like(p) for n, p in net.named_parameters()}
    with Remembering() as memory:
        net(x)
    moved = [value + 1 for value in memory.outputs]
    logs_BK, _ = log_prob_tangent(net, {}, {}, x, direction, outputs=moved)
    assert torch.allclose(logs_BK, moved[-1].log_softmax(1))
    with pytest.raises(RuntimeError, match="does not run as it did"):
        log_prob_tangent(net, {}, {}, x, direction, outputs=memory.outputs[:-1])


def test_named_arguments_and_half_precision():
    torch.manual_seed(0)
    net, x = Named(), torch.randn(B, 5)
    direction = {n: torch.randn_like(p) for n, p in net.named_parameters()}
    plain = log_prob_tangent(net, {}, {}, x, direction)[1]
    assert torch.allclose(remembered(net, x, direction)[1], plain, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = remembered(net, x, direction)[1]
    assert float(F.cosine_similarity(half.flatten(), plain.flatten(), dim=0)) > 0.99


def test_unknown_direction():
    net = convnet(False)
    with pytest.raises(KeyError, match="weigth"):
        log_prob_tangent(net, {}, {}, draw(B, 3, 8, 8), {"weigth": torch.ones(1)})


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("recalls", [False, True])
def test_compiled_equals_eager(training, recalls):
    """The tracing, by the backend that generates no code; see the slow test for the default."""
    check_compiled(convnet(True).train(training), "aot_eager", recalls)


@pytest.mark.slow
@pytest.mark.parametrize("recalls", [False, True])
def test_compiled_by_inductor_equals_eager(recalls):
    check_compiled(convnet(True).train(), "inductor", recalls)


def check_compiled(net, backend, recalls):
    x = draw(B, 3, 8, 8, seed=1)
    with Remembering() as memory:
        net(x)
    params, buffers = parts(net)
    before = {name: value.clone() for name, value in buffers.items()}
    compiled = compiled_log_prob_tangent(net, backend=backend)
    for seed in (0, 5):  # the second call is not checked by itself
        direction = {n: draw(*p.shape, seed=i + seed) for i, (n, p) in enumerate(params.items())}
        logs_BK, tangent_BK = log_prob_tangent(net, params, buffers, x, direction)
        found = compiled(params, buffers, x, direction, memory.outputs if recalls else ())
        assert relative(found[0], logs_BK) < 1e-10
        assert relative(found[1], tangent_BK) < 1e-10
        assert not found[1].requires_grad
    for name, value in net.named_buffers():
        assert torch.equal(value, before[name]), name
    if recalls:
        moved = [value + 1 for value in memory.outputs]
        found = compiled(params, buffers, x, direction, moved)
        assert torch.allclose(found[0], moved[-1].log_softmax(1))


def test_a_compiler_that_loses_the_tangent_is_found_out(monkeypatch):
    net, x = convnet(False), draw(B, 3, 8, 8, seed=1)
    params, buffers = parts(net)
    direction = {n: draw(*p.shape, seed=i) for i, (n, p) in enumerate(params.items())}
    eager = log_prob_tangent(net, params, buffers, x, direction)
    monkeypatch.setattr(tangents, "log_prob_tangent", lambda *_: (eager[0], 2 * eager[1]))
    compiled = compiled_log_prob_tangent(net, backend="eager")
    with pytest.raises(RuntimeError, match=r"differs from the eager one by 5\.0e-01"):
        compiled(params, buffers, x, direction)

"""HRP's alpha and beta: one tangent against double backward through the virtual step, in one run.

    python pipelines/bench_reliabilities.py

A convnet of five layers with BatchNorm (evaluation mode), 64 images of 32 x 32, ten classes, one
thread, random data, and a clean batch of 64 images. Double backward builds `w'(eps)` and
differentiates the clean loss for both eps; the tangent takes the clean loss's gradient at `w` and
one forward-mode pass. Times are float32, errors float64.

Measured in 15 seconds on one core of an AMD EPYC that others loaded too (CPU seconds count):
double backward 796 ms, one tangent 321 ms: 2.5 times; relative error 1e-16 for alpha, 4e-16 for
beta. The goal is 2 times.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from labelfix.equations.hrp import meta_gradient
from labelfix.equations.tangents import log_prob_tangent

B, K, ROUNDS = 64, 10, 7
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def convnet() -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in ((3, 32), (32, 32), (32, 64), (64, 64)):
        stride = 2 if into != out and into > 3 else 1
        layers += [nn.Conv2d(into, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, K)).eval()


def double_backward(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """``-dL_meta / d eps`` for the given labels and the model's own, as HRP's Eq. 1 to 3 read."""
    x, given, clean, right = batch
    params = dict(net.named_parameters())
    eps_a, eps_b = (torch.zeros(B, dtype=x.dtype, requires_grad=True) for _ in range(2))
    logits = net(x)
    loss = (eps_a * F.cross_entropy(logits, given, reduction="none")).sum()
    loss = loss + (eps_b * F.cross_entropy(logits, logits.argmax(1), reduction="none")).sum()
    slopes = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    moved = {name: p - s for (name, p), s in zip(params.items(), slopes, strict=True)}
    meta = F.cross_entropy(functional_call(net, moved, (clean,)), right)
    down_a, down_b = torch.autograd.grad(meta, (eps_a, eps_b))
    return -down_a, -down_b


def tangent(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """The same two from the clean loss's gradient and one tangent."""
    x, given, clean, right = batch
    params, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    slopes = torch.autograd.grad(F.cross_entropy(net(clean), right), list(params.values()))
    direction = dict(zip(params, slopes, strict=True))
    logs_BK, tangent_BK = log_prob_tangent(net, params, buffers, x, direction)
    labels = (F.one_hot(codes, K).to(x.dtype) for codes in (given, logs_BK.argmax(1)))
    alpha, beta = (meta_gradient(tangent_BK, label_BK) for label_BK in labels)
    return alpha, beta


def milliseconds(step: Callable[[nn.Module, Batch], object], net: nn.Module, batch: Batch) -> float:
    """CPU time of the best round, since other work on the machine only slows."""
    step(net, batch)
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        step(net, batch)
        best = min(best, time.process_time() - start)
    return 1e3 * best


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = convnet()
    x, clean = torch.randn(2, B, 3, 32, 32)
    given, right = torch.randint(0, K, (2, B))
    batch = x, given, clean, right
    slow, fast = (milliseconds(step, net, batch) for step in (double_backward, tangent))
    wide, wide_batch = copy.deepcopy(net).double(), (x.double(), given, clean.double(), right)
    pairs = zip(tangent(wide, wide_batch), double_backward(wide, wide_batch), strict=True)
    errors = [float((found - expected).norm() / expected.norm()) for found, expected in pairs]
    print(f"double backward  {slow:8.1f} ms")
    print(f"one tangent      {fast:8.1f} ms")
    print(f"ratio            {slow / fast:8.2f}")
    print(f"relative error, float64: alpha {errors[0]:.1e}, beta {errors[1]:.1e}")


if __name__ == "__main__":
    main()

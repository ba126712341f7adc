"""NT-Xent against a loop over its 2B terms as the paper writes them, in one run.

    python pipelines/bench_contrastive.py

Forward and backward, 64 images (128 views) of 128 features, float64, one thread; the loop computes
every similarity by itself, as Algorithm 1 of SimCLR reads. Both give the same loss and gradient.

Measured in 5 seconds on one core of an AMD EPYC: loop 906 ms, `nt_xent` 1.01 ms: 900 times; the
gradients differ by 7e-16.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from labelfix.equations.contrastive import nt_xent

B, D, TEMPERATURE = 64, 128, 0.2


def naive(z_a_BD: Tensor, z_b_BD: Tensor, temperature: float) -> Tensor:
    """Eq. 1 for every ordered pair of views, one similarity at a time."""
    views = [z / z.norm() for z in torch.cat([z_a_BD, z_b_BD])]
    total = torch.zeros((), dtype=z_a_BD.dtype)
    for i in range(2 * B):
        terms = [torch.exp(views[i] @ views[k] / temperature) for k in range(2 * B) if k != i]
        positive = torch.exp(views[i] @ views[(i + B) % (2 * B)] / temperature)
        total = total - torch.log(positive / torch.stack(terms).sum())
    return total / (2 * B)


def measure(loss: Callable[..., Tensor], rounds: int) -> tuple[float, float, Tensor]:
    """CPU seconds of the best round, the loss, and its gradient in the first views."""
    generator = torch.Generator().manual_seed(0)
    z_a, z_b = (torch.randn(B, D, dtype=torch.float64, generator=generator) for _ in range(2))
    z_a.requires_grad_()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        value = loss(z_a, z_b, TEMPERATURE)
        (gradient,) = torch.autograd.grad(value, z_a)
        best = min(best, time.process_time() - start)
    return best, float(value.detach()), gradient


def main() -> None:
    torch.set_num_threads(1)
    slow, expected, slow_gradient = measure(naive, 2)
    fast, value, gradient = measure(nt_xent, 20)
    error = float((gradient - slow_gradient).norm() / slow_gradient.norm())
    print(f"naive loop  {1e3 * slow:9.2f} ms")
    print(f"nt_xent     {1e3 * fast:9.2f} ms")
    print(f"ratio       {slow / fast:9.0f}")
    print(f"difference of the losses {abs(value - expected):.1e}, of the gradients {error:.1e}")


if __name__ == "__main__":
    main()

"""Random tensors for tests of equations, and how far two tensors are apart."""

import torch


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())

"""NT-Xent and InfoNCE against naive loops and float64 gradient checks."""

import math

import pytest
import torch
from tensors import draw

from labelfix.equations.contrastive import info_nce, nt_xent


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def naive_nt_xent(z_a, z_b, temperature):
    """Algorithm 1 of Chen et al. 2020, word by word: views 2k-1 and 2k belong together."""
    views = [z for pair in zip(z_a, z_b, strict=True) for z in pair]

    def loss(i, j):
        others = [k for k in range(len(views)) if k != i]
        below = sum(math.exp(cosine(views[i], views[k]) / temperature) for k in others)
        return -math.log(math.exp(cosine(views[i], views[j]) / temperature) / below)

    pairs = [loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(len(z_a))]
    return sum(pairs) / len(views)


def naive_info_nce(query, key, queue, temperature):
    total = 0.0
    for q, k in zip(query, key, strict=True):
        positive = math.exp(cosine(q, k) / temperature)
        total -= math.log(
            positive / (positive + sum(math.exp(cosine(q, m) / temperature) for m in queue))
        )
    return total / len(query)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_nt_xent_equals_the_naive_loop(batch, temperature):
    z_a, z_b = draw(batch, 5), draw(batch, 5, seed=1)
    expected = naive_nt_xent(z_a, z_b, temperature)
    assert float(nt_xent(z_a, z_b, temperature)) == pytest.approx(expected, rel=1e-12)


def test_nt_xent_by_hand():
    z = torch.eye(2, dtype=torch.float64)  # partners alike, the others orthogonal
    expected = math.log(math.e + 2) - 1
    assert float(nt_xent(z, 3 * z, 1.0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_info_nce_equals_the_naive_loop(temperature):
    query, key, queue = draw(4, 6), draw(4, 6, seed=1), draw(9, 6, seed=2)
    expected = naive_info_nce(query, key, queue, temperature)
    assert float(info_nce(query, key, queue, temperature)) == pytest.approx(expected, rel=1e-12)


def test_gradients():
    z_a, z_b = draw(3, 4).requires_grad_(), draw(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3), (z_a, z_b))
    key, queue = draw(3, 4, seed=2), draw(5, 4, seed=3)
    assert torch.autograd.gradcheck(lambda q: info_nce(q, key, queue, 0.3), z_a)


def test_no_gradient_reaches_keys_and_queue():
    query, key, queue = (draw(3, 4, seed=s).requires_grad_() for s in range(3))
    info_nce(query, key, queue, 0.2).backward()
    assert query.grad is not None
    assert key.grad is None
    assert queue.grad is None


def test_half_precision_is_widened():
    z = draw(4, 8).bfloat16()
    assert nt_xent(z, z, 0.1).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match="temperature"):
        nt_xent(draw(2, 2), draw(2, 2), temperature)


def test_bad_shapes():
    with pytest.raises(ValueError, match="shape"):
        nt_xent(draw(2, 3), draw(3, 3), 0.1)
    with pytest.raises(ValueError, match="queue"):
        info_nce(draw(2, 3), draw(2, 3), draw(4, 5), 0.1)

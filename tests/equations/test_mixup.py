"""Beta draws against their moments and limits; mixing by hand."""

import pytest
import torch

from labelfix.equations.mixup import mix, sample_beta


def draw(first, second, count=40_000, dtype=torch.float32):
    shapes = (torch.full((count,), float(shape), dtype=dtype) for shape in (first, second))
    return sample_beta(*shapes, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("first", "second"), [(1, 1), (4, 4), (0.3, 0.3), (2, 5), (0.1, 3.9), (30, 2)]
)
def test_moments(first, second):
    found, total = draw(first, second), first + second
    spread = (first * second / (total**2 * (total + 1))) ** 0.5
    assert float(found.mean()) == pytest.approx(first / total, abs=4 * spread / 200)
    assert float(found.std()) == pytest.approx(spread, rel=0.04)
    assert ((found >= 0) & (found <= 1)).all()


def test_the_uniform_law_is_uniform():
    deciles = torch.histc(draw(1, 1), 10, 0, 1) / 40_000
    assert deciles.tolist() == pytest.approx([0.1] * 10, abs=0.008)


def test_tiny_shapes_give_ends_and_no_nan():
    found = draw(1e-8, 1e-8, 1000)
    assert found.isfinite().all()
    assert ((found < 1e-6) | (found > 1 - 1e-6)).all()
    assert float(found.mean()) == pytest.approx(0.5, abs=0.08)


def test_the_generator_alone_decides():
    torch.manual_seed(1)
    first = draw(2, 3, 50)
    torch.manual_seed(2)
    assert torch.equal(first, draw(2, 3, 50))


def test_mixing_by_hand():
    values = torch.tensor([[0.0, 1.0], [10.0, 20.0]])
    found = mix(values, torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    assert found.tolist() == [[2.5, 5.75], [5.0, 10.5]]
    images = torch.arange(8.0).view(2, 1, 2, 2)
    assert torch.equal(mix(images, torch.tensor([1, 0]), torch.ones(1)), images)

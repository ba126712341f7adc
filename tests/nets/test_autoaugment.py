"""AutoAugment is drawn from its generator."""

import torch

from labelfix.nets.autoaugment import auto_augment


def test_auto_augment_is_drawn_from_its_generator():
    images = torch.randint(0, 256, (12, 8, 8, 3), dtype=torch.uint8)
    state = torch.get_rng_state()
    one, two = (auto_augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, two)
    assert one.shape == (12, 3, 8, 8)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert not torch.equal(one, auto_augment(images, torch.Generator().manual_seed(4)))

"""AutoAugment for batches on their device (Cubuk et al., CVPR 2019), by torchvision."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from labelfix.nets.views import supervised_view

GROUPS = 8  # draws a batch: torchvision draws once a call


def auto_augment(images: Tensor, generator: torch.Generator, *, flip: float = 0.5) -> Tensor:
    """Shifted, mirrored and then auto-augmented views by the CIFAR-10 policy.

    Args:
        images: uint8 ``(B, H, W, 3)``.
        generator: of the images' device.
        flip: probability of mirroring.

    Returns:
        float32 ``(B, 3, H, W)`` in [0, 1].

    Differs: EMLC draws a policy for each image; here a batch has eight draws, each for the images
    of one random group, which is several times faster.
    """
    views = supervised_view(images, generator, flip=flip)
    pixels = (255 * views).round().to(torch.uint8)
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    order = torch.randperm(len(pixels), generator=generator, device=images.device)
    seed = torch.randint(2**31, (), generator=generator, device=images.device)
    with torch.random.fork_rng(devices=[]):  # torchvision knows only the global generator
        torch.default_generator.manual_seed(int(seed))
        for group in order.tensor_split(GROUPS):
            if len(group):
                views[group] = policy(pixels[group]).float() / 255
    return views

"""Batched SimCLR augmentation against torchvision's transforms on PIL images, in one run.

    python pipelines/bench_augment.py

Both sides make the same views of 32 x 32 pixels on one thread: random resized crop, flip, colour
jitter, grayscale (torchvision then converts to a tensor); random images, no data needed.

Measured in 20 seconds on one core of an AMD EPYC that others loaded too (CPU seconds count):
1,195 views a second by PIL transforms, 24,071 batched: 20 times. The goal is 6 times.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from PIL import Image
from torchvision import transforms

from labelfix.nets.views import ViewConfig, simclr_view

IMAGES = 512
ROUNDS = 5


def rate(run: Callable[[], object]) -> float:
    """Views per CPU second: the best round, since other work on the machine only slows."""
    run()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return IMAGES / best


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(IMAGES, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear")
    images = (255 * smooth).byte().permute(0, 2, 3, 1).contiguous()
    pictures = [Image.fromarray(image.numpy()) for image in images]
    config = ViewConfig()
    jitter = transforms.ColorJitter(
        config.brightness, config.contrast, config.saturation, config.hue
    )
    recipe = transforms.Compose(
        [
            transforms.RandomResizedCrop(32, scale=(config.min_scale, 1.0)),
            transforms.RandomHorizontalFlip(config.flip),
            transforms.RandomApply([jitter], config.jitter),
            transforms.RandomGrayscale(config.grayscale),
            transforms.ToTensor(),
        ]
    )
    theirs = rate(lambda: torch.stack([recipe(picture) for picture in pictures]))
    ours = rate(lambda: simclr_view(images, config, generator))
    print(f"PIL transforms  {theirs:9,.0f} views a second and core")
    print(f"batched         {ours:9,.0f} views a second and core")
    print(f"ratio           {ours / theirs:9.1f}")


if __name__ == "__main__":
    main()

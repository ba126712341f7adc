"""Colour changes and blur of image batches, parameters drawn per sample from a generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision weigh grey


def draw(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform [0, 1) numbers on the generator's device."""
    size = (shape,) if isinstance(shape, int) else shape
    return torch.rand(size, generator=generator, device=generator.device)


def random_colours(
    count: int,
    generator: torch.Generator,
    *,
    jitter: float,
    strengths: tuple[float, float, float, float],
    grayscale: float,
) -> tuple[Tensor, Tensor]:
    """The colour change of every sample: matrices (count, 3, 3) and contrast factors (count,).

    Args:
        count: samples.
        generator: of the device where the result is wanted.
        jitter: probability of any change but grey.
        strengths: of brightness, contrast, saturation (uniform in 1 +- x) and hue (turns, +- x).
        grayscale: probability of grey.
    """
    changed = draw(count, generator) < jitter

    def around(centre: float, strength: float) -> Tensor:
        drawn = centre + strength * (2 * draw(count, generator) - 1)
        return torch.where(changed, drawn, torch.full_like(drawn, centre))

    brightness, contrast, saturation, hue = map(around, (1, 1, 1, 0), strengths)
    saturation = saturation * (draw(count, generator) >= grayscale)
    return colour_matrix(brightness * contrast, saturation, hue), contrast


def colour_matrix(gain: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """RGB matrices (B, 3, 3): gain * (hue turn in the YIQ chroma plane) * (saturation).

    All arguments are (B,): gain and saturation as factors, hue in turns. The luma of the result is
    that of the input times the gain; saturation 0 gives grey.
    """
    device = gain.device
    luma = torch.tensor(LUMA, device=device)
    to_yiq = torch.stack(
        [
            luma,
            torch.tensor([0.5959, -0.2746, -0.3213], device=device),
            torch.tensor([0.2115, -0.5227, 0.3112], device=device),
        ]
    )
    sine, cosine = torch.sin(2 * math.pi * hue), torch.cos(2 * math.pi * hue)
    chroma = torch.zeros(len(gain), 3, 3, device=device)
    chroma[:, 0, 0] = 1
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * cosine
    chroma[:, 1, 2], chroma[:, 2, 1] = saturation * sine, -saturation * sine
    turn = torch.linalg.inv(to_yiq) @ chroma @ to_yiq
    return gain[:, None, None] * turn


def apply_colours(view: Tensor, matrix: Tensor, contrast: Tensor) -> Tensor:
    """Applies `matrix`, shifts towards each image's mean grey by `contrast`, clips to [0, 1].

    Args:
        view: float (B, 3, S, S) in [0, 255].
        matrix: (B, 3, 3), with the contrast factor in its gain.
        contrast: (B,) factors.
    """
    B, C, S, _ = view.shape
    pixels = view.view(B, C, S * S)
    matrix = matrix / 255
    grey = torch.einsum("c,bcd,bd->b", matrix.new_tensor(LUMA), matrix, pixels.mean(dim=2))
    shift = ((1 / contrast.clamp_min(1e-3)) - 1) * grey
    out = torch.baddbmm(shift[:, None, None].expand(B, C, 1), matrix, pixels)
    return out.clamp_(0, 1).view(B, C, S, S)


def random_blur(view: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Gaussian blur of a random share of (B, C, S, S), sigma in [0.1, 2] * S / 224 pixels."""
    B, C, S, _ = view.shape
    sigma = (0.1 + 1.9 * draw(B, generator)) * S / 224
    reach = max(1, math.ceil(3 * 2 * S / 224))
    offset = torch.arange(-reach, reach + 1, device=view.device)
    kernel = torch.softmax(-0.5 * (offset / sigma[:, None]) ** 2, dim=1)
    untouched = (draw(B, generator) >= probability)[:, None]
    kernel = torch.where(untouched, (offset == 0).float(), kernel).repeat_interleave(C, dim=0)
    flat = torch.nn.functional.pad(view.reshape(1, B * C, S, S), (reach,) * 4, mode="reflect")
    flat = torch.conv2d(flat, kernel[:, None, :, None], groups=B * C)
    return torch.conv2d(flat, kernel[:, None, None, :], groups=B * C).view(B, C, S, S)

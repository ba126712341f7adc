"""Augmented views of image batches, on the batch's device, parameters drawn per sample.

Everything takes uint8 batches as they are stored, (B, H, W, 3), and gives float32 (B, 3, S, S) in
[0, 1]. torchvision's batched transforms draw one parameter for the whole batch, so these are our
own: a crop is two passes of linear interpolation over gathered rows, and brightness, contrast,
saturation, hue and grayscale are one 3 x 3 matrix and an offset per sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from labelfix.nets.colours import apply_colours, draw, random_blur, random_colours
from labelfix.ranges import AtLeastOne, Share, Within, check_settings

_CROP_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """The SimCLR augmentation (Chen et al. 2020, Appendix A), in its form for small images.

    Attributes:
        size: pixels of a view's side; None = as stored.
        min_scale: smallest share of the image's area in a crop, in (0, 1].
        flip: probability of a horizontal flip; 0 where left and right mean something (digits).
        jitter: probability of colour jitter.
        brightness, contrast, saturation: factors are uniform in [1 - x, 1 + x], x in [0, 1].
        hue: turns of the colour circle, uniform in [-x, x], x in [0, 0.5].
        grayscale: probability of grey.
        blur: probability of a Gaussian blur, sigma uniform in [0.1, 2] pixels at 224; applied only
            where the view has 64 pixels or more.
    """

    size: AtLeastOne | None = None
    min_scale: Annotated[float, Within(0, 1, open_low=True)] = 0.2
    flip: Share = 0.5
    jitter: Share = 0.8
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.4
    hue: Annotated[float, Within(0, 0.5)] = 0.1
    grayscale: Share = 0.2
    blur: Share = 0.5

    def __post_init__(self) -> None:
        check_settings(self)


def to_unit(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) as stored to float32 (B, 3, H, W) in [0, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(255)


def simclr_view(images: Tensor, config: ViewConfig, generator: torch.Generator) -> Tensor:
    """One view: random resized crop, flip, colour jitter, grayscale, blur.

    Args:
        images: uint8 (B, H, W, 3).
        config: strengths and probabilities.
        generator: of the images' device.

    Returns:
        float32 (B, 3, S, S) in [0, 1].

    Differs: crops lie at fractional positions; the colour steps stand in the fixed order
    brightness, contrast, saturation, hue and are clipped once at the end; hue turns the chroma
    plane of YIQ, not the hexagon of HSV. Enlarging needs no antialiasing; shrinking has none.
    """
    B, H, W, _ = images.shape
    size = config.size or H
    box = random_boxes(B, H, W, config.min_scale, generator)
    flip = draw(B, generator) < config.flip
    view = crop_resize(images, box, flip, size)
    matrix, contrast = random_colours(
        B,
        generator,
        jitter=config.jitter,
        strengths=(config.brightness, config.contrast, config.saturation, config.hue),
        grayscale=config.grayscale,
    )
    view = apply_colours(view, matrix, contrast)
    if size >= 64 and config.blur > 0:
        view = random_blur(view, config.blur, generator)
    return view


def random_boxes(
    count: int, height: int, width: int, min_scale: float, generator: torch.Generator
) -> Tensor:
    """Boxes of random resized crops: (count, 4) of top, left, height, width in pixels.

    Area uniform in [min_scale, 1] of the image, log aspect ratio uniform in [log 3/4, log 4/3];
    the first of ten draws that fits the image counts, else the whole image (as in torchvision).
    """
    area = (min_scale + (1 - min_scale) * draw((count, _CROP_TRIES), generator)) * height * width
    spread = math.log(4 / 3)
    aspect = torch.exp((2 * draw((count, _CROP_TRIES), generator) - 1) * spread)
    sides = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=2)
    limit = torch.tensor([height, width], device=sides.device)
    fits = (sides <= limit).all(dim=2)
    first = fits.int().argmax(dim=1)
    chosen = sides[torch.arange(count, device=sides.device), first]
    chosen = torch.where(fits.any(dim=1, keepdim=True), chosen, limit.to(chosen))
    corner = draw((count, 2), generator) * (limit - chosen)
    return torch.cat([corner, chosen], dim=1)


def crop_resize(images: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    """Bilinear resampling of one box per image to (B, 3, size, size), in the images' range.

    Args:
        images: uint8 (B, H, W, 3).
        box: (B, 4) of top, left, height, width in pixels, within the image.
        flip: bool (B,), mirror left and right.
        size: pixels of the result's side.

    Both passes gather whole rows of pixels, which is several times faster than `grid_sample`.
    """
    B, H, W, C = images.shape
    rows = _sample_positions(box[:, 0], box[:, 2], size)
    columns = _sample_positions(box[:, 1], box[:, 3], size)
    columns = torch.where(flip[:, None], columns.flip(1), columns)
    tall = _lerp_rows(images.reshape(B, H, W * C), rows)
    turned = tall.view(B, size, W, C).permute(0, 2, 3, 1).reshape(B, W, C * size)
    return _lerp_rows(turned, columns).view(B, size, C, size).permute(0, 2, 3, 1).contiguous()


def _sample_positions(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Source coordinates (B, size) of pixel centres, clamped to the box's own pixels."""
    steps = (torch.arange(size, device=start.device) + 0.5) / size
    inside = (steps * length[:, None] - 0.5).clamp_min(0)
    return start[:, None] + torch.minimum(inside, (length[:, None] - 1).clamp_min(0))


def _lerp_rows(table: Tensor, positions: Tensor) -> Tensor:
    """Linear interpolation between rows: table (B, N, M), positions (B, S) -> float (B, S, M)."""
    B, N, M = table.shape
    low = positions.floor().clamp_(0, N - 1)
    share = (positions - low).view(-1, 1)
    first = torch.arange(B, device=table.device)[:, None] * N
    index = (low.long() + first).view(-1)
    above = ((low.long() + 1).clamp_(max=N - 1) + first).view(-1)
    flat = table.reshape(B * N, M)
    low_rows, above_rows = flat.index_select(0, index), flat.index_select(0, above)
    mixed = torch.lerp(low_rows.float(), above_rows.float(), share)
    return mixed.view(B, -1, M)


def supervised_view(
    images: Tensor, generator: torch.Generator, *, pad: int | None = None, flip: float = 0.5
) -> Tensor:
    """The usual view for supervised training: a shift by up to `pad` pixels, mirrored borders.

    Args:
        images: uint8 (B, H, W, 3).
        generator: of the images' device.
        pad: largest shift in pixels each way; None = an eighth of the side (4 at 32 pixels).
        flip: probability of a horizontal flip; 0 where left and right mean something.

    Returns:
        float32 (B, 3, H, W) in [0, 1].
    """
    B, H, W, C = images.shape
    reach = H // 8 if pad is None else pad
    shift = torch.randint(-reach, reach + 1, (2, B, 1), generator=generator, device=images.device)
    rows = _mirror(torch.arange(H, device=images.device) + shift[0], H)
    columns = _mirror(torch.arange(W, device=images.device) + shift[1], W)
    mirrored = draw((B, 1), generator) < flip
    columns = torch.where(mirrored, columns.flip(1), columns)
    pixel = (torch.arange(B, device=images.device)[:, None] * H + rows)[:, :, None] * W
    index = (pixel + columns[:, None, :]).view(-1)
    return to_unit(images.reshape(B * H * W, C).index_select(0, index).view(B, H, W, C))


def _mirror(index: Tensor, size: int) -> Tensor:
    """Folds indices that lie beyond an edge back inside, the edge pixel not repeated."""
    return (size - 1 - (size - 1 - index.abs()).abs()).clamp_(0, size - 1)

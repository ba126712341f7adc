"""Augmented views against torchvision's transforms, one sample at a time."""

import dataclasses

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from labelfix.nets import colours, views
from labelfix.nets.views import ViewConfig, simclr_view, supervised_view

NOTHING = ViewConfig(min_scale=1.0, flip=0, jitter=0, grayscale=0, blur=0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=6, side=16, seed=0):
    """Smooth colour pictures away from black and white, so that nothing is clipped."""
    coarse = torch.rand(count, 3, 4, 4, generator=generator(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (80 + 60 * smooth).byte().permute(0, 2, 3, 1).contiguous()


def test_crop_resize_equals_torchvision():
    images = pictures()
    boxes = torch.tensor(
        [[0, 0, 16, 16], [2, 3, 8, 10], [5, 0, 11, 4], [0, 9, 3, 7]] + 2 * [[1, 1, 12, 12]]
    )
    flip = torch.tensor([False, True, False, True, False, True])
    made = views.crop_resize(images, boxes.float(), flip, 12)
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        image = images[i].permute(2, 0, 1).float()
        expected = tv.resized_crop(image, top, left, height, width, [12, 12], antialias=False)
        expected = tv.horizontal_flip(expected) if flip[i] else expected
        torch.testing.assert_close(made[i], expected, atol=1e-3, rtol=0)


def colour(images, *, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    count = len(images)
    matrix = colours.colour_matrix(
        torch.full((count,), brightness * contrast),
        torch.full((count,), saturation),
        torch.full((count,), hue),
    )
    view = images.permute(0, 3, 1, 2).float().contiguous()
    return colours.apply_colours(view, matrix, torch.full((count,), contrast))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_changes_equal_torchvision(name, factor):
    images = pictures()
    expected = getattr(tv, f"adjust_{name}")(views.to_unit(images), factor)
    torch.testing.assert_close(colour(images, **{name: factor}), expected, atol=2e-3, rtol=0)


def test_saturation_zero_is_grey():
    images = pictures()
    expected = tv.rgb_to_grayscale(views.to_unit(images), num_output_channels=3)
    torch.testing.assert_close(colour(images, saturation=0.0, hue=0.2), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("hue", [-0.1, 0.05, 0.1])
def test_hue_turns_as_torchvision_does(hue):
    """YIQ and HSV differ, but colours must move to the same side and about as far."""
    images = pictures()
    before = views.to_unit(images)
    ours, theirs = colour(images, hue=hue) - before, tv.adjust_hue(before, hue) - before
    similar = torch.nn.functional.cosine_similarity(ours.flatten(1), theirs.flatten(1))
    assert similar.min() > 0.5
    assert 0.5 < ours.norm() / theirs.norm() < 2


def test_no_change_is_the_image():
    images = pictures()
    view = simclr_view(images, NOTHING, generator())
    torch.testing.assert_close(view, views.to_unit(images), atol=1e-5, rtol=0)


def test_boxes_fit_and_spread():
    boxes = views.random_boxes(4000, 32, 24, 0.2, generator())
    top, left, height, width = boxes.unbind(1)
    assert (boxes >= 0).all()
    assert (top + height).max() <= 32 + 1e-3
    assert (left + width).max() <= 24 + 1e-3
    share = height * width / (32 * 24)
    assert 0.19 < share.min() < 0.25
    assert share.max() > 0.9
    fitted = (width / height)[(height < 32) | (width < 24)]
    assert 0.74 < fitted.min() < 0.8
    assert 1.2 < fitted.max() < 1.34


def test_parameters_differ_by_sample_and_by_view():
    same = pictures(1).repeat(8, 1, 1, 1)
    draws = generator()
    one, two = (simclr_view(same, ViewConfig(), draws) for _ in range(2))
    assert (one[0] - one[1:]).abs().amax(dim=(1, 2, 3)).min() > 0.01
    assert (one - two).abs().amax(dim=(1, 2, 3)).min() > 0.01


@pytest.mark.parametrize("size", [None, 9, 64, 80])
def test_range_shape_and_repeatability(size):
    images = torch.randint(0, 256, (5, 16, 16, 3), dtype=torch.uint8, generator=generator())
    config = ViewConfig(size=size)
    first = simclr_view(images, config, generator(3))
    assert first.shape == (5, 3, size or 16, size or 16)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, simclr_view(images, config, generator(3)))


def test_blur_equals_torchvision():
    view = torch.rand(4, 3, 64, 64, generator=generator())
    blurred = colours.random_blur(view, 1.0, generator(1))
    sigma = (0.1 + 1.9 * torch.rand(4, generator=generator(1))) * 64 / 224
    for i in range(4):
        expected = tv.gaussian_blur(view[i], [5, 5], [float(sigma[i])] * 2)
        torch.testing.assert_close(blurred[i], expected, atol=1e-5, rtol=0)


def test_supervised_view_is_a_shift_and_a_flip():
    images = pictures(64)
    made = supervised_view(images, generator(), pad=2)
    padded = torch.nn.functional.pad(views.to_unit(images), (2,) * 4, mode="reflect")
    for view, picture in zip(made, padded, strict=True):
        windows = [picture[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
        windows += [window.flip(2) for window in windows]
        assert min((view - window).abs().max() for window in windows) < 1e-6


def test_no_shift_and_no_flip_is_the_image():
    images = pictures()
    view = supervised_view(images, generator(), pad=0, flip=0)
    assert torch.equal(view, views.to_unit(images))


@pytest.mark.parametrize(
    "bad", [{"size": 0}, {"min_scale": 0}, {"flip": 1.5}, {"hue": 0.6}, {"contrast": -0.1}]
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        dataclasses.replace(ViewConfig(), **bad)

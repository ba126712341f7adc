"""Images of every mode, size and orientation become pixels of one size."""

import numpy as np
import pytest
from input_files import picture, write
from PIL import Image

from labelfix.inputs import (
    decode,
    read,
)


def decoded(frame, tmp_path, **options):
    return decode(read(write(frame, tmp_path / "d.csv")), tmp_path / "p.npy", **options)


def test_small_images_of_one_size_keep_their_pixels(frame, tmp_path):
    calls = []
    pixels = decoded(frame, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert pixels.images.shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(pixels.images[3], np.asarray(picture(3)))
    assert len(set(pixels.keys.tolist())) == 6
    assert calls[-1] == (12, 12)
    assert not pixels.images.flags.writeable


def test_images_of_several_sizes_become_squares_of_the_median_short_side(frame, tmp_path):
    picture(0, (30, 10)).save(tmp_path / "0.png")
    picture(1, (8, 20)).save(tmp_path / "1.png")
    for place in (2, 3, 4, 5):
        picture(place, (6, 6)).save(tmp_path / f"{place}.png")
    assert decoded(frame, tmp_path).images.shape == (6, 6, 6, 3)
    assert decoded(frame, tmp_path, size=(5, 7)).images.shape == (6, 5, 7, 3)


def test_large_images_are_reduced(frame, tmp_path):
    for place in range(6):
        Image.new("RGB", (300, 260), (place, 0, 0)).save(tmp_path / f"{place}.png")
    pixels = decoded(frame, tmp_path)
    assert pixels.images.shape == (6, 224, 224, 3)
    assert (pixels.images[5] == (5, 0, 0)).all()


def test_every_mode_becomes_rgb(frame, tmp_path):
    red = Image.new("RGB", (4, 4), "red")
    red.convert("P").save(tmp_path / "0.png")
    Image.fromarray(np.full((4, 4), 0x8040, np.uint16)).save(tmp_path / "1.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "2.png")
    Image.new("L", (4, 4), 7).save(tmp_path / "3.png")
    Image.new("1", (4, 4), 1).save(tmp_path / "4.png")
    red.convert("CMYK").save(tmp_path / "5.png", format="TIFF")
    images = decoded(frame, tmp_path).images[:, 0, 0].tolist()
    assert images[:5] == [[255, 0, 0], [128] * 3, [255] * 3, [7] * 3, [255] * 3]
    assert images[5][0] > 200
    assert max(images[5][1:]) < 60


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_orientation_is_applied(frame, tmp_path, format):
    lying = Image.new("RGB", (8, 4), "white")
    lying.paste("black", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    for place in range(6):
        lying.save(tmp_path / f"{place}.png", format=format, exif=exif)
    images = decoded(frame, tmp_path, size=None if format != "PNG" else (8, 4)).images
    assert images.shape == (6, 8, 4, 3)
    assert images[0, 0].max() < 60
    assert images[0, -1].min() > 200


def test_keys_of_pixels_ignore_the_encoding(frame, tmp_path):
    before = decoded(frame, tmp_path).keys
    for place in range(6):
        picture(place).save(tmp_path / f"{place}.png", format="BMP")
    np.testing.assert_array_equal(decoded(frame, tmp_path).keys, before)

"""Folders of class-named folders: which names are classes, and which are splits of the data."""

import pytest
from PIL import Image

from labelfix.errors import InputError
from labelfix.inputs import read


def folder(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)
    return root


def images(*folders):
    return [f"{name}/{number}.png" for name in folders for number in range(3)]


@pytest.mark.parametrize("other", ["xray/val", "augmented", "backup/train"])
def test_splits_are_never_classes_though_another_folder_lies_beside_them(tmp_path, other):
    splits = ("train", "test", other)
    names = images(*(f"{split}/{label}" for split in splits for label in ("cat", "dog")))
    root = folder(tmp_path, *names)
    beside = other.split("/")[0]
    with pytest.raises(InputError, match=f"splits 'test', 'train' beside '{beside}', not cl") as no:
        read(root)
    assert f"give one split, such as {root / 'train'}" in str(no.value)
    assert read(root / "train").class_names == ("cat", "dog")


def test_a_class_may_be_called_like_a_split(tmp_path):
    root = folder(tmp_path, *images("bus", "car", "train"))
    assert read(root).class_names == ("bus", "car", "train")
    root = folder(tmp_path / "deep", *images("bus/a", "train/steam"), "train/0.png")
    assert read(root).class_names == ("bus", "train")


def test_classes_are_said_with_their_numbers(tmp_path):
    root = folder(tmp_path / "pets", *images("cat", "dog"), "dog/more/9.png", "new.png")
    notices = read(root).notices
    assert "pets: labels from the folders' names: 2 classes: dog 4, cat 3" in notices

"""File names whose bytes are not UTF-8, as in a zip from a Latin-1 system."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelfix.inputs import decode, read
from labelfix.inputs.file_names import as_text, find_file
from labelfix.workflows.output_folder import stamps


def picture(path: bytes, value: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    try:
        with open(path, "wb") as file:
            Image.fromarray(pixels).save(file, format="PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")


@pytest.fixture
def pets(tmp_path):
    for number in range(6):
        folder = os.fsencode(tmp_path / "pets" / ("cat" if number < 3 else "dog"))
        picture(folder + (b"/caf\xe9_%d.png" if number % 3 == 0 else b"/x_%d.png") % number, number)
    return tmp_path / "pets"


def test_such_images_are_read_and_their_ids_lead_back_to_them(pets, tmp_path):
    dataset = read(pets)
    assert dataset.ids[0] == "cat/caf\\xe9_0.png"
    assert len(decode(dataset, tmp_path / "p.npy").images) == 6
    assert any(
        r"2 file names not in UTF-8, written by their bytes, the first 'cat/caf\xe9_0.png'" in line
        for line in dataset.notices
    )
    for name, path in zip(dataset.ids, dataset.encoded_images(), strict=True):
        assert as_text(os.path.relpath(path, pets)) == name
    assert stamps(list(dataset.encoded_images()))


def test_a_clean_folder_of_such_names_audits_the_same_files(pets, tmp_path):
    checked = pd.DataFrame(
        {"image": [r"cat/caf\xe9_0.png", "dog/x_4.png"], "label": ["dog", "dog"]}
    )
    checked.to_csv(pets / "c.csv", index=False)
    dataset = read(pets, pets / "c.csv")
    assert dataset.clean.tolist() == [1, -1, -1, -1, 1, -1]


def test_a_table_in_utf8_may_name_files_in_latin_1(pets, tmp_path):
    paths = ["cat/café_0.png", "cat/x_1.png", "cat/x_2.png", "dog/café_3.png", "dog/x_4.png"]
    frame = pd.DataFrame({"image": paths, "label": ["cat", "cat", "cat", "dog", "dog"]})
    frame.to_csv(pets / "d.csv", index=False)
    dataset = read(pets / "d.csv")
    assert len(decode(dataset, tmp_path / "p.npy").images) == 5


def test_names_that_are_there_as_written_are_left_alone(tmp_path):
    (tmp_path / r"a\xe9.png").touch()
    assert find_file(str(tmp_path), r"a\xe9.png") == str(tmp_path / r"a\xe9.png")
    assert find_file(str(tmp_path), r"gone\xe9.png") == str(tmp_path / r"gone\xe9.png")
    (tmp_path / "é.png").touch()
    assert find_file(str(tmp_path), "é.png") == str(tmp_path / "é.png")

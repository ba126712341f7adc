"""The files that the docs' snippets work on, small: a user's tables, images and features."""

from pathlib import Path

import numpy as np
import pandas as pd
from builders import draw_picture
from PIL import Image

NAMES = np.array(["cat", "dog", "fox"])
ROWS, TESTED, CHECKED = 120, 24, 36
WORDS = (
    ["warm soft milk sleep purr", "bark walk stick park run", "red forest night hen den"],
    ["the and very often quite", "a was with some when", "it had then also much"],
)


def write_files(folder: Path) -> None:
    """Everything that README and docs name: data.csv, features.npy, photos/, reviews.csv, ..."""
    random = np.random.default_rng(0)
    right = np.arange(ROWS + TESTED) % len(NAMES)
    given = right.copy()
    wrong = random.permutation(ROWS)[: ROWS // 4]
    given[wrong] = (given[wrong] + 1) % len(NAMES)
    checked = np.sort(random.permutation(ROWS)[:CHECKED])
    _write_images(folder, right, given, checked)
    _write_features(folder, right, random)
    _write_reviews(folder, right[:ROWS], given[:ROWS], checked, random)


def _write_images(folder: Path, right: np.ndarray, given: np.ndarray, checked: np.ndarray) -> None:
    (folder / "images").mkdir()
    paths = [f"images/{row:03d}.png" for row in range(len(right))]
    for row, path in enumerate(paths):
        picture = Image.fromarray(draw_picture(right[row], row))
        picture.save(folder / path)
        if row < ROWS:
            place = folder / "photos" / NAMES[given[row]] / f"{row:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            picture.save(place)
    table = pd.DataFrame({"image": paths, "label": NAMES[right]})
    _save(folder, "right.csv", table[:ROWS])
    _save(folder, "test.csv", table[ROWS:])
    _save(folder, "checked.csv", table.iloc[checked])
    _save(folder, "more-checked.csv", table.iloc[checked[:4] + 1])
    _save(folder, "data.csv", table.assign(label=NAMES[given])[:ROWS])
    photos = [f"photos/{NAMES[given[row]]}/{row:03d}.png" for row in checked]
    _save(folder, "photos-checked.csv", table.iloc[checked].assign(image=photos))


def _write_features(folder: Path, right: np.ndarray, random: np.random.Generator) -> None:
    centres = 4 * np.eye(len(NAMES), 6)
    features = (centres[right] + random.normal(size=(len(right), 6))).astype(np.float32)
    np.save(folder / "features.npy", features[:ROWS])
    np.save(folder / "test.npy", features[ROWS:])
    np.save(folder / "other.npy", random.normal(size=(10, 6)).astype(np.float32))
    _save(folder, "other.csv", pd.DataFrame({"id": [f"o{row}" for row in range(10)]}))


def _write_reviews(
    folder: Path,
    right: np.ndarray,
    given: np.ndarray,
    checked: np.ndarray,
    random: np.random.Generator,
) -> None:
    def write(code: int) -> str:
        about, filler = WORDS[0][code].split(), " ".join(WORDS[1]).split()
        return " ".join([*random.choice(about, 4), *random.choice(filler, 6)])

    table = pd.DataFrame({"id": np.arange(len(right)), "text": [write(code) for code in right]})
    _save(folder, "reviews.csv", table.assign(label=NAMES[given]))
    _save(folder, "reviews-checked.csv", table.assign(label=NAMES[right]).iloc[checked])


def _save(folder: Path, name: str, table: pd.DataFrame) -> None:
    table.to_csv(folder / name, index=False)

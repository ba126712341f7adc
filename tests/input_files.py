"""Pictures and tables as files."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

LABELS = ["cat", "dog", "cat", "dog", "cat", "dog"]


def picture(value: int, size=(4, 4)) -> Image.Image:
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(folder: Path, value: int, **save) -> bytes:
    path = folder / f"encoded{value}.png"
    picture(value).save(path, **save)
    content = path.read_bytes()
    path.unlink()
    return content


def write(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path

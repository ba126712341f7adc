"""Self-supervised pretraining on CIFAR-10: does SimCLR, does MoCo-v2 learn on a CPU?

    python pipelines/pretrain_cifar10.py DATA_FOLDER --method simclr
    python pipelines/pretrain_cifar10.py DATA_FOLDER --method moco

DATA_FOLDER holds `cifar10_train_0.parquet` and `cifar10_test1000.parquet`: CIFAR-10 images in
lossless encoding (PNG or WebP), columns `index`, `image` (bytes) and `label` (0 to 9), the first
10,000 or more train images and the first 1,000 test images in their official order. Anyone can
write them from the official archive (https://www.cs.toronto.edu/~kriz/cifar.html).

The net trains on the first 10,000 train images without their labels, on views of 24 pixels. The
figure is the kNN accuracy (k = 20) on the 1,000 test images, where those train images vote; its
standard error is 1.6 points.

Measured, `smallconv`, seed 0, float32, on an AMD EPYC with two cores that other work kept busy
(so CPU seconds say more than minutes); the SimCLR rows and the second MoCo row with `--threads 1`:

| method | epochs | untrained | trained | gain | minutes | CPU seconds |
| --- | --- | --- | --- | --- | --- | --- |
| simclr | 20 | 33.1 % | 50.0 % | +16.9 | 8.0 | 319 |
| simclr | 8 | 33.1 % | 43.5 % | +10.4 | 3.5 | 144 |
| moco | 20 | 33.1 % | 48.4 % | +15.3 | 5.8 | 581 |
| moco | 8 | 33.1 % | 43.4 % | +10.3 | 4.1 | 176 |

Not yet measured: the same on a GPU with the setting of the literature,
`--backbone resnet18 --epochs 200 --rows 25000 --size 32 --device cuda`.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from cifar10_meta import show
from PIL import Image

from labelfix.nets.views import ViewConfig
from labelfix.pretrain.run import CheckedImages, PretrainConfig, pretrain
from labelfix.training.config import LoopConfig


def read(path: Path, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a table: images uint8 (N, 32, 32, 3) and labels (N,)."""
    table = pq.read_table(path, columns=["image", "label"]).slice(0, rows)
    images = [Image.open(io.BytesIO(image.as_py())).convert("RGB") for image in table["image"]]
    return np.stack([np.asarray(image) for image in images]), table["label"].to_numpy().astype(int)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Self-supervised pretraining on CIFAR-10.")
    parser.add_argument("data", type=Path, help="folder with the two Parquet files")
    parser.add_argument("--method", choices=["simclr", "moco"], default="simclr")
    parser.add_argument("--rows", type=int, default=10_000, help="train images")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--size", type=int, default=24, help="pixels of a view's side")
    parser.add_argument("--backbone", default="smallconv")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 = its own choice")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    images, labels = read(options.data / "cifar10_train_0.parquet", options.rows)
    test, test_labels = read(options.data / "cifar10_test1000.parquet", 1000)
    config = PretrainConfig(
        method=options.method,
        backbone=options.backbone,
        epochs=options.epochs,
        seed=options.seed,
        view=ViewConfig(size=options.size),
    )
    checked = CheckedImages(images=test, labels=test_labels, bank=images, bank_labels=labels)
    loop = LoopConfig(epochs=options.epochs, device=options.device)
    start, work = time.perf_counter(), time.process_time()
    result = pretrain(images, config=config, loop=loop, checked=checked, on_epoch=show)
    minutes, work = (time.perf_counter() - start) / 60, time.process_time() - work
    first, last = (result.history[end].metrics["knn"] for end in (0, -1))
    print(f"{options.method}: kNN accuracy untrained {first:.1%}, trained {last:.1%}, ", end="")
    print(f"{100 * (last - first):+.1f} points in {minutes:.1f} minutes, {work:.0f} CPU seconds")


if __name__ == "__main__":
    main()

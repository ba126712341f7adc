"""The stages that turn images into features: images, pretrain, embed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from labelfix import inputs
from labelfix.errors import InputError
from labelfix.nets import backbones
from labelfix.nets.mirroring import NOT_MIRRORED, may_mirror
from labelfix.nets.views import ViewConfig
from labelfix.nets.weight_files import save_weights
from labelfix.pretrain.embed import embed
from labelfix.pretrain.run import CheckedImages, PretrainConfig, pretrain, pretraining_epochs
from labelfix.training.config import EpochReport
from labelfix.training.distributed import barrier, is_rank_zero
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.output_folder import (
    EMBED,
    IMAGES,
    PRETRAIN,
    OutputFolder,
    digest,
    file_digest,
    fingerprint,
    reading,
    stamps,
    write_json,
)
from labelfix.workflows.settings import PurifyConfig, Run
from labelfix.workflows.source import weights_name


def pretrain_only(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, *, report: Reporter = SILENT
) -> str:
    """Stages images and pretrain alone; returns the path of the weights."""
    run = _run_on_images(dataset, out, config, report)
    weights, _ = pretrain_backbone(dataset, decode_images(dataset, run), run)
    barrier(config.num_nodes)
    if weights == config.weights:
        return weights
    return str(run.files.stages / "pretrain" / "weights.safetensors")


def embed_only(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, *, report: Reporter = SILENT
) -> Path:
    """Stages images, pretrain and embed; returns the path of the features."""
    run = _run_on_images(dataset, out, config, report)
    pixels = decode_images(dataset, run)
    embed_images(pixels, *pretrain_backbone(dataset, pixels, run), run)
    barrier(config.num_nodes)
    return run.files.stages / "embed" / "features.npy"


def _run_on_images(
    dataset: inputs.Dataset, out: Path, config: PurifyConfig, report: Reporter
) -> Run:
    if dataset.features is not None or dataset.image_column is None:
        raise InputError(
            "has no images to learn from", hint="name them with --image-column", file=dataset.source
        )
    require_backbone(config)
    folder = OutputFolder.open(out, writes=is_rank_zero(config.num_nodes))
    return Run(config=config, folder=folder, report=report)


def require_backbone(config: PurifyConfig) -> None:
    """Find out before any work whether the backbone and its weights exist.

    Raises:
        InputError: the name is unknown, or the weights are no file.
    """
    backbones.require_backbone_name(config.backbone_name)
    named = config.weights not in ("random", "pretrained")
    if named and not Path(config.weights).is_file():
        raise InputError(
            "does not exist",
            hint="give --weights random, pretrained or a file",
            file=config.weights,
        )


def decode_images(dataset: inputs.Dataset, run: Run) -> inputs.Pixels:
    """Stage images: one uint8 array of all images, with their content keys."""

    def build(place: Path) -> None:
        with run.report.task("read images") as advance:
            pixels = inputs.decode(
                dataset, place / "pixels.npy", progress=lambda done, total: advance(done, total, "")
            )
        np.save(place / "keys.npy", pixels.keys)

    files = [file for file in dataset.encoded_images() if isinstance(file, Path)]
    key = IMAGES.key(data=dataset.fingerprint, files=stamps(files))
    place = run.stage(IMAGES, key, build)
    with reading(place):
        images = np.load(place / "pixels.npy", mmap_mode="r")
        return inputs.Pixels(images=images, keys=np.load(place / "keys.npy"))


def pretrain_backbone(dataset: inputs.Dataset, pixels: inputs.Pixels, run: Run) -> tuple[str, str]:
    """Stage pretrain: the weights, as ``backbones.build`` takes them, and their key."""
    config = run.config
    if config.weights != "random" or config.pretrain == "none":
        files = [Path(config.weights)] if Path(config.weights).is_file() else []
        key = fingerprint(
            backbone=config.backbone_name,
            weights=weights_name(config.weights),
            file=[file_digest(file) for file in files],
            seed=config.seed,
        )
        return config.weights, key
    epochs = config.epochs or pretraining_epochs(
        len(pixels.images), max(pixels.images.shape[1:3]), config.device
    )
    settings = PretrainConfig(
        method=config.pretrain, backbone=config.backbone_name, epochs=epochs, seed=config.seed,
        view=view_of(dataset, pixels, run),
    )  # fmt: skip
    key = PRETRAIN.key(
        images=digest(pixels.keys), settings=asdict(settings), devices=config.devices,
        num_nodes=config.num_nodes, precision=config.precision, device=config.device,
    )  # fmt: skip

    def build(place: Path) -> None:
        title = f"pretrain ({config.pretrain}, {config.backbone_name}, {epochs} epochs)"
        with run.report.task(title) as advance:

            def tell(epoch: EpochReport) -> None:
                advance(epoch.epoch, epoch.epochs, f"loss {epoch.metrics.get('loss', 0):.3f}")
                if "knn" in epoch.metrics:
                    accuracy = f"{epoch.metrics['knn']:.1%}"
                    run.report.say(f"epoch {epoch.epoch}: kNN accuracy on checked rows {accuracy}")

            trained = pretrain(
                pixels.images,
                config=settings,
                loop=config.loop,
                checked=checked_images(dataset, pixels),
                checkpoint=place / "checkpoint.pt",
                on_epoch=tell,
            )
        save_weights(trained.backbone.net, place / "weights.safetensors")
        write_json(place / "history.json", [asdict(epoch) for epoch in trained.history])
        (place / "checkpoint.pt").unlink(missing_ok=True)

    return str(run.stage(PRETRAIN, key, build) / "weights.safetensors"), key


def view_of(dataset: inputs.Dataset, pixels: inputs.Pixels, run: Run) -> ViewConfig:
    """The augmentation: the one word that labels have in pretraining is whether it may mirror."""
    known = np.where(dataset.clean >= 0, dataset.clean, dataset.given)
    if may_mirror(pixels.images, known):
        return ViewConfig()
    run.report.say(NOT_MIRRORED)
    return ViewConfig(flip=0.0)


def checked_images(dataset: inputs.Dataset, pixels: inputs.Pixels) -> CheckedImages | None:
    """The checked rows' images, for the kNN accuracy that shows whether pretraining learns."""
    labels = dataset.clean
    rows = np.flatnonzero(labels >= 0)
    if len(rows) < 2:
        return None
    return CheckedImages(images=pixels.images[rows], labels=labels[rows], k=min(20, len(rows) - 1))


def embed_images(
    pixels: inputs.Pixels, weights: str, weights_key: str, run: Run
) -> tuple[np.ndarray, str]:
    """Stage embed: ``(N + M, D)`` float16 features, memory-mapped, and their key."""
    name = run.config.backbone_name
    precision = run.config.precision
    key = EMBED.key(images=digest(pixels.keys), backbone=weights_key, precision=precision)

    def build(place: Path) -> None:
        side = max(pixels.images.shape[1:3])
        backbone = backbones.build(name, side, weights=weights, seed=run.config.seed)
        with run.report.task(f"embed ({name})") as advance:
            embed(
                backbone,
                pixels.images,
                device=run.config.device,
                precision=precision,
                destination=place / "features.npy",
                on_batch=lambda done: advance(done, len(pixels.images), ""),
            )

    place = run.stage(EMBED, key, build)
    with reading(place):
        return np.load(place / "features.npy", mmap_mode="r"), key

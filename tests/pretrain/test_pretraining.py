"""Pretraining learns something on tiny data, resumes, and says its kNN accuracy."""

from functools import partial

import numpy as np
import pytest
import torch

from labelfix.errors import DegenerateLearningError
from labelfix.nets import backbones
from labelfix.nets.datasets import ImageStore
from labelfix.nets.views import ViewConfig
from labelfix.pretrain.embed import embed
from labelfix.pretrain.moco import KeyQueue, MocoConfig
from labelfix.pretrain.projection import ContrastiveConfig
from labelfix.pretrain.run import CheckedImages, PretrainConfig, pretrain, pretraining_epochs
from labelfix.training.config import LoopConfig

CPU = LoopConfig(epochs=1, device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def data():
    """Stripes of four directions under noise, on grounds of random colour; their directions."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 256)
    y, x = np.mgrid[:12, :12]
    angle = labels[:, None, None] * np.pi / 4
    wave = np.cos(np.cos(angle) * x + np.sin(angle) * y + rng.uniform(0, 6, (256, 1, 1)))
    ground = rng.uniform(90, 165, (256, 1, 1, 3))
    images = ground + 40 * wave[..., None] + rng.normal(0, 40, (256, 12, 12, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def settings(method, **changes):
    view = ViewConfig(flip=0, min_scale=0.5)
    return PretrainConfig(method=method, batch_size=64, view=view, **{"epochs": 2} | changes)


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_it_learns_and_says_so(data, method):
    images, labels = data
    checked = CheckedImages(images=images, labels=labels, k=5)
    result = pretrain(images, config=settings(method, epochs=8), loop=CPU, checked=checked)
    knn = {r.epoch: r.metrics["knn"] for r in result.history if "knn" in r.metrics}
    assert set(knn) == {0, 2, 4, 6, 8}
    assert knn[8] == pytest.approx(checked.knn(result.backbone, "cpu"))
    assert knn[8] > knn[0] + 0.05


@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_it_resumes(data, tmp_path, method):
    images, _ = data
    whole = pretrain(images, config=settings(method), loop=CPU)

    def stop(report):
        if report.epoch == 1:
            raise KeyboardInterrupt

    often = LoopConfig(epochs=1, device="cpu", precision="32-true", checkpoint_seconds=0)
    run = partial(pretrain, images, config=settings(method), checkpoint=tmp_path / "c.pt")
    with pytest.raises(KeyboardInterrupt):
        run(loop=often, on_epoch=stop)
    resumed = run(loop=often)
    for name, value in whole.backbone.state_dict().items():
        assert torch.equal(value, resumed.backbone.state_dict()[name]), name
    assert [r.metrics for r in whole.history] == [r.metrics for r in resumed.history]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "moco"])
def test_two_processes(data, method):
    images, _ = data
    loop = LoopConfig(epochs=1, device="cpu", precision="32-true", devices=2)
    result = pretrain(images, config=settings(method), loop=loop)
    assert [r.epoch for r in result.history] == [0, 1, 2]
    assert np.isfinite(result.history[-1].metrics["loss"])


def test_a_learning_rate_beyond_reason(data):
    config = settings("simclr", simclr=ContrastiveConfig(lr=1e30))
    with pytest.raises(DegenerateLearningError, match="epoch 1, step"):
        pretrain(data[0], config=config, loop=CPU)


def test_epochs_follow_the_number_and_size_of_images():
    assert pretraining_epochs(10_000, 32, "cpu") == 20
    assert pretraining_epochs(10_000, 64, "cpu") == 5
    assert pretraining_epochs(10**7, 32, "cpu") == 2
    assert pretraining_epochs(100, 8, "cpu") == 60


def test_the_queue_keeps_the_last_keys():
    queue = KeyQueue(5, 1)
    for start in (0, 3, 6):
        queue.push(torch.arange(start, start + 3.0)[:, None])
    assert sorted(queue.keys[:, 0].tolist()) == [4, 5, 6, 7, 8]
    queue.push(torch.arange(10.0, 20)[:, None])
    assert sorted(queue.keys[:, 0].tolist()) == [15, 16, 17, 18, 19]


def test_embed_writes_half_precision_to_a_file(data, tmp_path):
    images, _ = data
    backbone = backbones.build("smallconv", 12)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    memory = embed(backbone, images, batch_size=100, device="cpu")
    file = tmp_path / "features.npy"
    seen = []
    mapped = embed(
        backbone, images, batch_size=100, device="cpu", destination=file, on_batch=seen.append
    )
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == memory.dtype == np.float16
    assert np.array_equal(mapped, memory)
    assert np.array_equal(np.load(file), memory)
    assert memory.shape == (256, 192)
    assert seen == [100, 200, 256]
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert backbone.training


def test_embed_computes_in_the_precision_that_was_asked_for(data):
    images, _ = data
    backbone = backbones.build("smallconv", 12).eval()
    with torch.no_grad():
        exact = backbone(ImageStore(images).to(torch.device("cpu"), keep=False)[torch.arange(256)])
    full, half = (
        embed(backbone, images, device="cpu", precision=precision)
        for precision in ("32-true", "bf16-mixed")
    )
    assert np.array_equal(full, exact.half().numpy())
    assert not np.array_equal(full, half)
    np.testing.assert_allclose(half, full, atol=0.05 * np.abs(full).max())


def test_features_that_are_not_finite(data):
    backbone = backbones.build("smallconv", 12)
    backbone.std.zero_()
    with pytest.raises(DegenerateLearningError, match="images 1 to 256"):
        embed(backbone, data[0], device="cpu")


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (PretrainConfig, {"method": "byol"}),
        (PretrainConfig, {"epochs": 0}),
        (ContrastiveConfig, {"temperature": 0}),
        (ContrastiveConfig, {"momentum": 1}),
        (MocoConfig, {"queue": 0}),
        (MocoConfig, {"key_momentum": 2}),
    ],
)
def test_bad_settings_are_named(kind, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        kind(**bad)

"""Backbones: stems for small images, weights from files, one clear line where nothing fits."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from labelfix.errors import InputError
from labelfix.nets import backbones
from labelfix.nets.backbones import build


@pytest.fixture
def images():
    return torch.randint(
        0, 256, (2, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("smallconv", 8, 192),
        ("smallconv", 32, 192),
        ("resnet10t", 8, 512),
        ("resnet18", 32, 512),
        ("mobilenetv3_small_050", 32, 1024),
        ("convnext_atto", 32, 320),
        ("vit_tiny_patch16_224", 28, 192),
        ("vit_tiny_patch16_224", 128, 192),
    ],
)
def test_any_net_takes_its_images(name, size, features):
    backbone = build(name, size)
    out = backbone.eval()(torch.zeros(2, size, size, 3, dtype=torch.uint8))
    assert out.shape == (2, features)
    assert backbone.num_features == features


def test_the_stem_for_small_images():
    small, large = build("resnet18", 32).net, build("resnet18", 96).net
    assert small.conv1.stride == (1, 1)
    assert small.conv1.kernel_size == (3, 3)
    assert isinstance(small.maxpool, nn.Identity)
    assert large.conv1.stride == (2, 2)
    assert isinstance(large.maxpool, nn.MaxPool2d)
    assert build("vit_tiny_patch16_224", 32).net.patch_embed.patch_size == (4, 4)


def test_stored_and_unit_images_are_the_same(images):
    backbone = build("smallconv", 32).eval()
    unit = images.permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(backbone(images), backbone(unit))


def test_enlarging(images):
    backbone = build("smallconv", 32)
    larger = backbones.Backbone(backbone.net, 192, resize=48).eval()
    assert larger(images).shape == (2, 192)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    one, two, other = (build("smallconv", 32, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    name = "net.layers.0.0.weight"
    assert torch.equal(one[name], two[name])
    assert not torch.equal(one[name], other[name])


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [("", None), ("module.", "state_dict"), ("backbone.net.", None), ("module.encoder.", "model")],
)
def test_weights_from_a_file(tmp_path, images, prefix, wrapper):
    trained = build("smallconv", 32, seed=7).eval()
    state = {prefix + name: value for name, value in trained.net.state_dict().items()}
    state[prefix + "head.weight"] = torch.zeros(3, 3)
    file = tmp_path / "weights.pt"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, file)
    loaded = build("smallconv", 32, weights=file).eval()
    assert torch.equal(loaded(images), trained(images))


def test_weights_from_safetensors(tmp_path, images):
    trained = build("resnet10t", 32, seed=7).eval()
    file = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in trained.state_dict().items()}, file)
    assert torch.equal(build("resnet10t", 32, weights=file).eval()(images), trained(images))


def test_weights_that_do_not_fit(tmp_path):
    file = tmp_path / "weights.pt"
    torch.save(build("smallconv", 32).state_dict(), file)
    with pytest.raises(InputError, match=r"'conv1.*' is missing; name the --backbone"):
        build("resnet18", 32, weights=file)
    state = build("smallconv", 32).net.state_dict()
    torch.save(state | {"layers.0.0.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(InputError, match=r"is \(2, 2\), not \(24, 3, 3, 3\)"):
        build("smallconv", 32, weights=file)
    torch.save(state | {"layers.9.weight": torch.zeros(2)}, file)
    with pytest.raises(InputError, match="has no place"):
        build("smallconv", 32, weights=file)


def test_files_that_hold_no_weights(tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        build("smallconv", 32, weights=tmp_path / "absent.pt")
    for name in ("a.pt", "a.safetensors"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(InputError, match="not a readable"):
            build("smallconv", 32, weights=tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "b.pt")
    with pytest.raises(InputError, match="holds no weights"):
        build("smallconv", 32, weights=tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet1x", "unknown backbone"), ("inception_v3", "cannot take images of 32 pixels")],
)
def test_a_net_that_will_not_do(name, message):
    with pytest.raises(InputError, match=message):
        build(name, 32)


def test_smallconv_has_no_pretrained_weights():
    with pytest.raises(InputError, match="no pretrained"):
        build("smallconv", 32, weights="pretrained")

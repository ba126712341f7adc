"""Feature nets: any timm model, with a stem that suits small images, or the plain `smallconv`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from labelfix.errors import InputError
from labelfix.nets.views import to_unit
from labelfix.nets.weight_files import load_weights

SMALL = 64  # images up to this many pixels a side get the small-image stem
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, the custom in timm


class Backbone(nn.Module):
    """Images to features, normalisation included.

    Attributes:
        num_features: D.
        resize: images are enlarged to this many pixels first; None = taken as they are.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        net: nn.Module,
        num_features: int,
        *,
        mean: tuple[float, ...] = _MEAN,
        std: tuple[float, ...] = _STD,
        resize: int | None = None,
    ) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)
        self.num_features = num_features
        self.resize = resize
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of uint8 (B, H, W, 3) as stored, or of float (B, 3, H, W) in [0, 1]."""
        views = to_unit(images) if images.dtype == torch.uint8 else images
        if self.resize is not None and self.resize != views.shape[-1]:
            size = (self.resize, self.resize)
            views = nn.functional.interpolate(views, size=size, mode="bilinear")
        views = (views - self.mean) / self.std
        return self.net(views.contiguous(memory_format=torch.channels_last))


def build(name: str, image_size: int, *, weights: str | Path = "random", seed: int = 0) -> Backbone:
    """Makes a backbone without its classification head.

    Args:
        name: `smallconv`, or any name that timm knows.
        image_size: pixels of the images' side. Up to 64, nets with random weights or weights from
            a file get the small-image stem: the first convolution 3 x 3 with stride 1 and no
            pooling after it; a patchifying stem takes half its patch; a vision transformer takes
            patches that cut the image into about 8 x 8.
        weights: "random"; "pretrained" (timm's, downloaded; the net keeps its own stem and smaller
            images are enlarged to the size it was trained at); or a .safetensors, .pt or .pth file
            with a state dict of this same backbone, with or without the usual prefixes.
        seed: of random weights; torch's global generator is left as it was.

    Raises:
        InputError: the name is unknown, the net cannot take such images, or the weights do not fit.
    """
    pretrained = str(weights) == "pretrained"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone = (
            _smallconv(weights) if name == "smallconv" else _timm(name, image_size, pretrained)
        )
    if str(weights) not in ("random", "pretrained"):
        load_weights(backbone.net, Path(weights))
    _check(backbone, name, image_size)
    return backbone


def require_backbone_name(name: str) -> None:
    """Check that a backbone has this name.

    Raises:
        InputError: none has; the hint gives names that are near.
    """
    if name != "smallconv" and not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:3] or ["resnet18", "vit_tiny_patch16_224"]
        raise InputError(f"unknown backbone '{name}'", hint=f"try {', '.join(near)} or smallconv")


def _smallconv(weights: str | Path) -> Backbone:
    if str(weights) == "pretrained":
        raise InputError("smallconv has no pretrained weights", hint="use --weights random")
    return Backbone(SmallConv(), SmallConv.num_features)


class SmallConv(nn.Module):
    """A plain net of six 3 x 3 convolutions for CPUs, (B, 3, H, W) -> (B, 192).

    One image of 32 x 32 pixels costs 11 million multiplications.
    """

    num_features = 192

    def __init__(self) -> None:
        super().__init__()
        plan = [(3, 24, 2), (24, 48, 1), (48, 48, 2), (48, 96, 1), (96, 96, 2), (96, 192, 1)]
        self.layers = nn.Sequential(*(self._layer(*sizes) for sizes in plan))

    @staticmethod
    def _layer(inputs: int, outputs: int, stride: int) -> nn.Module:
        conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    def forward(self, views: Tensor) -> Tensor:
        return self.layers(views).mean(dim=(2, 3))


def _timm(name: str, image_size: int, pretrained: bool) -> Backbone:
    require_backbone_name(name)
    settings = timm.get_pretrained_cfg(name)
    native = settings.input_size[1] if settings is not None else 224
    if pretrained and settings is not None:
        net = _create(name, pretrained=True)
        resize = native if image_size < native else None
        return Backbone(net, net.num_features, mean=settings.mean, std=settings.std, resize=resize)
    net = _create(name, **_size_options(name, image_size))
    if image_size <= SMALL:
        _shrink_stem(net)
    return Backbone(net, net.num_features)


def _create(name: str, **options: Any) -> Any:  # noqa: ANN401  (timm models are untyped)
    try:
        return timm.create_model(name, num_classes=0, **options)
    except (RuntimeError, AssertionError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"backbone {name} cannot be made: {reason}", hint="use another --backbone or --weights"
        ) from error


def _size_options(name: str, image_size: int) -> dict[str, int]:
    """The options that size a net with a fixed token grid; {} for convolutional nets."""
    settings = timm.get_pretrained_cfg(name)
    if settings is None or not settings.fixed_input_size:
        return {}
    choices: list[dict[str, int]] = [{"img_size": image_size}]
    if image_size <= SMALL:
        patch = min(_divisors(image_size), key=lambda side: abs(image_size / side - 8))
        choices.insert(0, {"img_size": image_size, "patch_size": patch})
    return next((options for options in choices if _accepts(name, options)), {})


def _accepts(name: str, options: dict[str, Any]) -> bool:
    """Whether timm can make the net with these options, tried without memory for its weights."""
    try:
        with torch.device("meta"):
            timm.create_model(name, num_classes=0, **options)
    except (TypeError, RuntimeError, AssertionError, ValueError, NotImplementedError):
        return False
    return True


def _divisors(number: int) -> Iterator[int]:
    return (side for side in range(1, number + 1) if number % side == 0)


def _shrink_stem(net: nn.Module) -> None:
    """Keeps small images from being shrunk before the net has looked at them."""
    path = next(
        (name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)), None
    )
    if path is None or hasattr(net, "patch_embed"):
        return
    parent = net.get_submodule(path.rpartition(".")[0])
    setattr(parent, path.rpartition(".")[2], _small_conv(net.get_submodule(path)))
    for pool in ("maxpool", "features.pool0", "stem.pool"):
        holder, _, leaf = pool.rpartition(".")
        owner = _submodule(net, holder)
        if owner is not None and isinstance(getattr(owner, leaf, None), nn.Module):
            setattr(owner, leaf, nn.Identity())


def _submodule(net: nn.Module, path: str) -> nn.Module | None:
    try:
        return net.get_submodule(path)
    except AttributeError:
        return None


def _small_conv(conv: nn.Module) -> nn.Conv2d:
    """The first convolution for small images, with fresh weights."""
    assert isinstance(conv, nn.Conv2d)
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    patchify = kernel == stride
    side = max(1, kernel // 2) if patchify else 3
    return nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        side,
        stride=side if patchify else 1,
        padding=0 if patchify else 1,
        bias=conv.bias is not None,
    )


@torch.no_grad()
def _check(backbone: Backbone, name: str, image_size: int) -> None:
    """Tries the net on two images and takes the number of features from what comes out."""
    blank = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    try:
        features = backbone.eval()(blank)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"backbone {name} cannot take images of {image_size} pixels",
            hint="use resnet18, a ViT or smallconv, or larger images",
        ) from error
    if features.ndim != 2:
        raise InputError(f"backbone {name} gives no feature vector", hint="use another backbone")
    backbone.num_features = features.shape[1]
    backbone.train()

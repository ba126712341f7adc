"""Every retraining method by its name: how it is built, what it reads, what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from labelfix.errors import InputError
from labelfix.nets.classifiers import Ensemble
from labelfix.retrain import dividemix, elr, hrp
from labelfix.retrain.cdr import CDR, CDRConfig
from labelfix.retrain.coteaching import COTEACHING, COTEACHING_PLUS, Coteaching
from labelfix.retrain.cross_entropy import CrossEntropy, CrossEntropyConfig
from labelfix.retrain.problem import Problem
from labelfix.retrain.semi_supervised import FIXMATCH, FLEXMATCH, UDA, SemiSupervised
from labelfix.training.config import EpochReport, LoopConfig, Method
from labelfix.training.loop import OnEpoch, train

_CPU_IMAGES = 250_000  # of 32 x 32 pixels: what a CPU run may look at when nobody sets the epochs
_FEATURE_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RetrainMethod:
    """A retraining method.

    Attributes:
        build: makes it from Fabric, the task and settings like ``settings``.
        settings: its settings as they are when nobody says otherwise.
        title: what it is, in a few words.
        uses: the columns of labels.parquet that it reads when labels are purified.
        uses_given: the same with given labels.
        nets: the modules that are the result; of several the mean is predicted.
        prefix: of the net's own state within that of its module.
        remarks: what a person should know of a training.
    """

    build: Callable[[Fabric, Problem, Any], Method]
    settings: Any
    title: str
    uses: tuple[str, ...] = ("soft_label", "weight")
    uses_given: tuple[str, ...] = ("given_label",)
    nets: tuple[str, ...] = ("net",)
    prefix: str = ""
    remarks: Callable[[list[EpochReport]], list[str]] = lambda history: []


PAIR = ("first", "second")
METHODS = {
    "ce": RetrainMethod(
        build=CrossEntropy, settings=CrossEntropyConfig(), title="soft-label cross-entropy"
    ),
    "dividemix": RetrainMethod(
        build=dividemix.DivideMix, settings=dividemix.DivideMixConfig(),
        title="split by loss, MixMatch on both parts", uses=("soft_label", "weight", "decision"),
        nets=PAIR, remarks=dividemix.remarks,
    ),
    "elr": RetrainMethod(
        build=elr.ELR, settings=elr.ELRConfig(), title="ELR+: held to early predictions",
        nets=elr.AVERAGES,
    ),
    "coteaching": RetrainMethod(
        build=Coteaching, settings=COTEACHING, title="two nets pick each other's rows", nets=PAIR
    ),
    "coteaching+": RetrainMethod(
        build=Coteaching, settings=COTEACHING_PLUS, title="the same, among disputed rows",
        nets=PAIR,
    ),
    "cdr": RetrainMethod(
        build=CDR, settings=CDRConfig(), title="only critical parameters learn; early stopping",
        nets=("best",), prefix="net.",
    ),
    "hrp": RetrainMethod(
        build=hrp.HRP, settings=hrp.HRPConfig(), title="two reliabilities a row, mixup, contrast",
        uses=("soft_label", "weight", "label_reliability", "pseudo_reliability", "decision"),
        uses_given=("given_label", "label", "decision"), nets=PAIR, remarks=hrp.remarks,
    ),
    "uda": RetrainMethod(
        build=SemiSupervised, settings=UDA, title="sharpened consistency on all rows"
    ),
    "fixmatch": RetrainMethod(build=SemiSupervised, settings=FIXMATCH, title="hard consistency"),
    "flexmatch": RetrainMethod(
        build=SemiSupervised, settings=FLEXMATCH, title="the same, a threshold a class"
    ),
}  # fmt: skip


def settings_of(method: str, changes: Sequence[str]) -> Any:  # noqa: ANN401  (a config dataclass)
    """A method's settings with some changed, each as ``name=value``.

    Raises:
        InputError: no such setting, or a value of the wrong type or out of range.
    """
    settings = METHODS[method].settings
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            names = ", ".join(known)
            raise InputError(f"{method} has no setting '{name}'", hint=f"--set one of {names}")
        try:
            settings = replace(settings, **{name: _value(text, known[name])})
        except ValueError as error:
            hint = f"use a value like {name}={getattr(METHODS[method].settings, name)}"
            raise InputError(f"--set {change}: {error}", hint=hint) from error
    return settings


def _value(text: str, kind: type) -> bool | int | float | str:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"'{text}' is neither true nor false")
        return text.lower() == "true"
    return kind(text)


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """A trained net on the CPU, in evaluation mode, and the reports of its epochs."""

    net: nn.Module
    history: list[EpochReport]


def retrain(
    method: str,
    task: Problem,
    settings: Any,  # noqa: ANN401
    *,
    loop: LoopConfig,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Retrained:
    """Train by a method.

    Args:
        method: its name.
        task: what it is given; epochs and batch size as in ``loop``.
        settings: from :func:`settings_of`.
        loop: how.
        checkpoint, on_epoch: see :func:`labelfix.training.loop.train`.

    Raises:
        DegenerateLearningError: the loss is no longer finite.
        InputError: the checkpoint belongs to another run, or the device is absent.
    """
    recipe = METHODS[method]
    build = partial(_build, task=task, settings=settings, method=method)
    trained = train(build, loop, checkpoint=checkpoint, on_epoch=on_epoch)
    nets = []
    for number, name in enumerate(recipe.nets):
        with torch.random.fork_rng(devices=[]):  # its fresh weights are drawn only to be replaced
            net = task.make_net(number)
        state = trained.modules[name]
        net.load_state_dict(
            {key.removeprefix(recipe.prefix): value for key, value in state.items()
             if key.startswith(recipe.prefix)}
        )  # fmt: skip
        nets.append(net)
    net = nets[0] if len(nets) == 1 else Ensemble(nets)
    return Retrained(net=net.eval(), history=trained.history)


def _build(fabric: Fabric, *, task: Problem, settings: Any, method: str) -> Method:  # noqa: ANN401
    return METHODS[method].build(fabric, task, settings)


def batch_size(rows: int, most: int = 128) -> int:
    """Rows a step: at most ``most``, fewer where a pass would have under eight steps."""
    return min(most, max(16, rows // 8))


def default_epochs(rows: int, pixels: int | None, device: torch.device) -> int:
    """Epochs where nobody sets them, for ``rows`` rows of images ``pixels`` a side, or features.

    Features: a million rows in all, between 5 and 50 epochs. Images on a GPU: 100; on a CPU
    250,000 images of 32 x 32 pixels in all (fewer of larger ones), between 4 and 40 epochs.
    """
    if pixels is None:
        return max(5, min(50, round(_FEATURE_ROWS / rows)))
    if device.type != "cpu":
        return 100
    return max(4, min(40, round(_CPU_IMAGES / (rows * (pixels / 32) ** 2))))

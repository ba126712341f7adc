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
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, UpperLoss
from labelfix.retrain import dividemix, elr, hrp
from labelfix.retrain.cdr import CDR, CDRConfig
from labelfix.retrain.coteaching import COTEACHING, COTEACHING_PLUS, Coteaching
from labelfix.retrain.cross_entropy import CrossEntropy, CrossEntropyConfig
from labelfix.retrain.glc import GLC, GLCConfig
from labelfix.retrain.problem import Problem
from labelfix.retrain.semi_supervised import FIXMATCH, FLEXMATCH, UDA, SemiSupervised
from labelfix.training.config import EpochReport, LoopConfig, Trainable
from labelfix.training.loop import OnEpoch, train

_CPU_IMAGES = 250_000  # of 32 x 32 pixels: what a CPU run may look at when nobody sets the epochs
_FEATURE_ROWS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RetrainMethod:
    """A retraining method.

    Attributes:
        title: what it is, in a few words.
        needs: the columns of labels.parquet that it reads when labels are purified.
        needs_given: the same with given labels.
        needs_clean: whether there must be checked rows.
        config: its settings as they are when nobody says otherwise.
        build: makes it from Fabric, the problem and settings like ``config``.
        nets: the modules that are the result; of several the mean is predicted.
        prefix: of the net's own state within that of its module.
        diagnose: what a person should know of a training.
    """

    title: str
    needs: tuple[str, ...] = ("soft_label", "weight")
    needs_given: tuple[str, ...] = ("given_label",)
    needs_clean: bool = False
    config: Any
    build: Callable[[Fabric, Problem, Any], Trainable]
    nets: tuple[str, ...] = ("net",)
    prefix: str = ""
    diagnose: Callable[[list[EpochReport]], list[str]] = lambda history: []

    def columns(self, settings: Any, *, purified: bool) -> tuple[str, ...]:  # noqa: ANN401
        """The columns that a training with such settings reads."""
        own = self.needs if purified else self.needs_given
        steered = _upper_loss(settings)
        if steered is None or "clean" not in steered.needs:
            return own
        clean = ("decision",) if purified else ("label", "decision")
        return tuple(dict.fromkeys([*own, *clean]))


PAIR = ("first", "second")
METHODS = {
    "ce": RetrainMethod(
        title="soft-label cross-entropy", config=CrossEntropyConfig(), build=CrossEntropy
    ),
    "dividemix": RetrainMethod(
        title="split by loss, MixMatch on both parts", needs=("soft_label", "weight", "decision"),
        config=dividemix.DivideMixConfig(), build=dividemix.DivideMix,
        nets=PAIR, diagnose=dividemix.diagnose_splits,
    ),
    "elr": RetrainMethod(
        title="ELR+: held to early predictions", config=elr.ELRConfig(), build=elr.ELR,
        nets=elr.AVERAGES,
    ),
    "coteaching": RetrainMethod(
        title="two nets pick each other's rows", config=COTEACHING, build=Coteaching, nets=PAIR
    ),
    "coteaching+": RetrainMethod(
        title="the same, among disputed rows", config=COTEACHING_PLUS, build=Coteaching, nets=PAIR
    ),
    "cdr": RetrainMethod(
        title="only critical parameters learn; early stopping", config=CDRConfig(), build=CDR,
        nets=("best",), prefix="net.",
    ),
    "hrp": RetrainMethod(
        title="two reliabilities a row, mixup, contrast",
        needs=("soft_label", "weight", "label_reliability", "pseudo_reliability", "decision"),
        needs_given=("given_label", "label", "decision"),
        config=hrp.HRPConfig(), build=hrp.HRP, nets=PAIR, diagnose=hrp.diagnose_gates,
    ),
    "glc": RetrainMethod(
        title="GLC: labels through a measured transition",
        needs=("soft_label", "weight", "decision"),
        needs_given=("given_label", "label", "decision"), needs_clean=True,
        config=GLCConfig(), build=GLC,
    ),
    "uda": RetrainMethod(
        title="sharpened consistency on all rows", config=UDA, build=SemiSupervised
    ),
    "fixmatch": RetrainMethod(title="hard consistency", config=FIXMATCH, build=SemiSupervised),
    "flexmatch": RetrainMethod(
        title="the same, a threshold a class", config=FLEXMATCH, build=SemiSupervised
    ),
}  # fmt: skip


def _upper_loss(settings: Any) -> UpperLoss | None:  # noqa: ANN401
    """What steers a training, where its settings name that."""
    return UPPER_LOSSES.get(getattr(settings, "upper_loss", ""))


def settings_of(method: str, changes: Sequence[str]) -> Any:  # noqa: ANN401  (a config dataclass)
    """A method's settings with some changed, each as ``name=value``.

    Raises:
        InputError: no such setting, or a value of the wrong type or out of range.
    """
    settings = METHODS[method].config
    known = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            names = ", ".join(known)
            raise InputError(f"{method} has no setting '{name}'", hint=f"--set one of {names}")
        try:
            settings = replace(settings, **{name: _value(text, known[name])})
        except ValueError as error:
            hint = f"use a value like {name}={getattr(METHODS[method].config, name)}"
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
    name: str,
    problem: Problem,
    settings: Any,  # noqa: ANN401
    *,
    loop: LoopConfig,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Retrained:
    """Train by a method.

    Args:
        name: the method's.
        problem: what it is given; its batch size is that of ``loop``.
        settings: from :func:`settings_of`.
        loop: how.
        checkpoint, on_epoch: see :func:`labelfix.training.loop.train`.

    Raises:
        DegenerateLearningError: the loss is no longer finite.
        InputError: the settings ask for what the rows lack, the checkpoint belongs to another run,
            or the device is absent.
    """
    method = METHODS[name]
    _require(name, problem, settings)
    build = partial(_build, problem=problem, settings=settings, name=name)
    trained = train(build, loop, checkpoint=checkpoint, on_epoch=on_epoch)
    nets = []
    for number, module in enumerate(method.nets):
        with torch.random.fork_rng(devices=[]):  # its fresh weights are drawn only to be replaced
            net = problem.make_net(number)
        state = trained.modules[module]
        net.load_state_dict(
            {key.removeprefix(method.prefix): value for key, value in state.items()
             if key.startswith(method.prefix)}
        )  # fmt: skip
        nets.append(net)
    net = nets[0] if len(nets) == 1 else Ensemble(nets)
    return Retrained(net=net.eval(), history=trained.history)


def _build(fabric: Fabric, *, problem: Problem, settings: Any, name: str) -> Trainable:  # noqa: ANN401
    return METHODS[name].build(fabric, problem, settings)


def _require(name: str, problem: Problem, settings: Any) -> None:  # noqa: ANN401
    """Refuse a method or an upper loss that these rows cannot serve."""
    if METHODS[name].needs_clean and not len(problem.clean_rows):
        raise InputError(
            f"{name} needs checked rows, and none is left", hint="purify with some, or use ce"
        )
    steered = _upper_loss(settings)
    needs = () if steered is None else steered.needs
    if "clean" in needs and not len(problem.clean_rows):
        raise InputError(
            f"--set upper_loss={settings.upper_loss} is measured on checked rows, and none is left",
            hint="use upper_loss=clid, which needs none",
        )
    if "features" in needs and problem.images:
        raise InputError(
            f"--set upper_loss={settings.upper_loss} needs features, and the rows are images",
            hint="use upper_loss=clid, which takes both",
        )


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

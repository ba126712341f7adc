"""One purify run: its settings, its folder, its stages, what took how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from labelfix.errors import InputError
from labelfix.predictors.bilevel import registry as bilevel
from labelfix.predictors.bilevel.registry import STEERABLE
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES
from labelfix.training.config import LoopConfig
from labelfix.training.devices import pick_device, require_hardware
from labelfix.training.distributed import require_nodes
from labelfix.workflows.output_folder import OutputFolder
from labelfix.workflows.progress import Reporter

METHODS = ("auto", "dmlp", "dmlp-naive", *bilevel.METHODS)
LEARN_FROM = ("auto", "features", "images")
PRETRAINING = ("simclr", "moco", "none")


class Settings(Protocol):
    """What the settings of every long run share."""

    @property
    def epochs(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def devices(self) -> int: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def precision(self) -> str: ...


def require_settings(settings: Settings, **choices: tuple[str, ...]) -> None:
    """Check settings by the names of their options, before any work.

    Args:
        settings: of a long run.
        choices: the values that a setting may take, by its name.

    Raises:
        InputError: a value is out of range, or this machine lacks what is asked for.
    """
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            raise InputError(
                f"--{name.replace('_', '-')} is '{getattr(settings, name)}'",
                hint=f"use one of {', '.join(allowed)}",
            )
    for name, least in (("devices", 1), ("num_nodes", 1), ("seed", 0), ("epochs", 1)):
        value = getattr(settings, name)
        if value is not None and value < least:
            option = name.replace("_", "-")
            raise InputError(f"--{option} is {value}", hint=f"use a number from {least} up")
    require_hardware(settings.device, settings.devices, settings.num_nodes, settings.precision)
    require_nodes(settings.num_nodes)


@dataclass(frozen=True, kw_only=True)
class PurifyConfig:
    """Settings of a purify run; what they mean stands with the command line's options.

    Raises:
        InputError: a value is out of range, or the device is absent.
    """

    method: str = "auto"
    upper_loss: str = "auto"
    learn_from: str = "auto"
    pretrain: str = "simclr"
    backbone: str | None = None
    weights: str = "random"
    epochs: int | None = None
    seed: int = 0
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "auto"
    min_precision: float = 0.0

    def __post_init__(self) -> None:
        uppers = ("auto", *UPPER_LOSSES)
        require_settings(
            self, method=METHODS, upper_loss=uppers, learn_from=LEARN_FROM, pretrain=PRETRAINING
        )
        if self.upper_loss != "auto" and self.method not in STEERABLE:
            raise InputError(
                f"--upper-loss does not go with --method {self.method}",
                hint=f"use it with {' or '.join(STEERABLE)}",
            )
        if not 0 <= self.min_precision <= 1:
            raise InputError(
                f"--min-precision is {self.min_precision}", hint="use a share from 0 to 1"
            )

    @property
    def loop(self) -> LoopConfig:
        return LoopConfig(
            epochs=1,
            device=self.device,
            devices=self.devices,
            num_nodes=self.num_nodes,
            precision=self.precision,
        )

    @property
    def backbone_name(self) -> str:
        """The backbone: the one asked for, else one that suits the device."""
        on_cpu = pick_device(self.device).type == "cpu"
        return self.backbone or ("smallconv" if on_cpu else "resnet18")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: where stages lie, how they are set, where progress goes, what took how long."""

    folder: OutputFolder
    config: PurifyConfig
    report: Reporter
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, key: str, build: Callable[[Path], None]) -> Path:
        """The complete folder of a stage, built if it must be; see ``OutputFolder.stage``."""
        started = time.monotonic()
        place, was_there = self.folder.stage(name, key, build)
        if was_there:
            self.report.say(f"{name}: nothing changed, taken from the last run")
        self.seconds[name] = round(time.monotonic() - started, 3)
        return place

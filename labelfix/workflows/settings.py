"""One purify run: its settings, its folder, its stages, what took how long."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

from labelfix.errors import InputError
from labelfix.predictors.bilevel.registry import STEERABLE
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES
from labelfix.predictors.registry import METHODS
from labelfix.ranges import AtLeastOne, OneOf, Seed, Share, check_options
from labelfix.training.config import LoopConfig
from labelfix.training.devices import pick_device, require_hardware
from labelfix.training.distributed import require_nodes
from labelfix.training.progress import SILENT, Reporter
from labelfix.workflows.output_folder import OutputFolder, Stage, reading

T = TypeVar("T")

LEARN_FROM = ("auto", "features", "images")
PRETRAINING = ("simclr", "moco", "none")


class Settings(Protocol):
    """Where a long run computes."""

    @property
    def device(self) -> str: ...
    @property
    def devices(self) -> int: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def precision(self) -> str: ...


def require_machine(settings: Settings) -> None:
    """Check before any work that this machine has what the settings ask for.

    Raises:
        InputError: it lacks a device, a precision, or what several machines need to meet.
    """
    require_hardware(settings.device, settings.devices, settings.num_nodes, settings.precision)
    require_nodes(settings.num_nodes)


@dataclass(frozen=True, kw_only=True)
class PurifyConfig:
    """Settings of a purify run; what they mean stands with the command line's options.

    Raises:
        InputError: a value is out of range, or the device is absent.
    """

    method: Annotated[str, OneOf(*METHODS)] = "auto"
    upper_loss: Annotated[str, OneOf("auto", *UPPER_LOSSES)] = "auto"
    learn_from: Annotated[str, OneOf(*LEARN_FROM)] = "auto"
    pretrain: Annotated[str, OneOf(*PRETRAINING)] = "simclr"
    backbone: str | None = None
    weights: str = "random"
    epochs: AtLeastOne | None = None
    seed: Seed = 0
    device: str = "auto"
    devices: AtLeastOne = 1
    num_nodes: AtLeastOne = 1
    precision: str = "auto"
    min_precision: Share = 0.0

    def __post_init__(self) -> None:
        check_options(self)
        require_machine(self)
        if self.upper_loss != "auto" and self.method not in STEERABLE:
            raise InputError(
                f"--upper-loss does not go with --method {self.method}",
                hint=f"use it with {' or '.join(STEERABLE)}",
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
    """One run: how it is set, where its stages lie, where progress goes, what took how long.

    Attributes:
        config: the settings.
        folder: where stages lie; None = everything stays in memory.
        report: where progress goes.
        seconds: of each stage.
    """

    config: PurifyConfig
    folder: OutputFolder | None = None
    report: Reporter = SILENT
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def files(self) -> OutputFolder:
        """The output folder of a run that has one."""
        assert self.folder is not None, "this run stays in memory"
        return self.folder

    def stage(self, stage: Stage, key: str, build: Callable[[Path], None]) -> Path:
        """The complete folder of a stage, built if it must be; see ``OutputFolder.stage``."""
        started = time.monotonic()
        place, was_there = self.files.stage(stage.name, key, build)
        if was_there:
            self.report.say(f"{stage.name}: nothing changed, taken from the last run")
        self.seconds[stage.name] = round(time.monotonic() - started, 3)
        return place

    def staged(
        self,
        stage: Stage,
        key: str,
        build: Callable[[Path | None], T],
        save: Callable[[T, Path], None],
        load: Callable[[Path], T],
    ) -> T:
        """The result of a stage: from its folder, where there is one, else computed in memory.

        Args:
            stage: which.
            key: from :meth:`Stage.key`, with all that determines the result.
            build: computes it; is given the stage's folder for checkpoints, None in memory.
            save, load: to and from the files of the folder.
        """
        if self.folder is None:
            return build(None)
        place = self.stage(stage, key, lambda place: save(build(place), place))
        with reading(place):
            return load(place)

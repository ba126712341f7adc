"""The one training loop: index batches, schedule, checkpoints, resumption; on Lightning Fabric.

A method (`training.Trainable`) owns its nets and optimizers and knows one `step`; the loop owns
everything else. Every random draw comes from a generator derived from (seed, epoch, step,
process), so a checkpoint holds no generator state, and a resumed run on the CPU equals an
uninterrupted one bit by bit. How several processes and nodes run: `devices.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from lightning_fabric import Fabric
from torch.multiprocessing import get_context

from labelfix.errors import DegenerateLearningError
from labelfix.training.checkpoint import load_checkpoint
from labelfix.training.config import EpochReport, LoopConfig, Trainable, Trained
from labelfix.training.devices import make_fabric, seed_global, shutdown
from labelfix.training.distributed import is_rank_zero
from labelfix.training.worker import INIT, OnEpoch, Worker, derive_seed, identity

Build = Callable[[Fabric], Trainable]


def train(
    build: Build,
    config: LoopConfig,
    *,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Trains what `build` makes, going on from `checkpoint` where that file exists.

    Args:
        build: makes the method inside each worker process; picklable for several processes (a
            `functools.partial` of a module-level function). It may draw from torch's global
            generator, which is seeded for it and restored afterwards.
        config: how.
        checkpoint: a file, written aside and then renamed; None = a temporary one. Of several
            nodes only the first reads and writes it, and sends the others what they need.
        on_epoch: called in this process after every epoch, and before the first (epoch 0).

    Raises:
        DegenerateLearningError: the loss is no longer finite.
        InputError: the checkpoint belongs to another run, or the device is absent.
    """
    tell = on_epoch or _say_nothing
    if checkpoint is not None and is_rank_zero(config.num_nodes):
        return _train(build, config, checkpoint, tell)
    with TemporaryDirectory(prefix="labelfix-") as folder:
        return _train(build, config, Path(folder) / "loop.pt", tell)


def _train(build: Build, config: LoopConfig, checkpoint: Path, tell: OnEpoch) -> Trained:
    load_checkpoint(checkpoint, identity(config))  # a foreign file is refused before any work
    fabric = make_fabric(config.device, config.devices, config.num_nodes, config.precision)
    work = partial(_run, build=build, config=config, checkpoint=checkpoint)
    if config.devices * config.num_nodes == 1:
        failure = fabric.launch(partial(work, tell=tell))
    else:
        failure = _launch_workers(fabric, work, tell)
    if failure is not None:
        raise DegenerateLearningError(failure)
    state = load_checkpoint(checkpoint, identity(config))
    assert state is not None, "the workers left no checkpoint"
    history = [EpochReport(**report) for report in state["progress"]["history"]]
    return Trained(modules=state["modules"], history=history)


def _say_nothing(report: EpochReport) -> None:
    pass


def _launch_workers(fabric: Fabric, work: partial[str | None], tell: OnEpoch) -> str | None:
    """Runs the worker processes while a thread of this one passes their reports to `tell`."""
    reports = get_context("spawn").SimpleQueue()

    def pass_on() -> None:
        for report in iter(reports.get, None):
            tell(report)

    passing = threading.Thread(target=pass_on)
    passing.start()
    try:
        return fabric.launch(partial(work, tell=reports.put))
    finally:
        reports.put(None)
        passing.join()


def _run(
    fabric: Fabric, *, build: Build, config: LoopConfig, checkpoint: Path, tell: OnEpoch
) -> str | None:
    """One worker process; returns what went wrong with the learning, if anything."""
    failure = _fit(fabric, build, config, checkpoint, tell)
    shutdown()
    return failure


def _fit(
    fabric: Fabric, build: Build, config: LoopConfig, checkpoint: Path, tell: OnEpoch
) -> str | None:
    device = fabric.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed_global(derive_seed(config.seed, 0, INIT, 0), device)
        worker = Worker(fabric, build(fabric), config, checkpoint, tell)
        try:
            worker.fit()
        except DegenerateLearningError as error:
            return str(error)
    return None

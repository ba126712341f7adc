"""Several nodes: which one writes, and how the others know that it has written.

The same command runs on every node. All but the trainings each node does for itself: in these
(`loop.py`) and at the end (`barrier`) they wait for each other. Only the first one writes into the
output folder; what the others make lies on their own disks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta

import torch

from labelfix.errors import InputError

PATIENCE = timedelta(minutes=30)  # of a node that waits for another; torch's own in trainings


def is_rank_zero(num_nodes: int) -> bool:
    """Whether this node is the one that writes outputs: the only one, or that of `NODE_RANK` 0."""
    return num_nodes == 1 or _rank() == 0


def _rank() -> int:
    return int(os.environ.get("NODE_RANK", "0"))


def require_nodes(num_nodes: int) -> None:
    """Check that the environment says where several nodes barrier and which of them this is.

    Raises:
        InputError: a variable is not set, or is no number in its range.
    """
    if num_nodes == 1:
        return
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        if not os.environ.get(name):
            raise InputError(
                f"--num-nodes is {num_nodes}, but {name} is not set",
                hint="set MASTER_ADDR, MASTER_PORT and NODE_RANK on every node",
            )
    for name, most in (("MASTER_PORT", 65535), ("NODE_RANK", num_nodes - 1)):
        value = os.environ[name]
        if not value.isdecimal() or int(value) > most:
            raise InputError(f"{name} is '{value}'", hint=f"use a number from 0 to {most}")


def barrier(num_nodes: int) -> None:
    """To be called last: the first node's outputs are complete when any node comes out of here.

    Raises:
        InputError: this is not the first node, and that one did not come.
    """
    if num_nodes == 1:
        return
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    try:
        store = torch.distributed.TCPStore(
            host, port, is_master=_rank() == 0, wait_for_workers=False, timeout=PATIENCE
        )
        if _rank() > 0:
            store.wait(["written"])
            store.set(f"seen by {_rank()}", "")
            return
    except RuntimeError as error:
        raise InputError(
            f"the first node ({host}, port {port}) did not finish",
            hint="see what it said, then start the command again on every node",
        ) from error
    store.set("written", "")
    with suppress(RuntimeError):  # a node that never asks has failed; the outputs are there
        store.wait([f"seen by {rank}" for rank in range(1, num_nodes)])

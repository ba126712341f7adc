"""Stage purify, in memory: which methods run on the rows, and what each one learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix.errors import DegenerateLearningError, InputError
from labelfix.methods import clid, dmlp, folds, head
from labelfix.methods.collapse import collapse_of
from labelfix.methods.correctors import OutOfFold
from labelfix.methods.devices import pick_device
from labelfix.methods.neighbours import Neighbours
from labelfix.methods.opinions import neighbour_opinions
from labelfix.methods.targets import fold_targets
from labelfix.progress import SILENT, Advance, Reporter
from labelfix.rows import Prediction, Rows
from labelfix.run import PurifyConfig

Found = tuple[dict[str, NDArray[np.float32]], dict[str, Any]]  # predictions and accounts, by name


def run_methods(
    rows: Rows, graph: Neighbours, config: PurifyConfig, report: Reporter = SILENT
) -> Prediction:
    """The methods on all rows, in memory: what Python API and command line share.

    ``dmlp`` gives the accompanying classifier's predictions; ``dmlp-naive`` those of a net trained
    on the purified soft labels; ``clid`` those of a head whose rows a weight net weighs. ``auto``
    is ``clid`` where no row is checked, else ``dmlp`` and ``dmlp-naive``: the judge picks.
    """
    strata = (rows.checked + 1) * (rows.classes + 1) + rows.given + 1
    fold = folds.assign(rows.content, strata, seed=config.seed)
    checked = int((rows.checked >= 0).sum())
    if config.method == "clid" or (config.method == "auto" and not checked):
        found, account = run_clid(rows, fold, config, report)
    else:
        require_checked(checked)
        found, account = run_dmlp(rows, graph, fold, config, report)
    usable = without_collapsed(found, rows.known, report)
    return Prediction(
        log_probabilities=usable,
        neighbourhood=neighbour_opinions(graph, rows.known, fold, rows.classes),
        folds=fold,
        account={name: account[name] for name in usable},
    )


def without_collapsed(
    found: dict[str, NDArray[np.float32]], known: NDArray[np.int32], report: Reporter
) -> dict[str, NDArray[np.float32]]:
    """The predictions that can be used; one that collapsed is named and left out.

    Raises:
        DegenerateLearningError: none is left.
    """
    collapsed = {name: collapse_of(logs_NK, known) for name, logs_NK in found.items()}
    remarks = [f"{name}: {remark}" for name, remark in collapsed.items() if remark]
    if len(remarks) == len(found):
        raise DegenerateLearningError(remarks[0])
    for remark in remarks:
        report.say(f"left out: {remark}")
    return {name: logs_NK for name, logs_NK in found.items() if not collapsed[name]}


def require_checked(rows: int) -> None:
    """DMLP learns from checked rows; without any there is nothing to steer by."""
    if rows == 0:
        raise InputError(
            "there are no checked rows", mend="pass some with --clean-set, or use --method clid"
        )
    if rows == 1:
        raise InputError("there is one checked row", mend="check two or more, best a hundred")


def run_clid(rows: Rows, fold: NDArray[np.int8], config: PurifyConfig, report: Reporter) -> Found:
    """CLID-MU; a checked row's right label stands in for its given one."""
    with report.task("purify (clid)") as advance:
        found = clid.purify(
            rows.features, rows.known, fold, rows.classes, device=pick_device(config.device),
            seed=config.seed, on_pass=without_remark(advance),
        )  # fmt: skip
    return {"clid": found.log_probabilities}, {"clid": account_of(found)}


def run_dmlp(
    rows: Rows,
    graph: Neighbours,
    fold: NDArray[np.int8],
    config: PurifyConfig,
    report: Reporter,
) -> Found:
    """DMLP, and unless only that is wanted, a net trained on its purified soft labels."""
    device = pick_device(config.device)
    learn = (rows.features, rows.given, rows.checked, fold, rows.classes)
    with report.task("purify (dmlp)") as advance:
        found = dmlp.purify(*learn, device=device, on_pass=without_remark(advance))
    first: Found = {"dmlp": found.log_probabilities}, {"dmlp": account_of(found)}
    if config.method == "dmlp":
        return first
    with report.task("purify (soft labels for every fold)") as advance:
        nested = dmlp.nested(*learn, found.chosen, device=device, on_pass=without_remark(advance))
    witnesses = [
        (logs_NK, neighbour_opinions(graph, rows.known, fold, rows.classes, hidden=hidden))
        for hidden, logs_NK in enumerate(nested)
    ]
    targets = fold_targets(witnesses, rows.given, rows.checked, fold)
    with report.task("purify (dmlp-naive)") as advance:
        retrained = head.fit_head(
            rows.features,
            targets,
            loop=replace(config.loop, seed=config.seed),
            on_epoch=lambda epoch: advance(epoch.epoch, epoch.epochs, ""),
        )
    second: Found = {"dmlp-naive": retrained}, {"dmlp-naive": {}}
    if config.method == "dmlp-naive":
        return second
    return first[0] | second[0], first[1] | second[1]


def account_of(found: OutOfFold) -> dict[str, Any]:
    """What a method says of its learning."""
    return {"snapshots": found.history, "chosen": found.chosen}


def without_remark(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")

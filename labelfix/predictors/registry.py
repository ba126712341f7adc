"""The methods that ``purify --method`` knows: help, checks and the README's table read them here.

A new method is a file beside this one and an entry in :data:`METHODS`; a bilevel one is an entry in
:data:`labelfix.predictors.bilevel.registry.METHODS` alone. What stands beside every method is in
``auxiliary.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from labelfix.errors import DegenerateLearningError, InputError
from labelfix.predictors import bilevel_students
from labelfix.predictors.auxiliary import beside_all
from labelfix.predictors.bilevel import registry as bilevel
from labelfix.predictors.dmlp_and_net import dmlp_alone, dmlp_and_net, net_alone
from labelfix.predictors.glc import run_glc
from labelfix.predictors.learning import TEACHER, Learning, Predictions
from labelfix.training.diagnostics import TrainingLog, collapse_of


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of ``purify``.

    Attributes:
        title: what it is, in a few words.
        run: predicts all rows, out of fold.
        needs_clean: whether it learns from verified rows, by the upper loss and by whether there
            are any.
    """

    title: str
    run: Callable[[Learning], Predictions]
    needs_clean: Callable[[str, bool], bool] = lambda upper_loss, any_clean: True


def automatic(learning: Learning) -> Predictions:
    """``dmlp`` and ``dmlp-naive`` where rows are verified, else ``clid``."""
    if learning.annotations.is_clean.any():
        return dmlp_and_net(learning)
    return METHODS["clid"].run(learning)


def _steered(name: str, upper_loss: str, any_clean: bool) -> bool:
    return bilevel.method_for(name, upper_loss, clean=any_clean).needs_clean


METHODS = {
    "auto": Method(
        title="dmlp and dmlp-naive where rows are checked, else clid",
        run=automatic,
        needs_clean=lambda upper_loss, any_clean: any_clean,
    ),
    "dmlp": Method(title="DMLP's linear purifier; the fastest", run=dmlp_alone),
    "dmlp-naive": Method(title="a net trained on DMLP's soft labels", run=net_alone),
    "glc": Method(title="GLC: a net learns through the noise", run=run_glc),
    **{
        name: Method(
            title=f"{method.title}; with any --upper-loss" if method.steerable else method.title,
            run=partial(bilevel_students.run_bilevel, name),
            needs_clean=partial(_steered, name),
        )
        for name, method in bilevel.METHODS.items()
    },
}


def require_clean(name: str, upper_loss: str, clean_rows: int) -> None:
    """Find out before any work whether there are the verified rows that a method needs.

    Raises:
        InputError: there are none, or only one.
    """
    method = METHODS[name]
    if not method.needs_clean(upper_loss, clean_rows > 0):
        return
    if clean_rows == 0:
        steerable = name in bilevel.STEERABLE
        without = "--upper-loss clid" if steerable else "--method clid"
        raise InputError(
            "there are no checked rows", hint=f"pass some with --clean-set, or use {without}"
        )
    if clean_rows == 1:
        raise InputError("there is one checked row", hint="check two or more, best a hundred")


def run_method(name: str, learning: Learning) -> Predictions:
    """Run a method, with what stands beside every one, and leave out what learned nothing.

    Raises:
        InputError: as :func:`require_clean`.
        DegenerateLearningError: nothing usable was learned.
    """
    require_clean(name, learning.upper_loss, int(learning.annotations.is_clean.sum()))
    found = METHODS[name].run(learning)
    found = replace(found, auxiliary=[*beside_all(learning), *found.auxiliary])
    return without_collapsed(found, learning)


def without_collapsed(found: Predictions, learning: Learning) -> Predictions:
    """The predictions that can be used; one that collapsed is named and left out.

    A teacher goes with its student, whose prediction the scores need: labels that saw the given
    ones name all classes, whatever was learned.

    Raises:
        DegenerateLearningError: none is left.
    """
    logs = found.log_probabilities
    best_known = learning.annotations.best_known
    collapsed = {name: collapse_of(logs_NK, best_known) for name, logs_NK in logs.items()}
    usable = [
        name for name in logs if not (collapsed[name] or collapsed[name.removesuffix(TEACHER)])
    ]
    reasons = [f"{name}: {reason}" for name, reason in collapsed.items() if reason]
    if not usable:
        raise DegenerateLearningError(reasons[0])
    for reason in reasons:
        learning.report.say(f"left out: {reason}")
    return Predictions(
        log_probabilities={name: logs[name] for name in usable},
        auxiliary=found.auxiliary,
        training_log={name: found.training_log.get(name, TrainingLog()) for name in usable},
    )

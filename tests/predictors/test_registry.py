"""One entry makes a method: command line, checks and help read the registry, and it alone."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import labelfix
from labelfix.cli import main
from labelfix.features.neighbours import nearest
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES
from labelfix.predictors.learning import Learning, Predictions
from labelfix.predictors.registry import METHODS, Method, run_method
from labelfix.training.config import LoopConfig

PACKAGE = Path(labelfix.__file__).parent
REGISTRIES = {"predictors/registry.py", "predictors/bilevel/registry.py"}


def test_help_lists_every_method_and_upper_loss_with_its_title():
    shown = CliRunner().invoke(main, ["purify", "--help"], standalone_mode=False).output
    for name, entry in [*METHODS.items(), *UPPER_LOSSES.items()]:
        assert f"{name}: {entry.title}" in shown


def test_no_other_file_lists_methods():
    for file in PACKAGE.rglob("*.py"):
        own = str(file.relative_to(PACKAGE))
        quoted = set(re.findall(r"(?<![\w.-])[a-z][a-z-]+(?![\w-]|\.py)", file.read_text()))
        named = quoted & (set(METHODS) - {"auto", "clid", "dmlp"})  # words of other things too
        assert own in REGISTRIES or len(named) <= 1, f"{own} lists {named}"


@pytest.fixture
def learning(blobs):
    made = blobs(rows=90)
    return Learning(
        features=made.features,
        graph=nearest(made.features),
        annotations=made.annotations,
        loop=LoopConfig(epochs=1, device="cpu"),
    )


def even(learning):
    """A method that finds one row of each class, and says no more than chance of the others."""
    logs = np.full((len(learning.annotations), 3), -np.log(3), np.float32)
    logs[:3] = np.log(0.9 * np.eye(3) + 0.1 / 3)
    return Predictions(log_probabilities={"even": logs}, auxiliary=[])


def test_a_method_joins_by_its_entry(learning, monkeypatch):
    monkeypatch.setitem(METHODS, "even", Method(title="no more than chance", run=even))
    found = run_method("even", learning)
    assert list(found.candidates) == ["even"]
    assert len(found.candidates["even"]) == 2  # the neighbours stand beside every method
    assert not found.training_log["even"].diagnostics

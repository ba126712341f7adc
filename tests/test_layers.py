"""Imports point down only: cli -> workflows -> what predicts and trains -> decide -> nets -> ...

``errors``, ``annotations`` and ``ranges`` serve all. ``inputs`` and ``contract`` are used by the
workflows and the Python API alone. Within ``predictors``, ``bilevel`` knows no other predictor.
"""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import labelfix

PACKAGE = Path(labelfix.__file__).parent
FOUNDATIONS = {"errors", "annotations", "ranges"}
BELOW = {  # folder -> folders that it may import, besides itself and the foundations
    "equations": set(),
    "training": {"equations"},
    "features": {"training", "equations"},
    "nets": {"features", "training", "equations"},
    "decide": {"nets", "features", "training", "equations"},
    "pretrain": {"nets", "features", "training", "equations"},
    "predictors": {"decide", "nets", "features", "training", "equations"},
    "retrain": {"predictors", "decide", "nets", "features", "training", "equations"},
    "inputs": set(),
    "contract": set(),
}


def imports_of(file: Path) -> set[str]:
    """Every module that a file imports, whole, functions' own imports included."""
    package = "labelfix." + ".".join(file.relative_to(PACKAGE).with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rstrip(".").split(".")
            base = ".".join(above[: len(above) - node.level + 1]) + "." if node.level else ""
            module = (base + (node.module or "")).rstrip(".")
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {file.relative_to(PACKAGE): imports_of(file) for file in sorted(PACKAGE.rglob("*.py"))}


def of_ours(file: Path) -> set[str]:
    """Which parts of labelfix a file imports: equations, methods, contract, stages, ..."""
    parts = {name.split(".")[1] for name in IMPORTS[file] if name.startswith("labelfix.")}
    known = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")
    }
    return parts & known


def of_others(file: Path) -> set[str]:
    return {name.split(".")[0] for name in IMPORTS[file]} - {"labelfix"}


def files_in(layer: str) -> list[Path]:
    found = [file for file in IMPORTS if file.parts[0] == layer]
    assert found
    return found


@pytest.mark.parametrize("folder", BELOW)
def test_folders_import_what_lies_below(folder):
    allowed = BELOW[folder] | FOUNDATIONS | {folder}
    wrong = {str(file): of_ours(file) - allowed for file in files_in(folder)}
    assert {file: parts for file, parts in wrong.items() if parts} == {}


def test_bilevel_knows_no_other_predictor():
    inside = "labelfix.predictors."
    for file in files_in("predictors"):
        if file.parts[1] == "bilevel":
            others = {name for name in IMPORTS[file] if name.startswith(inside)}
            assert all(name.startswith(inside + "bilevel") for name in others), file


def test_retraining_takes_the_bilevel_machinery_and_no_other_predictor():
    for file in files_in("retrain"):
        others = {name for name in IMPORTS[file] if name.startswith("labelfix.predictors.")}
        assert all(name.startswith("labelfix.predictors.bilevel") for name in others), file


@pytest.mark.parametrize("folder", ["inputs", "contract"])
def test_files_are_read_and_written_by_workflows_and_the_python_api_alone(folder):
    users = {file for file in IMPORTS if folder in of_ours(file) and file.parts[0] != folder}
    assert {file.parts[0] for file in users} <= {"workflows", "api.py"}


def test_equations_hold_no_modules_optimisers_or_files():
    unwanted = {"os", "io", "pathlib", "json", "random", "sklearn", "faiss", "timm", "torchvision"}
    for file in files_in("equations"):
        assert not of_others(file) & (unwanted | {"lightning_fabric", "pyarrow", "pandas"}), file
        assert not IMPORTS[file] & {"torch.nn", "torch.nn.Module", "torch.optim"}, file


def test_files_stay_out_of_what_computes():
    for folder in set(BELOW) - {"inputs", "contract"}:
        for file in files_in(folder):
            assert not of_others(file) & {"click", "rich", "pyarrow", "pandas", "jinja2"}, file


def test_errors_import_nothing_and_ranges_errors_alone():
    assert of_ours(Path("errors.py")) == set()
    assert of_ours(Path("ranges.py")) == {"errors"}


def test_only_the_command_line_knows_a_terminal():
    for file in IMPORTS:
        if file.parts[0] not in ("cli", "__main__.py"):
            assert "cli" not in of_ours(file), file


def test_libraries_stay_where_they_belong():
    users = defaultdict(set)
    for file in IMPORTS:
        for name in of_others(file):
            users[name].add(file.parts[0])
    assert users["click"] == users["rich"] == {"cli"}
    assert users["faiss"] == {"features"}


def test_nothing_imports_recipes_examples_or_tests():
    for file in IMPORTS:
        assert not of_others(file) & {"pipelines", "examples", "tests", "conftest"}, file


def test_the_reader_sees_every_kind_of_import(tmp_path):
    place = PACKAGE / "features" / "nowhere.py"
    source = "from . import folds\nfrom ..equations import dmlp as eq\nimport torch.nn as nn\n"
    found = set()

    class Fake(type(place)):
        def read_text(self):
            return source

    found = imports_of(Fake(place))
    assert {"labelfix.features.folds", "labelfix.equations.dmlp", "torch.nn"} <= found

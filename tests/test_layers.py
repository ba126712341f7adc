"""Imports point down only: pipelines, examples, cli -> stages -> methods -> equations."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import labelfix

PACKAGE = Path(labelfix.__file__).parent
LAYERS = ("equations", "methods", "inputs", "contract")
STAGE_LEVEL = {
    file.stem
    for file in PACKAGE.glob("*.py")
    if file.stem not in ("__init__", "cli", "console", "errors", "progress", "artifacts")
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


ALLOWED = {
    "equations": set(),
    "methods": {"equations", "methods", "errors"},
    "inputs": {"inputs", "errors"},
    "contract": {"contract", "errors"},
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_what_lies_below(layer):
    allowed = ALLOWED[layer] | {layer}
    wrong = {str(file): of_ours(file) - allowed for file in files_in(layer)}
    assert {file: parts for file, parts in wrong.items() if parts} == {}


def test_equations_hold_no_modules_optimisers_or_files():
    unwanted = {"os", "io", "pathlib", "json", "random", "sklearn", "faiss", "timm", "torchvision"}
    for file in files_in("equations"):
        assert not of_others(file) & (unwanted | {"lightning_fabric", "pyarrow", "pandas"}), file
        assert not IMPORTS[file] & {"torch.nn", "torch.nn.Module", "torch.optim"}, file


def test_files_stay_out_of_methods():
    for file in files_in("methods"):
        assert not of_others(file) & {"click", "rich", "pyarrow", "pandas", "jinja2"}, file


@pytest.mark.parametrize("name", ["artifacts", "errors", "progress"])
def test_foundations_import_nothing_above(name):
    assert of_ours(Path(f"{name}.py")) <= {"errors"}


@pytest.mark.parametrize("name", sorted(STAGE_LEVEL))
def test_stages_know_no_terminal(name):
    assert not of_ours(Path(f"{name}.py")) & {"cli", "console"}


def test_libraries_stay_where_they_belong():
    users = defaultdict(set)
    for file in IMPORTS:
        for name in of_others(file):
            users[name].add(file)
    assert users["click"] == {Path("cli.py")}
    assert users["rich"] == {Path("console.py")}
    for name in ("faiss", "sklearn"):
        for file in users[name]:
            assert file.parts[0] == "methods" or file.stem in STAGE_LEVEL, file


def test_nothing_imports_recipes_examples_or_tests():
    for file in IMPORTS:
        assert not of_others(file) & {"pipelines", "examples", "tests", "conftest"}, file


def test_the_reader_sees_every_kind_of_import(tmp_path):
    place = PACKAGE / "methods" / "nowhere.py"
    source = "from . import folds\nfrom ..equations import dmlp as eq\nimport torch.nn as nn\n"
    found = set()

    class Fake(type(place)):
        def read_text(self):
            return source

    found = imports_of(Fake(place))
    assert {"labelfix.methods.folds", "labelfix.equations.dmlp", "torch.nn"} <= found

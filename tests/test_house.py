"""One name, one thing; few parallel arrays; typed results; short files; words of the field.

Each list of exceptions gives its reason.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import labelfix

PACKAGE = Path(labelfix.__file__).parent
ROOT = PACKAGE.parent
FILES = {
    str(file.relative_to(ROOT)): file.read_text()
    for folder in ("labelfix", "tests", "pipelines", "examples")
    for file in sorted((ROOT / folder).rglob("*.py"))
}
TREES = {name: ast.parse(text) for name, text in FILES.items()}
LIBRARY = {name: tree for name, tree in TREES.items() if name.startswith("labelfix/")}

ARRAY = re.compile(r"(NDArray\b.*|np\.ndarray|Tensor|ArrayLike|Matrix)( \| None)?")
MOST_ARRAYS = 5
MOST_LINES = 350
PRIVATE_WORDS = {  # and their plurals
    *("witness", "opinion", "judge", "judged", "judgement", "told", "material", "account", "mend"),
    *("mended", "meet", "everyone", "weigher", "clock", "remark", "alarm", "learner"),
}


def public_names() -> dict[str, set[str]]:
    """Every public class and function at the top of a library file, and the files that have it."""
    found = defaultdict(set)
    for file, tree in LIBRARY.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                found[node.name].add(file)
    return found


def array_arguments(function: ast.FunctionDef) -> list[str]:
    """The positional arguments that are annotated as an array."""
    arguments = function.args.posonlyargs + function.args.args
    kinds = {a.arg: ast.unparse(a.annotation) for a in arguments if a.annotation}
    return [name for name, kind in kinds.items() if ARRAY.fullmatch(kind)]


def untyped(tree: ast.AST) -> Iterator[int]:
    """The lines with a ``dict[str, Any]``, except what a ``to_dict`` returns."""
    meant = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "to_dict" and node.returns
        for part in ast.walk(node.returns)
    }
    for node in ast.walk(tree):
        untyped_one = isinstance(node, ast.Subscript) and ast.unparse(node) == "dict[str, Any]"
        if untyped_one and id(node) not in meant:
            yield node.lineno


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name that a file gives or uses, keyword arguments included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.arg | ast.keyword):
            yield node.arg or ""
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def private_words(tree: ast.AST) -> set[str]:
    names = " ".join(identifiers(tree))
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", names)}
    return {word for word in words if {word, word[:-1], word[:-2]} & PRIVATE_WORDS}


def test_no_public_name_stands_for_two_things():
    twice = {name: files for name, files in public_names().items() if len(files) > 1}
    assert twice == {}


def test_no_function_takes_a_row_of_parallel_arrays():
    found = {
        f"{file}: {node.name}": array_arguments(node)
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    long = {place for place, arguments in found.items() if len(arguments) > MOST_ARRAYS}
    assert long == set()


def test_untyped_dictionaries_stay_at_the_edges():
    found = {file: list(untyped(tree)) for file, tree in LIBRARY.items()}
    files = {file for file, lines in found.items() if lines}
    assert {file: found[file] for file in files - set(EDGES)} == {}
    assert set(EDGES) - files == set()  # an exception that nothing needs


def test_files_are_short():
    long = {file for file, text in FILES.items() if text.count("\n") > MOST_LINES}
    assert long == set(LONG)


def test_no_private_word_in_a_name():
    found = {
        file: private_words(tree)
        for file, tree in TREES.items()
        if not file.startswith("tests/")  # their names are sentences
    }
    assert {file: words for file, words in found.items() if words} == {}


def test_the_checks_see_what_they_look_for():
    tree = ast.parse(
        "class WeigherOfRows: ...\n"
        "def f(a: Tensor, b: NDArray[np.int32] | None, c: int, *, d: Tensor): ...\n"
        "def g(x) -> dict[str, Any]: ...\n"
        "class C:\n    def to_dict(self) -> dict[str, Any]: ...\n"
        "told_B = meet(opinion=1).isAlarm\n"
    )
    assert private_words(tree) == {"weigher", "told", "meet", "opinion", "alarm"}
    assert array_arguments(tree.body[1]) == ["a", "b"]
    assert list(untyped(tree)) == [3]


EDGES = {  # files that may hold a dict[str, Any], and what it is
    "labelfix/cli/options.py": "what --json prints",
    "labelfix/contract/reading.py": "the file's own metadata, JSON",
    "labelfix/contract/labels.py": "the file's own metadata, JSON",
    "labelfix/nets/backbones.py": "arguments of timm",
    "labelfix/nets/datasets.py": "what pickle keeps of an object",
    "labelfix/predictors/bilevel/student.py": "an optimizer's parameter group",
    "labelfix/retrain/learned_weights.py": "state beside a module's tensors, as torch stores it",
    "labelfix/training/checkpoint.py": "what torch.save stores",
    "labelfix/training/worker.py": "what torch.save stores",
    "labelfix/report/figures.py": "what the page draws, JSON",
    "labelfix/report/purify_report.py": "what the page draws, JSON",
    "labelfix/workflows/report.py": "summary.json",
}
LONG = {  # files that may be long, and why
    "tests/inputs/test_bad_inputs.py": "one table: what is wrong, and the line that says so",
}

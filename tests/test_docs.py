"""README, docs and examples: what they show runs, what they name exists, lists are complete."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import click
import pytest
from docs_files import write_files

from labelfix.cli import main
from labelfix.contract import DECISIONS
from labelfix.exporters.registry import exporters
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES
from labelfix.predictors.registry import METHODS as PREDICTORS
from labelfix.retrain.registry import METHODS as RETRAIN_METHODS

ROOT = Path(__file__).parent.parent
PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SNIPPET = re.compile(r"^```(python|sh)\n(.*?)^```$", re.M | re.S)
OUTSIDE = (  # they install, or run these very tests
    "python3 -m venv", "pip install", "pre-commit", "pytest", "zensical", ".ci/run", "git clone",
)  # fmt: skip
OTHERS_OPTIONS = {  # of pip, click, a recipe
    "--quiet", "--force-reinstall", "--no-deps", "--help", "--ablations",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all pages: what one page has made, another that shows the same does not."""
    place = tmp_path_factory.mktemp("reader")
    write_files(place)
    return place


def run_in_shell(block: str) -> None:
    """Runs the labelfix commands of a block, as the installed program does."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or line.startswith(OUTSIDE):
            continue
        assert words[0] == "labelfix", f"nobody knows whether this runs: {line}"
        with pytest.raises(SystemExit) as left:
            main(words[1:])
        assert left.value.code == 0, line


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if SNIPPET.search(text)])
def test_snippets_run(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names = {}
    for kind, block in SNIPPET.findall(PAGES[page]):
        if kind == "sh":
            run_in_shell(block)
        else:
            exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda file: file.name)
def test_examples_run(example, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md"])
def test_named_options_exist(page):
    known = {"--version"} | {
        option
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", PAGES[page]))
    assert named <= known | OTHERS_OPTIONS


@pytest.mark.parametrize("page", PAGES)
def test_no_private_words(page):
    words = set(re.findall(r"[a-z]+", PAGES[page].lower()))
    assert not words & {"witness", "witnesses", "judge", "judges", "judged", "told", "opinion"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        path, _, anchor = target.partition("#")
        if target.startswith("http"):
            continue
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in headings}


def test_every_page_is_in_the_navigation():
    named = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1])
    assert sorted(named) == sorted(file.name for file in (ROOT / "docs").glob("*.md"))


def test_the_map_names_every_folder():
    drawn = PAGES["CONTRIBUTING.md"].split("```text\n")[1].split("```")[0]
    named = set(re.findall(r"[\w.]+/?", drawn))
    for place in (ROOT / "labelfix").iterdir():
        if place.is_dir() and not place.name.startswith("_"):
            assert f"{place.name}/" in named
        elif place.suffix == ".py" and not place.name.startswith("_"):
            assert place.name in named


def test_the_reference_shows_every_command():
    text = PAGES["docs/cli.md"]
    assert set(re.findall(r'^show\("(.+)"\)$', text, re.M)) == set(main.commands)
    assert set(re.findall(r"^## (.+)$", text, re.M)) == set(main.commands)


def table(page: str, header: str) -> list[list[str]]:
    """The rows of the table that a header starts, without back-quotes."""
    rows = PAGES[page].split(f"| {header} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.split("|")[1:-1]] for row in rows]


def test_the_decisions_are_the_contracts():
    assert [row[0] for row in table("docs/files.md", "decision")] == list(DECISIONS)


def need_of(method) -> str:
    """Whether a method of purify needs checked rows, as the table says it."""
    if method.needs_clean("auto", False):
        return "yes"
    return "with `--upper-loss ce-clean" if method.needs_clean("ce-clean", False) else "no"


def test_the_tables_of_methods_are_the_registries():
    predictors = {row[0]: row[2] for row in table("docs/methods.md", "`--method`")}
    assert predictors == {
        name: need_of(method) for name, method in PREDICTORS.items() if name != "auto"
    }
    trainings = {row[0]: row[2] for row in table("docs/training.md", "`--method`")}
    assert trainings == {name: ", ".join(method.needs) for name, method in RETRAIN_METHODS.items()}
    formats = {row[0] for row in table("docs/sharing.md", "`--format`")}
    assert formats == set(exporters())
    losses = {row[0] for row in table("docs/methods.md", "`--upper-loss`")}
    assert losses == set(UPPER_LOSSES)

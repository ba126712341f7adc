"""Help of every command, with an example, without waiting."""

import subprocess
import sys

import click
import pytest

from labelfix.cli import main

DESIGN = {
    "demo", "purify", "retrain", "export", "report", "review", "pretrain", "embed", "corrupt",
    "evaluate",
}  # fmt: skip


def test_commands_are_those_of_the_design():
    assert set(main.commands) <= DESIGN
    assert {"demo", "purify", "retrain", "pretrain", "embed", "corrupt", "evaluate"} <= set(
        main.commands
    )


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name, labelfix):
    done = labelfix(name, "--help")
    assert done.status == 0
    assert f"Example:\n    labelfix {name}" in done.out
    command = main.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert parameter.opts[0] in done.out
    assert labelfix(name, "-h").out == done.out


def test_help_and_version(labelfix):
    done = labelfix("--help")
    assert done.status == 0
    assert all(name in done.out for name in main.commands)
    assert "..." not in done.out.split("Commands:")[1]  # no sentence is cut
    assert labelfix("--version").out.startswith("labelfix, version ")


def test_no_command_at_all(labelfix):
    done = labelfix()
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("Usage: ")
    assert all(name in done.err for name in main.commands)


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from labelfix.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: assert left.code == 0\n"
        "heavy = {'torch', 'pandas', 'pyarrow', 'sklearn', 'rich', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_installed_program_prints_one_line(tmp_path):
    code = "from labelfix.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "evaluate", str(tmp_path / "no"), "--truth", "t.csv"],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"labelfix: {tmp_path / 'no'}: there is no such file; ")

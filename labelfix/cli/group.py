"""The group of commands, and errors as one line each with the exit status that says whose."""

from __future__ import annotations

import sys
from typing import Any

import click

import labelfix
from labelfix.cli.purify import embed_command, pretrain_command, purify_command
from labelfix.cli.report import export_command, report_command
from labelfix.cli.retrain import evaluate_command, retrain_command
from labelfix.cli.review import review_command
from labelfix.cli.samples import corrupt_command, demo_command
from labelfix.errors import DegenerateLearningError, InputError

_AGAIN = "run the same command again: it goes on where it stopped"


class OneLine(click.Group):
    """A group whose errors are one line each, with the exit status that says whose they are."""

    def __call__(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401
        try:
            self.main(*args, **{**extra, "standalone_mode": False})
        except InputError as error:
            _leave(str(error), 2)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(2)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "labelfix"
            _leave(f"{error.format_message()} See '{path} --help'.", 2)
        except DegenerateLearningError as error:
            _leave(f"{error}; nothing was written", 1)
        except (KeyboardInterrupt, click.Abort):
            _leave(f"interrupted; {_AGAIN}", 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            reason = " ".join((error.strerror or str(error)).split())
            _leave(f"{where}{reason}; solve that, then {_AGAIN}", 1)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            what = f" ({str(error).splitlines()[0]})" if str(error) else ""
            _leave(f"out of memory{what}; free some, or give fewer rows or columns", 1)
        sys.exit(0)


def _is_out_of_memory(error: Exception) -> bool:
    """Torch says so by a RuntimeError: of its own class on a GPU, by its words on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return "can't allocate memory" in str(error)


def _leave(message: str, status: int) -> None:
    click.echo(f"labelfix: {message}", err=True)
    sys.exit(status)


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(labelfix.__version__, prog_name="labelfix")
def main() -> None:
    """Turn a dataset with noisy labels into a corrected one.

    Start with `labelfix demo`, or with your own table:
    `labelfix purify data.csv --clean-set checked.csv`.
    """


for command in (
    purify_command,
    report_command,
    review_command,
    export_command,
    retrain_command,
    evaluate_command,
    corrupt_command,
    demo_command,
    pretrain_command,
    embed_command,
):
    main.add_command(command)

"""corrupt and demo: datasets to try labelfix on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from labelfix.cli.options import (
    COLUMN_SETTINGS,
    PATH,
    DataCommand,
    column_options,
    seed_option,
    terminal_of,
    writing,
)


@click.command(cls=DataCommand)
@click.argument("data", type=PATH)
@click.option(
    "--noise",
    required=True,
    help="symmetric (to any other class), asymmetric (from a class to one other) or instance "
    "(how likely, and to which class, depends on the row).",
)
@click.option("--rate", required=True, type=float, help="Share of labels to make wrong, 0 to 1.")
@click.option(
    "--map",
    "map",
    metavar="A=B,...",
    help="Asymmetric noise: which class becomes which, or 'next' for each class the next one.  "
    "[default: the class that it is most often taken for]",
)
@click.option("--out", type=PATH, metavar="FILE", help="The new table.  [default: beside DATA]")
@column_options
@seed_option
def corrupt_command(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Add known label noise to DATA, for benchmarks. The right label stays in `true_label`.

    \b
    Example:
      labelfix corrupt right.csv --noise symmetric --rate 0.4 --out data.csv
      labelfix corrupt right.csv --noise asymmetric --rate 0.4 --map cat=dog,dog=cat
    """
    from labelfix.workflows import corrupt
    from labelfix.workflows.purify import read_dataset

    terminal = terminal_of()
    columns = {name: settings.pop(name) for name in COLUMN_SETTINGS}
    config = corrupt.CorruptConfig(**settings)
    dataset = read_dataset(data, **columns)
    parent = data if not data.is_dir() else data.parent / data.name
    out = out or parent.with_name(f"{parent.stem}-{config.noise}-{config.rate:g}.csv")
    with writing(out):
        done = corrupt.corrupt(dataset, out, config)
    for before, after in done.map.items():
        terminal.say(f"{before} -> {after}")
    terminal.result(
        f"wrote {out}: {done.flipped} of {done.rows} labels are wrong now, "
        f"realised noise rate {done.realised_rate:.1%}"
    )


@click.command()
@click.argument("folder", type=PATH, metavar="[DIR]", default=Path("labelfix-demo"))
@seed_option
def demo_command(folder: Path, seed: int) -> None:
    """Show what labelfix does, on real digits.

    Writes 1,797 handwritten digits into DIR, makes 40 % of the training labels wrong, then runs
    corrupt, purify, evaluate and retrain, and prints each command. Takes 2 to 3 minutes.

    \b
    Example:
      labelfix demo
    """
    from labelfix.workflows import demo as tour

    terminal = terminal_of()
    commands = tour.prepare(folder, seed)
    for command in commands:
        terminal.result(f"\n$ labelfix {shlex.join(command)}", style="bold")
        click.get_current_context().find_root().command.main(list(command), standalone_mode=False)
    terminal.demo(tour.result_of(folder))

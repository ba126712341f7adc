"""corrupt and demo: datasets to try labelfix on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from labelfix.cli.options import (
    PATH,
    column_options,
    seed_option,
    terminal_of,
    writing,
)


@click.command()
@click.argument("data", type=PATH)
@click.option("--noise", required=True, help="symmetric, asymmetric or instance.")
@click.option("--rate", required=True, type=float, help="Share of labels to flip.")
@click.option(
    "--map",
    "map",
    metavar="A=B,...",
    help="For asymmetric noise; 'next' = each class to the next; measured on the data otherwise.",
)
@click.option("--out", type=PATH, metavar="FILE", help="The new table.  [default: beside DATA]")
@column_options
@seed_option
def corrupt(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Add known label noise to DATA, for benchmarks. The right label stays in `true_label`.

    \b
    Example:
      labelfix corrupt right.csv --noise symmetric --rate 0.4 --out data.csv
      labelfix corrupt right.csv --noise asymmetric --rate 0.4 --map cat=dog,dog=cat
    """
    from labelfix.workflows import corrupt
    from labelfix.workflows.purify import read

    terminal = terminal_of()
    names = ("label_column", "image_column", "id_column", "features")
    columns = {name: settings.pop(name) for name in names}
    config = corrupt.CorruptConfig(**settings)
    dataset = read(data, **columns)
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
def demo(folder: Path, seed: int) -> None:
    """The tour: real digits with 40 % confusable label noise, purified and retrained.

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
    terminal.demo(tour.outcome(folder))

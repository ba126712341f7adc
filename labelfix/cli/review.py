"""review: rows worth a person's time as a page, and the decisions that come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelfix.cli.options import PATH, seed_option, terminal_of, writing


@click.command("review")
@click.argument("run", type=PATH)
@click.option("--budget", type=int, metavar="N", help="How many rows people will look at.")
@click.option(
    "--random-share",
    metavar="auto|SHARE",
    default="auto",
    show_default=True,
    help="Share of the rows that are drawn at random, 0 to 1: they measure, the others correct.",
)
@click.option(
    "--reviewers", metavar="NAME,NAME", default="", help="A page for each of these people."
)
@click.option("--overlap", default=0, show_default=True, help="Rows that all of them see.")
@click.option("--plan-only", is_flag=True, help="Only say what N rows would bring.")
@click.option(
    "--add",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Take in decisions that a review page downloaded. May be repeated.",
)
@seed_option
def review_command(
    run: Path,
    budget: int | None,
    random_share: str,
    reviewers: str,
    overlap: int,
    plan_only: bool,
    add: tuple[Path, ...],
    seed: int,
) -> None:
    """Choose the rows of RUN that are worth a person's time.

    Writes a page that opens in any browser, from a folder or a mail. What it downloads comes back
    with --add, and then `labelfix purify ... --reviewed RUN` takes it in.

    \b
    Example:
      labelfix review data-purified --budget 300
      labelfix review data-purified --add decisions-7f3a19c2.csv
      labelfix purify data.csv --clean-set checked.csv --reviewed data-purified --out second
    """
    terminal = terminal_of()
    if bool(add) == (budget is not None):
        raise click.UsageError("Give --budget N or --add FILE.", click.get_current_context())
    if add:
        from labelfix.workflows.review_answers import add_decisions

        with writing(run):
            terminal.reviewed(add_decisions(run, add))
        return
    from labelfix.workflows.review import PlanSettings, make_plan

    assert budget is not None
    settings = PlanSettings(
        budget=budget,
        random_share=_share(random_share),
        reviewers=tuple(name.strip() for name in reviewers.split(",")) if reviewers else (),
        overlap=overlap,
        seed=seed,
    )
    with writing(run):
        made = make_plan(run, settings, only_show=plan_only)
    terminal.planned(made)


def _share(text: str) -> float | None:
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        context: Any = click.get_current_context()
        raise click.UsageError(
            f"--random-share is '{text}': use auto or a share from 0 to 1.", context
        ) from None

"""purify, and the stages of it that stand alone: pretrain, embed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from labelfix.cli.options import (
    PATH,
    DataCommand,
    RegistryOption,
    Titled,
    backbone_options,
    clean_set_options,
    column_options,
    default_out,
    device_options,
    json_option,
    options,
    print_json,
    read_data,
    seed_option,
    terminal_of,
    writing,
)

out_option = click.option(
    "--out", type=PATH, metavar="DIR", help="Output folder.  [default: DATA-purified, beside DATA]"
)
stage_options = options(
    click.argument("data", type=PATH),
    out_option,
    column_options,
    backbone_options,
    seed_option,
    device_options,
)


def _methods() -> Mapping[str, Titled]:
    from labelfix.predictors.registry import METHODS

    return METHODS


def _upper_losses() -> Mapping[str, Titled]:
    from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES

    return UPPER_LOSSES


@click.command(cls=DataCommand)
@click.argument("data", type=PATH)
@clean_set_options
@out_option
@column_options
@click.option(
    "--method",
    default="auto",
    show_default=True,
    metavar="NAME",
    cls=RegistryOption,
    registry=_methods,
    help="How the class of each row is predicted.",
)
@click.option(
    "--upper-loss",
    default="auto",
    show_default=True,
    metavar="NAME",
    cls=RegistryOption,
    registry=_upper_losses,
    help="What row weights are learned by, for methods that take any. auto: the method's own.",
)
@click.option(
    "--learn-from",
    default="auto",
    show_default=True,
    help="What the bilevel methods train on: images, or features made of them. "
    "auto: images on a GPU, else features.",
)
@backbone_options
@click.option(
    "--min-precision",
    default=0.0,
    show_default=True,
    help="Change a label only where the new one is right with at least this probability, 0 to 1.",
)
@seed_option
@device_options
@click.option("--fresh", is_flag=True, help="Do every stage again, also those that are done.")
@click.option("--no-report", is_flag=True, help="Write no report.html.")
@json_option
def purify_command(
    data: Path,
    out: Path | None,
    fresh: bool,
    no_report: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Correct the labels of DATA.

    DATA is a table or a folder with one folder of images for each class. Writes DIR/labels.parquet,
    DIR/summary.json and DIR/report.html, a page to look at. Run the same command again after an
    interruption: it goes on where it stopped.

    \b
    Example:
      labelfix purify data.csv --clean-set checked.csv
      labelfix purify data.parquet --features features.npy --clean-set checked.csv --out run
    """
    from labelfix.workflows import purify
    from labelfix.workflows.report import write_report

    terminal = terminal_of()
    config, dataset = read_data(data, settings, terminal)
    out = out or default_out(data)
    with writing(out):
        summary = purify.purify_dataset(dataset, out, config, fresh=fresh, report=terminal)
        page = None if no_report else write_report(out)
    if as_json:
        print_json(summary.to_dict())
    else:
        terminal.evidence(summary)
        terminal.result(f"wrote {out / 'labels.parquet'} and {out / 'summary.json'}")
        if page is not None:
            terminal.result(f"look at it: {page}")


@click.command(cls=DataCommand)
@stage_options
def pretrain_command(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Train a backbone on the images of DATA, without labels.

    This is the first part of purify: a later purify with the same --out goes on from it.

    \b
    Example:
      labelfix pretrain data.csv --pretrain moco --out run
    """
    from labelfix.workflows import embed

    terminal = terminal_of()
    config, dataset = read_data(data, settings, terminal)
    out = out or default_out(data)
    with writing(out):
        weights = embed.pretrain_only(dataset, out, config, report=terminal)
    terminal.result(f"weights: {weights}")


@click.command(cls=DataCommand)
@stage_options
def embed_command(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Turn the images of DATA into features.

    Writes one row of numbers for each row of DATA (.npy, float16). Trains the backbone first where
    it must. This is the first part of purify: a later purify with the same --out goes on from it.

    \b
    Example:
      labelfix embed data.csv --backbone resnet50 --weights pretrained --out run
    """
    from labelfix.workflows import embed

    terminal = terminal_of()
    config, dataset = read_data(data, settings, terminal)
    out = out or default_out(data)
    with writing(out):
        features = embed.embed_only(dataset, out, config, report=terminal)
    terminal.result(f"features: {features}")

"""Options that several commands share, and what every command does with its terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EIO
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


PATH = click.Path(path_type=Path)

column_options = options(
    click.option("--label-column", metavar="NAME", help="Label column; found by name otherwise."),
    click.option("--image-column", metavar="NAME", help="Image column: paths, bytes or structs."),
    click.option("--id-column", metavar="NAME", help="Id column; else image path or row number."),
    click.option(
        "--features",
        metavar="FILE_OR_COLUMN",
        help="Features, not images: an .npy of N x D, a Parquet keyed by id, or a list column.",
    ),
)

device_options = options(
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
    click.option("--devices", default=1, show_default=True, help="Processes a node."),
    click.option("--num-nodes", default=1, show_default=True, help="Nodes; see the README."),
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
        help="Precision of training.",
    ),
)

seed_option = click.option("--seed", default=0, show_default=True, help="Of everything random.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")

backbone_options = options(
    click.option(
        "--pretrain",
        default="simclr",
        show_default=True,
        help="simclr, moco or none: how the backbone learns from the images alone.",
    ),
    click.option(
        "--backbone", metavar="NAME", help="Any timm model, or smallconv (default on a CPU)."
    ),
    click.option(
        "--weights",
        default="random",
        show_default=True,
        metavar="random|pretrained|PATH",
        help="Start of the backbone; pretrained and PATH skip pretraining.",
    ),
    click.option("--epochs", type=int, help="Of pretraining; chosen by the data's size otherwise."),
)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Names the output where the system does not say what it could not write."""
    try:
        yield
    except OSError as error:
        if error.filename:
            raise
        raise OSError(error.errno or EIO, error.strerror or str(error), str(out)) from error


def terminal_of() -> Any:  # noqa: ANN401
    from labelfix.cli.console import Terminal

    return Terminal()


def read_data(
    data: Path,
    clean: Path | None,
    settings: dict[str, Any],
    terminal: Any,  # noqa: ANN401
) -> tuple[Any, Any]:
    """Settings first, since they are quick to check; then the tables."""
    from labelfix.workflows.purify import read
    from labelfix.workflows.settings import PurifyConfig

    names = ("label_column", "image_column", "id_column", "features")
    columns = {name: settings.pop(name) for name in names}
    config = PurifyConfig(**settings)
    dataset = read(data, clean, **columns)
    for line in dataset.notices:
        terminal.say(line)
    return config, dataset


def default_out(data: Path) -> Path:
    return data.resolve().parent / f"{data.resolve().stem}-purified"


def print_json(value: dict[str, Any]) -> None:
    from labelfix.workflows.output_folder import plain

    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))

"""Options that several commands share, and what every command does with its terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from errno import EIO
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def options(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


class Titled(Protocol):
    """An entry of a registry."""

    @property
    def title(self) -> str: ...


class RegistryOption(click.Option):
    """An option whose values are the names in a registry; its help lists them with their titles.

    Args:
        registry: gives the registry. It is called when this help is shown, and only then:
            registries import torch, which takes seconds.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401
        registry: Callable[[], Mapping[str, Titled]],
        **settings: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **settings)
        self.registry = registry

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        if record is None:
            return None
        names = [f"{name}: {entry.title}" for name, entry in self.registry().items()]
        return record[0], "\n".join([record[1], "", "\b", *names])


class DataCommand(click.Command):
    """A command whose argument is DATA; its help lists the formats that are read."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from labelfix.workflows.purify import formats

        super().format_help_text(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Formats of tables: {formats()}.")


PATH = click.Path(path_type=Path)

column_options = options(
    click.option(
        "--label-column", metavar="NAME", help="Column of labels.  [default: found by its name]"
    ),
    click.option(
        "--image-column",
        metavar="NAME",
        help="Column of images: paths, bytes or structs of both.  [default: found by its name]",
    ),
    click.option(
        "--id-column",
        metavar="NAME",
        help="Column of ids.  [default: found by its name, else image path, else row number]",
    ),
    click.option(
        "--features",
        metavar="FILE_OR_COLUMN",
        help="Features in place of images: an .npy file with one row of numbers for each row of "
        "DATA, a Parquet file with ids, or a list column of DATA.",
    ),
    click.option(
        "--decimal-classes",
        is_flag=True,
        help="Labels such as 36.6 are classes, though they look like measurements.",
    ),
    click.option(
        "--join-spellings/--no-join-spellings",
        default=True,
        show_default=True,
        help="Whether labels that differ only by case or space are one class.",
    ),
)
COLUMN_SETTINGS = (
    "label_column", "image_column", "id_column", "features", "decimal_classes", "join_spellings",
)  # fmt: skip

clean_set_options = options(
    click.option(
        "--clean-set",
        type=PATH,
        metavar="CLEAN",
        multiple=True,
        help="Rows whose right label is known: some rows of DATA, drawn at random and checked. "
        "May be repeated: the rows add up.",
    ),
    click.option(
        "--clean-set-drawn",
        type=click.Choice(["random", "chosen"]),
        multiple=True,
        help="How the rows of CLEAN were picked: at random, or because of what they look like. "
        "Once for all, or once for each CLEAN.  [default: found by a test]",
    ),
    click.option(
        "--reviewed",
        type=PATH,
        metavar="RUN",
        help="Take in what people decided about RUN, an output folder of purify: see review.",
    ),
    click.option(
        "--clean-label-column",
        metavar="NAME",
        help="Column of right labels in CLEAN.  [default: found by its name, such as "
        "corrected_label, else as in DATA]",
    ),
    click.option(
        "--clean-image-column",
        metavar="NAME",
        help="Column of images in CLEAN.  [default: as in DATA, else found by its name]",
    ),
    click.option(
        "--clean-id-column",
        metavar="NAME",
        help="Column of ids in CLEAN.  [default: as in DATA, else found by its name]",
    ),
)

device_options = options(
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
    click.option(
        "--devices", default=1, show_default=True, help="Processes that train on each machine."
    ),
    click.option(
        "--num-nodes",
        default=1,
        show_default=True,
        help="Machines on which this same command is started, one output folder for all.",
    ),
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", "32-true", "bf16-mixed", "16-mixed"]),
        help="Numbers that nets compute with; auto: bf16-mixed where it is fast, else 32-true.",
    ),
)

seed_option = click.option("--seed", default=0, show_default=True, help="Seed of all random draws.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")

backbone_options = options(
    click.option(
        "--pretrain",
        default="simclr",
        show_default=True,
        help="How the backbone learns from the images, without their labels: simclr, moco or none.",
    ),
    click.option(
        "--backbone",
        metavar="NAME",
        help="The net that sees the images: smallconv or any timm model.  "
        "[default: smallconv on a CPU, else resnet18]",
    ),
    click.option(
        "--weights",
        default="random",
        show_default=True,
        metavar="random|pretrained|PATH",
        help="First weights of the backbone: random, pretrained (downloaded by timm) or a file. "
        "The last two skip pretraining.",
    ),
    click.option(
        "--epochs", type=int, help="Epochs of pretraining.  [default: by the number of images]"
    ),
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
    settings: dict[str, Any],
    terminal: Any,  # noqa: ANN401
) -> tuple[Any, Any]:
    """Settings first, since they are quick to check; then the tables."""
    from labelfix.workflows.purify import clean_source, read_dataset
    from labelfix.workflows.settings import PurifyConfig

    columns = {name: settings.pop(name) for name in COLUMN_SETTINGS}
    clean = clean_source(
        settings.pop("clean_set", ()),
        settings.pop("clean_set_drawn", ()),
        settings.pop("reviewed", None),
        **{role: settings.pop(f"clean_{role}_column", None) for role in ("label", "image", "id")},
    )
    config = PurifyConfig(**settings)
    dataset = read_dataset(data, clean, **columns)
    for line in dataset.notices:
        terminal.say(line)
    return config, dataset


def default_out(data: Path) -> Path:
    name = re.sub(r"[*?]", "", data.resolve().stem).strip("-_.")  # of a pattern: without its marks
    return data.resolve().parent / f"{name or 'data'}-purified"


def print_json(value: dict[str, Any]) -> None:
    from labelfix.workflows.output_folder import plain

    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))

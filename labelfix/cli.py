"""The command line: options in, library calls, results out. Nothing is computed here."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click

import labelfix
from labelfix.errors import DegenerateLearningError, InputError

Command = TypeVar("Command", bound=Callable[..., Any])


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
            _leave("interrupted; the same command goes on where it stopped", 1)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            reason = " ".join((error.strerror or str(error)).split())
            _leave(f"{where}{reason}; mend that, and the same command goes on where it stopped", 1)
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


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Names the output where the system does not say what it could not write."""
    try:
        yield
    except OSError as error:
        if error.filename:
            raise
        raise OSError(error.errno or EIO, error.strerror or str(error), str(out)) from error


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


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(labelfix.__version__, prog_name="labelfix")
def main() -> None:
    """Turn a dataset with noisy labels into a corrected one.

    Start with `labelfix demo`, or with your own table:
    `labelfix purify data.csv --clean-set checked.csv`.
    """


@main.command()
@click.argument("data", type=PATH)
@click.option(
    "--clean-set",
    type=PATH,
    metavar="CLEAN",
    help="Rows with labels that someone checked, drawn at random.",
)
@click.option(
    "--out", type=PATH, metavar="DIR", help="Output folder.  [default: DATA's name + -purified]"
)
@column_options
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto, dmlp, dmlp-naive, mlc, mlc-d, emlc, ebomlc, clid, mw-net or vri; see the README.",
)
@click.option(
    "--upper-loss",
    default="auto",
    show_default=True,
    help="What steers clid, mw-net, vri: ce-clean, ce-noisy, small-loss, mae, clid, clid-sparse.",
)
@click.option(
    "--learn-from",
    default="auto",
    show_default=True,
    help="What mlc to vri train on: images, or the features made of them. auto: images on a GPU.",
)
@backbone_options
@click.option(
    "--min-precision",
    default=0.0,
    show_default=True,
    help="Change a label only where the new one is right with at least this probability.",
)
@seed_option
@device_options
@click.option("--fresh", is_flag=True, help="Do every stage again.")
@json_option
def purify(
    data: Path,
    clean_set: Path | None,
    out: Path | None,
    fresh: bool,
    as_json: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Correct the labels of DATA, a table or a folder of class-named folders.

    Writes DIR/labels.parquet and DIR/summary.json. Stages that are done are skipped.

    \b
    Example:
      labelfix purify data.csv --clean-set checked.csv
      labelfix purify data.parquet --features features.npy --clean-set checked.csv --out run
    """
    from labelfix import stages

    terminal = _terminal()
    config, dataset = _read(data, clean_set, settings, terminal)
    out = out or _default_out(data)
    with _writing(out):
        summary = stages.purify(dataset, out, config, fresh=fresh, report=terminal)
    if as_json:
        _print_json(summary)
    else:
        terminal.evidence(summary)
        terminal.result(f"wrote {out / 'labels.parquet'} and {out / 'summary.json'}")


@main.command()
@click.argument("data", type=PATH)
@click.option(
    "--out", type=PATH, metavar="DIR", help="Output folder.  [default: DATA's name + -purified]"
)
@column_options
@backbone_options
@seed_option
@device_options
def pretrain(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Train a backbone on the images of DATA alone; labels are not used.

    The same stage as in purify: a later purify into the same folder goes on from it.

    \b
    Example:
      labelfix pretrain data.csv --pretrain moco --out run
    """
    from labelfix import image_stages

    terminal = _terminal()
    config, dataset = _read(data, None, settings, terminal)
    out = out or _default_out(data)
    with _writing(out):
        weights = image_stages.pretrain_only(dataset, out, config, report=terminal)
    terminal.result(f"weights: {weights}")


@main.command()
@click.argument("data", type=PATH)
@click.option(
    "--out", type=PATH, metavar="DIR", help="Output folder.  [default: DATA's name + -purified]"
)
@column_options
@backbone_options
@seed_option
@device_options
def embed(data: Path, out: Path | None, **settings: Any) -> None:  # noqa: ANN401
    """Turn the images of DATA into features, float16 N x D, row by row.

    The same stages as in purify: a later purify into the same folder goes on from them.

    \b
    Example:
      labelfix embed data.csv --backbone resnet50 --weights pretrained --out run
    """
    from labelfix import image_stages

    terminal = _terminal()
    config, dataset = _read(data, None, settings, terminal)
    out = out or _default_out(data)
    with _writing(out):
        features = image_stages.embed_only(dataset, out, config, report=terminal)
    terminal.result(f"features: {features}")


@main.command()
@click.argument("run", type=PATH)
@click.option(
    "--method",
    default="ce",
    show_default=True,
    help="ce, dividemix, elr, coteaching, coteaching+, cdr, hrp, uda, fixmatch or flexmatch.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="One of the method's own settings, such as clid=true; may be repeated.",
)
@click.option("--test", type=PATH, metavar="TABLE", help="Test rows with right labels.")
@click.option(
    "--test-features", type=PATH, metavar="FILE", help="Their features, for datasets of features."
)
@click.option(
    "--features",
    metavar="FILE_OR_COLUMN",
    help="RUN's features, where RUN does not name them (a labels.parquet of your own).",
)
@click.option("--image-column", metavar="NAME", help="RUN's images, likewise.")
@click.option(
    "--labels",
    default="purified",
    show_default=True,
    type=click.Choice(["purified", "given"]),
    help="Which labels to train on.",
)
@click.option("--compare", is_flag=True, help="Train on given and purified labels, side by side.")
@click.option("--out", type=PATH, metavar="DIR", help="Output folder.  [default: RUN/retrain]")
@click.option("--epochs", type=int, help="Chosen by the data's size otherwise.")
@seed_option
@device_options
@json_option
def retrain(
    run: Path,
    test: Path | None,
    test_features: Path | None,
    features: str | None,
    image_column: str | None,
    compare: bool,
    out: Path | None,
    as_json: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train a model on RUN, a purify output folder or a labels.parquet.

    Writes weights.safetensors, predictions.parquet and metrics.json. An interrupted training goes
    on where it stopped.

    \b
    Example:
      labelfix retrain run --test test.csv --compare
      labelfix retrain run --test test.csv --method dividemix --set clid=true
      labelfix retrain labels.parquet --test test.csv --test-features test.npy
    """
    from labelfix import comparison, material, retraining

    terminal = _terminal()
    config = retraining.RetrainConfig(**settings)
    out = out or (run if run.is_dir() else run.parent) / "retrain"
    with TemporaryDirectory(prefix="labelfix-") as scratch, _writing(out):
        found = material.gather(
            run, Path(scratch), features=features, image_column=image_column,
            test=test, test_features=test_features,
        )  # fmt: skip
        for line in found.notices:
            terminal.say(line)
        if compare:
            metrics = comparison.compare(found, out, config, report=terminal)
        else:
            metrics = retraining.run(found, out, config, report=terminal)
    if as_json:
        _print_json(metrics)
    else:
        terminal.retrained(metrics)
        terminal.result(f"wrote {out}")


@main.command()
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
    from labelfix import corruption, inputs

    terminal = _terminal()
    names = ("label_column", "image_column", "id_column", "features")
    columns = {name: settings.pop(name) for name in names}
    config = corruption.CorruptConfig(**settings)
    dataset = inputs.read(data, **columns)
    parent = data if not data.is_dir() else data.parent / data.name
    out = out or parent.with_name(f"{parent.stem}-{config.noise}-{config.rate:g}.csv")
    with _writing(out):
        done = corruption.corrupt(dataset, out, config)
    for before, after in done.map.items():
        terminal.say(f"{before} -> {after}")
    terminal.result(
        f"wrote {out}: {done.flipped} of {done.rows} labels are wrong now, "
        f"realised noise rate {done.realised_rate:.1%}"
    )


@main.command()
@click.argument("run", type=PATH)
@click.option("--truth", type=PATH, metavar="TABLE", help="The right label of every id.")
@click.option("--label-column", metavar="NAME", help="Its label column.")
@click.option("--id-column", metavar="NAME", help="Its id column.")
@click.option("--ood", type=PATH, metavar="TABLE", help="Rows that belong to none of the classes.")
@click.option(
    "--ood-features", type=PATH, metavar="FILE", help="Their features, for models of features."
)
@click.option(
    "--model", type=PATH, metavar="DIR", help="The model for --ood.  [default: RUN/retrain]"
)
@json_option
def evaluate(
    run: Path,
    truth: Path | None,
    ood: Path | None,
    ood_features: Path | None,
    model: Path | None,
    as_json: bool,
    **columns: Any,  # noqa: ANN401
) -> None:
    """Measure how right RUN is, where the truth is known, over the rows that were not checked.

    With --ood: how well a retrained model tells rows that belong to none of the classes from its
    test rows, by its largest probability (MSP) and by its energy.

    \b
    Example:
      labelfix evaluate run --truth right.csv
      labelfix evaluate run --ood other.csv
    """
    from labelfix import evaluation

    if truth is None and ood is None:
        raise click.UsageError("Missing option '--truth' or '--ood'.", click.get_current_context())
    if ood_features is not None and ood is None:
        raise click.UsageError("--ood-features comes without --ood.", click.get_current_context())
    figures, outside = {}, {}
    if truth is not None:
        figures = evaluation.evaluate(run, truth, **columns)
    if ood is not None:
        from labelfix import outliers

        outside = outliers.outliers(
            model or outliers.model_of(run),
            ood,
            ood_features=ood_features,
        )
    if as_json:
        _print_json(figures | outside)
        return
    terminal = _terminal()
    if figures:
        terminal.figures("Against the truth, over the rows that were not checked", figures)
    if outside:
        terminal.figures("Test rows against rows from outside", outside)


@main.command()
@click.argument("folder", type=PATH, metavar="[DIR]", default=Path("labelfix-demo"))
@seed_option
def demo(folder: Path, seed: int) -> None:
    """The tour: real digits with 40 % confusable label noise, purified and retrained.

    \b
    Example:
      labelfix demo
    """
    from labelfix import demo as tour

    terminal = _terminal()
    commands = tour.prepare(folder, seed)
    for command in commands:
        terminal.result(f"\n$ labelfix {shlex.join(command)}", style="bold")
        main.main(args=list(command), standalone_mode=False)
    terminal.demo(tour.outcome(folder))


def _terminal() -> Any:  # noqa: ANN401
    from labelfix.console import Terminal

    return Terminal()


def _read(
    data: Path,
    clean: Path | None,
    settings: dict[str, Any],
    terminal: Any,  # noqa: ANN401
) -> tuple[Any, Any]:
    """Settings first, since they are quick to check; then the tables."""
    from labelfix import inputs
    from labelfix.run import PurifyConfig

    names = ("label_column", "image_column", "id_column", "features")
    columns = {name: settings.pop(name) for name in names}
    config = PurifyConfig(**settings)
    dataset = inputs.read(data, clean, **columns)
    for line in dataset.notices:
        terminal.say(line)
    return config, dataset


def _default_out(data: Path) -> Path:
    return data.resolve().parent / f"{data.resolve().stem}-purified"


def _print_json(value: dict[str, Any]) -> None:
    from labelfix.artifacts import plain

    click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


if __name__ == "__main__":
    main()

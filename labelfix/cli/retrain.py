"""retrain and evaluate: what is done with a corrected dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from labelfix.cli.options import (
    PATH,
    RegistryOption,
    Titled,
    device_options,
    json_option,
    print_json,
    seed_option,
    terminal_of,
    writing,
)


def _methods() -> Mapping[str, Titled]:
    from labelfix.retrain.registry import METHODS

    return METHODS


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--method",
    default="ce",
    show_default=True,
    metavar="NAME",
    cls=RegistryOption,
    registry=_methods,
    help="How to train.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting of the method, such as upper_loss=clid; may be given several times. "
    "A wrong name lists the settings.",
)
@click.option("--test", type=PATH, metavar="TABLE", help="Test rows, with right labels.")
@click.option(
    "--test-features",
    type=PATH,
    metavar="FILE",
    help="Features of the test rows, where RUN was made from features.",
)
@click.option(
    "--data",
    type=PATH,
    metavar="DATA",
    help="The table or folder that was purified, where its images are not found.",
)
@click.option(
    "--features",
    metavar="FILE_OR_COLUMN",
    help="Features of RUN's rows, where they are not found.",
)
@click.option(
    "--image-column",
    metavar="NAME",
    help="Images of RUN's rows, where RUN does not name the column, and of the test rows.",
)
@click.option(
    "--label-column",
    metavar="NAME",
    help="Column of right labels in --test.  [default: found by its name, else as in DATA]",
)
@click.option(
    "--id-column",
    metavar="NAME",
    help="Column of ids in --test.  [default: as in DATA, else found by its name]",
)
@click.option(
    "--labels",
    default="purified",
    show_default=True,
    type=click.Choice(["purified", "given"]),
    help="Which labels to train on.",
)
@click.option("--compare", is_flag=True, help="Train on given and on purified labels, and compare.")
@click.option("--out", type=PATH, metavar="DIR", help="Output folder.  [default: RUN/retrain]")
@click.option("--epochs", type=int, help="Epochs of training.  [default: by the number of rows]")
@seed_option
@device_options
@json_option
def retrain_command(
    run: Path,
    test: Path | None,
    test_features: Path | None,
    data: Path | None,
    features: str | None,
    image_column: str | None,
    label_column: str | None,
    id_column: str | None,
    compare: bool,
    out: Path | None,
    as_json: bool,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Train a model on a corrected dataset.

    RUN is the output folder of purify or a labels.parquet. Writes weights.safetensors,
    predictions.parquet and metrics.json. Run the same command again after an interruption: it goes
    on where it stopped.

    \b
    Example:
      labelfix retrain run --test test.csv --compare
      labelfix retrain run --test test.csv --method dividemix --set upper_loss=clid
      labelfix retrain labels.parquet --test test.csv --test-features test.npy
    """
    from labelfix.workflows.compare import compare as train_both
    from labelfix.workflows.corrected_dataset import CorrectedDataset
    from labelfix.workflows.retrain import RetrainConfig
    from labelfix.workflows.retrain import train_on as train

    terminal = terminal_of()
    config = RetrainConfig(**settings)
    out = out or (run if run.is_dir() else run.parent) / "retrain"
    with TemporaryDirectory(prefix="labelfix-") as scratch, writing(out):
        found = CorrectedDataset.open(
            run, Path(scratch), data=data, features=features, image_column=image_column,
            test=test, test_features=test_features, label_column=label_column, id_column=id_column,
        )  # fmt: skip
        for line in found.notices:
            terminal.say(line)
        if compare:
            metrics = train_both(found, out, config, report=terminal).to_dict()
        else:
            metrics = train(found, out, config, report=terminal).to_dict()
    if as_json:
        print_json(metrics)
    else:
        terminal.retrained(metrics)
        terminal.result(f"wrote {out}")


@click.command()
@click.argument("run", type=PATH)
@click.option("--truth", type=PATH, metavar="TABLE", help="The right label of each id.")
@click.option(
    "--label-column",
    metavar="NAME",
    help="Column of right labels in --truth.  [default: found by its name, else as in DATA]",
)
@click.option(
    "--image-column",
    metavar="NAME",
    help="Column of image paths in --truth, where these are the ids.  [default: as in DATA]",
)
@click.option(
    "--id-column",
    metavar="NAME",
    help="Column of ids in --truth.  [default: as in DATA, else found by its name]",
)
@click.option("--ood", type=PATH, metavar="TABLE", help="Rows that belong to none of the classes.")
@click.option(
    "--ood-features",
    type=PATH,
    metavar="FILE",
    help="Features of the rows of --ood, where the model was trained on features.",
)
@click.option(
    "--model", type=PATH, metavar="DIR", help="The model for --ood.  [default: RUN/retrain]"
)
@json_option
def evaluate_command(
    run: Path,
    truth: Path | None,
    ood: Path | None,
    ood_features: Path | None,
    model: Path | None,
    as_json: bool,
    **columns: Any,  # noqa: ANN401
) -> None:
    """Measure how right RUN is, where the truth is known.

    With --truth: how many labels are right before and after, over the rows that were not checked.
    With --ood: how well a retrained model tells rows that belong to none of the classes from its
    test rows, by its largest probability (MSP) and by its energy.

    \b
    Example:
      labelfix evaluate run --truth right.csv
      labelfix evaluate run --ood other.csv
    """
    from labelfix.workflows import evaluate

    if truth is None and ood is None:
        raise click.UsageError("Missing option '--truth' or '--ood'.", click.get_current_context())
    if ood_features is not None and ood is None:
        raise click.UsageError("--ood-features comes without --ood.", click.get_current_context())
    terminal = terminal_of()
    figures, outside = {}, {}
    if truth is not None:
        figures = evaluate.evaluate_labels(run, truth, **columns, report=terminal).to_dict()
    if ood is not None:
        outside = evaluate.evaluate_outliers(
            model or evaluate.model_of(run),
            ood,
            ood_features=ood_features,
        ).to_dict()
    if as_json:
        print_json(figures | outside)
        return
    if figures:
        terminal.figures("Against the truth, over the rows that were not checked", figures)
    if outside:
        terminal.figures("Test rows against rows of no class", outside)

"""What a labels.parquet was made from: names in the file, places on this machine beside it.

labels.parquet and summary.json hold plain names, so that the same data gives the same bytes in any
folder and no name of a folder leaves the machine. Where the inputs lie, as seen from the output
folder, stands in ``stages/source.json``. A labels.parquet without it looks for them by name, in its
own folder, the one above, and the folders in these two.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows.output_folder import OutputFolder, write_json
from labelfix.workflows.settings import PurifyConfig

NO_FILE = ("random", "pretrained")  # where weights start, if not from a file


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was purified, by name; None where there is no such thing, or nobody knows.

    Attributes:
        data: DATA's file or folder.
        image_column: the column of labels.parquet that holds the images.
        features: the features' file.
        features_column: the column of labels.parquet that holds the features.
        label_column, id_column: DATA's columns: what tables beside it probably call theirs.
    """

    data: str | None = None
    image_column: str | None = None
    features: str | None = None
    features_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None

    @property
    def columns(self) -> inputs.Columns:
        """The names that columns of tables beside DATA probably have."""
        return inputs.Columns(label=self.label_column, image=self.image_column, id=self.id_column)

    @classmethod
    def of_dataset(cls, dataset: inputs.Dataset) -> Source:
        """The names of what a dataset was read from."""
        column, file = _features_of(dataset)
        return cls(
            data=dataset.source.resolve().name,
            image_column=_name_in_output(dataset, dataset.image_column),
            features=file.name if file else None,
            features_column=_name_in_output(dataset, column),
            label_column=dataset.columns.label,
            id_column=dataset.columns.id,
        )

    @classmethod
    def of_labels(cls, labels: contract.Labels) -> Source:
        """The names that a labels.parquet tells."""
        found = labels.metadata.get("source", {})
        return cls(**{field.name: found.get(field.name) for field in fields(cls)})


def weights_name(weights: str) -> str:
    """Where weights start, without the folder: random, pretrained, or the name of a file."""
    return weights if weights in NO_FILE else Path(weights).name


def write_places(dataset: inputs.Dataset, config: PurifyConfig, folder: OutputFolder) -> None:
    """Keep where the inputs lie, relative to the output folder."""
    _, features = _features_of(dataset)
    weights = None if config.weights in NO_FILE else Path(config.weights)
    places = {"data": dataset.source, "features": features, "weights": weights}
    write_json(
        folder.source,
        {
            part: os.path.relpath(path.resolve(), folder.path.resolve())
            for part, path in places.items()
            if path is not None
        },
    )


def candidates(file: Path, part: str, name: str) -> list[Path]:
    """Where an input of a labels.parquet may lie: one place, none, or several equally near ones.

    Args:
        file: the labels.parquet.
        part: data, features or weights.
        name: its name.
    """
    folder = file.resolve().parent
    try:
        kept = json.loads(OutputFolder(folder).source.read_text())[part]
    except (OSError, ValueError, KeyError, TypeError):
        kept = None
    if isinstance(kept, str) and (folder / kept).exists():
        return [Path(os.path.normpath(folder / kept))]
    above = folder.parent
    for places in ([folder], [above], _folders_in(folder), _folders_in(above)):
        found = [place / name for place in places if (place / name).exists()]
        if found:
            return found
    return []


def locate_input(file: Path, part: str, name: str, option: str) -> Path | None:
    """The one place where an input of a labels.parquet lies, or None.

    Args:
        file, part, name: as for :func:`candidates`.
        option: of the command line, that names the place.

    Raises:
        InputError: there are several.
    """
    found = candidates(file, part, name)
    if len(found) > 1:
        raise InputError(
            f"there are several '{name}' near it, such as {found[0]} and {found[1]}",
            hint=f"name the right one with {option}",
            file=file,
        )
    return found[0] if found else None


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(place for place in folder.iterdir() if place.is_dir())
    except OSError:
        return []


def _features_of(dataset: inputs.Dataset) -> tuple[str | None, Path | None]:
    """The column or the file of the features; neither where there are images."""
    named = dataset.features_from
    if named is None:
        return None, None
    return (named, None) if named in dataset.table.names else (None, Path(named))


def _name_in_output(dataset: inputs.Dataset, column: str | None) -> str | None:
    """The name of a column of DATA in labels.parquet."""
    if column is None:
        return None
    if column == dataset.columns.id:
        return "id"
    return contract.free_names(dataset.other_schema.names).get(column, column)

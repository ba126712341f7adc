"""read: the one pass over DATA and CLEAN that finds every mistake before hours of work."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labelfix.annotations import Drawn
from labelfix.errors import InputError
from labelfix.inputs.clean_rows import CleanRows, add_up
from labelfix.inputs.clean_set import LabelledData, read_clean_set
from labelfix.inputs.columns import Columns
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.duplicates import match_content
from labelfix.inputs.known_classes import align
from labelfix.inputs.labelled_table import (
    FeatureLocation,
    LabelledTable,
    find_features,
    ids_of,
    read_rows,
    require_images,
)
from labelfix.inputs.labels import check_classes, counted_classes, sort_classes
from labelfix.inputs.messages import counted, did_you_mean, quoted
from labelfix.inputs.row_content import RowContent, read_content
from labelfix.inputs.tables import open_table


@dataclass(frozen=True, kw_only=True)
class CleanSource:
    """Where checked rows are, and what a person says of them.

    Args:
        paths: tables or folders of any format; their rows add up.
        columns: their columns, where a person named them; each set takes those that it has.
        drawn: how their rows were chosen: one word for all of them, or one for each.
    """

    paths: tuple[Path, ...] = ()
    columns: Columns = field(default_factory=Columns)
    drawn: tuple[Drawn, ...] = ()

    def __post_init__(self) -> None:
        if len(self.drawn) > 1 and len(self.drawn) != len(self.paths):
            raise InputError(
                f"--clean-set-drawn is given {len(self.drawn)} times for "
                f"{counted(len(self.paths), 'clean set')}",
                hint="give it once for all of them, or once for each, in their order",
            )
        if self.drawn and not self.paths:
            raise InputError("--clean-set-drawn comes without --clean-set", hint="give both")

    def drawn_of(self, place: int) -> Drawn:
        """Returns how the rows of a set were chosen."""
        return self.drawn[place if len(self.drawn) > 1 else 0] if self.drawn else Drawn.UNKNOWN


def read(
    data: str | Path,
    clean: str | Path | CleanSource | None = None,
    *,
    label_column: str | None = None,
    image_column: str | None = None,
    id_column: str | None = None,
    features: str | Path | None = None,
    decimal_classes: bool = False,
    join_spellings: bool = True,
) -> Dataset:
    """Reads and checks DATA and the clean sets; pixels are decoded later, by `decode`.

    Args:
        data: a table in any of the formats, or a folder of class-named folders.
        clean: the same, of checked rows; None = nobody checked any.
        label_column: DATA's label column; None = found by name.
        image_column: the column of paths (relative to the table's folder), bytes or structs.
        id_column: the column of unique ids; None = found by name, else image path or row number.
        features: an .npy file of N x D in DATA's order, a table keyed by id, or a list column.
        decimal_classes: whether decimals that look like a regression target are classes too.
        join_spellings: whether labels that differ only by case or space are one class.

    Raises:
        InputError: anything about these files that a person can correct.
    """
    table = open_table(data)
    source = find_features(features, table)
    column = source.column if source else None
    wanted = Columns(label=label_column, image=image_column, id=id_column, features=column)
    rows = read_rows(table, wanted, decimal_classes=decimal_classes, join=join_spellings)
    table = rows.table
    notices = check_classes(rows.labels, table=table, column=rows.label_column)
    class_names = sort_classes(rows.labels.names)
    given = align(rows.labels, class_names, table=table, column=rows.label_column)
    ids, origin = ids_of(rows)
    # Ids and matches by path hold even where features make the image files needless.
    known = LabelledData(rows=rows, ids=ids, given=given, class_names=class_names)
    rows, sizes = require_images(rows, chosen=bool(image_column), optional=source is not None)
    checked = _read_clean(_source_of(clean), known)
    content = read_content(known, checked, source, sizes)
    dataset = Dataset(
        table=table,
        columns=rows.columns,
        ids=ids.values,
        class_names=class_names,
        given=given,
        clean_rows=checked,
        features_from=source.name if source else None,
        features=content.features,
        feature_keys=content.keys,
        clean_features=content.clean_features,
        notices=(
            *rows.notices,
            *origin,
            f"{table.title}: labels from {rows.label_place}: {counted_classes(given, class_names)}",
            *notices,
            *_unlabelled(rows, given),
            *_read_features(source, content),
            *checked.notices,
        ),
        fingerprint=_fingerprint(rows, known, checked, content),
    )
    return dataset if content.keys is None else match_content(dataset, content.keys)


def _source_of(clean: str | Path | CleanSource | None) -> CleanSource:
    if isinstance(clean, CleanSource):
        return clean
    return CleanSource(paths=() if clean is None else (Path(clean),))


def _read_clean(source: CleanSource, data: LabelledData) -> CleanRows:
    tables = [open_table(path) for path in source.paths]
    names = {name for table in tables for name in table.names}
    wanted = {"label": source.columns.label, "image": source.columns.image, "id": source.columns.id}
    for role, name in wanted.items():
        if name is not None and name not in names:
            paths = ", ".join(str(path) for path in source.paths)
            raise InputError(
                f"no clean set has this column ({paths or 'none is given'})",
                hint=f"{did_you_mean(name, sorted(names))}--clean-{role}-column takes one of "
                f"{quoted(sorted(names), 30)}",
                column=name,
            )
    sets = [
        read_clean_set(
            table, data, wanted=source.columns.only_in(table), drawn=source.drawn_of(place)
        )
        for place, table in enumerate(tables)
    ]
    return add_up(sets, data)


def _unlabelled(rows: LabelledTable, given: np.ndarray) -> tuple[str, ...]:
    holes = int((given == -1).sum())
    if not holes:
        return ()
    return (f"{rows.table.title}: {counted(holes, 'row')} without a label will receive one",)


def _read_features(source: FeatureLocation | None, content: RowContent) -> tuple[str, ...]:
    """What the features are, in a line."""
    if source is None or content.features is None:
        return ()
    width = counted(content.features.shape[1], "number")
    return (f"features: {width} a row, from {source.title}",)


def _fingerprint(
    rows: LabelledTable, data: LabelledData, clean: CleanRows, content: RowContent
) -> str:
    """Hashes all that the result depends on, under the columns that were chosen."""
    hasher = hashlib.blake2b(digest_size=16)
    parts: list[np.ndarray | None] = [data.given, content.sizes, content.keys]
    texts = [rows.table.digest or "", *data.class_names, *data.ids.values, repr(rows.columns)]
    if clean.sets:
        parts += [clean.answers, clean.rows, clean.labels]
    for one in clean.sets:
        texts += [one.table.digest or "", *one.ids.values, repr(one.columns)]
    hasher.update("\0".join(texts).encode())
    for part in parts:
        if part is not None:
            hasher.update(f"{part.dtype}{part.shape}".encode())
            hasher.update(np.ascontiguousarray(part).data)
    return hasher.hexdigest()

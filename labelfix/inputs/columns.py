"""Which column is the label, the image, the id: as the person says, else by name and type."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import pyarrow as pa

from labelfix.errors import InputError
from labelfix.inputs.arrow_types import is_decimal, is_encoded, is_text
from labelfix.inputs.messages import quoted
from labelfix.inputs.tables import Table

_LABEL = ("label", "labels", "target", "class", "category", "y", "given_label", "noisy_label")
_IMAGE = ("image", "img", "path", "file", "file_name", "filename", "image_path", "filepath")
_ID = ("id", "ids", "index", "uid", "uuid", "key", "row_id", "sample_id", "image_id")

_PANDAS_INDEX = r"(__index_level_\d+__|Unnamed: \d+|\s*)$"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns that labelfix reads; None = there is none.

    Args:
        label: the label column.
        image: the column of paths, bytes or `{bytes, path}` structs.
        id: the id column.
        features: the list column of features.
    """

    label: str | None = None
    image: str | None = None
    id: str | None = None
    features: str | None = None

    def only_in(self, table: Table) -> Columns:
        """Returns the same choice without the columns that `table` does not have."""
        names = set(table.names)
        return Columns(
            label=self.label if self.label in names else None,
            image=self.image if self.image in names else None,
            id=self.id if self.id in names else None,
            features=self.features if self.features in names else None,
        )


def choose_columns(
    table: Table, wanted: Columns, *, labelled: bool = True, prefix: str = ""
) -> tuple[Columns, tuple[str, ...]]:
    """Completes the person's choice of columns; returns it and a notice of what was taken.

    Args:
        table: the table.
        wanted: columns named by the person, all of them in the table.
        labelled: whether a label column is needed.
        prefix: of the options in messages, such as "clean-" for `--clean-label-column`.

    Raises:
        InputError: a named column is missing, or no column is plainly the label.
    """
    _require(table, wanted, prefix)
    if table.is_folder:
        return _of_folder(table, wanted), ()
    chosen = wanted
    if labelled and chosen.label is None:
        chosen = replace(chosen, label=next(iter(label_by_name(table, chosen)), None))
    if chosen.image is None:
        by_name = _by_name(table, _IMAGE, chosen, _may_be_image)
        chosen = replace(chosen, image=by_name or _by_type(table, chosen))
    if chosen.id is None:
        chosen = replace(chosen, id=_id_by_name(table, chosen))
    if labelled and chosen.label is None:
        chosen = replace(chosen, label=only_label(table, chosen, prefix=prefix))
    return chosen, _notices(table, wanted, chosen)


def _require(table: Table, wanted: Columns, prefix: str) -> None:
    options = {
        f"--{prefix}label-column": wanted.label,
        f"--{prefix}image-column": wanted.image,
        f"--{prefix}id-column": wanted.id,
        "--features": wanted.features,
    }
    for option, name in options.items():
        if name is not None and table.is_folder:
            raise InputError(
                f"is a folder of classes, so {option} says nothing",
                hint=f"leave {option} out, or give a table",
                file=table.path,
            )
        if name is not None:
            table.require(name, option=option)


def _of_folder(table: Table, wanted: Columns) -> Columns:
    return replace(wanted, label="label", image="image")


def label_by_name(table: Table, chosen: Columns) -> list[str]:
    """Returns the free columns that are called like labels and may hold them, the likeliest first.

    Args:
        table: the table.
        chosen: its columns that are taken.
    """
    return _all_by_name(table, _LABEL, chosen, may_be_label)


def _by_name(
    table: Table, names: tuple[str, ...], chosen: Columns, fits: Callable[[pa.DataType], bool]
) -> str | None:
    return next(iter(_all_by_name(table, names, chosen, fits)), None)


def _all_by_name(
    table: Table, names: tuple[str, ...], chosen: Columns, fits: Callable[[pa.DataType], bool]
) -> list[str]:
    folded = {name.strip().lower(): name for name in reversed(free_columns(table, chosen))}
    found = [folded[name] for name in names if name in folded]
    return [name for name in found if fits(table.schema.field(name).type)]


def _by_type(table: Table, chosen: Columns) -> str | None:
    free = [
        name for name in free_columns(table, chosen) if is_encoded(table.schema.field(name).type)
    ]
    return free[0] if len(free) == 1 else None


def only_label(
    table: Table, chosen: Columns, *, prefix: str = "", without: Collection[str | None] = ()
) -> str:
    """Returns the one free column that may hold labels.

    Raises:
        InputError: there is none, or several.
    """
    free = [
        name
        for name in free_columns(table, chosen)
        if may_be_label(table.schema.field(name).type)
        and not re.match(_PANDAS_INDEX, name)
        and name not in without
    ]
    if len(free) == 1:
        return free[0]
    what = "several columns could be" if free else "no column can be"
    raise InputError(
        f"{what} the label",
        hint=f"choose it with --{prefix}label-column among {quoted(table.names, 30)}",
        file=table.path,
    )


def free_columns(table: Table, chosen: Columns) -> list[str]:
    """Returns the names of the columns that are not taken."""
    taken = {chosen.label, chosen.image, chosen.id, chosen.features}
    return [name for name in table.names if name not in taken]


def may_be_label(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold labels."""
    return not (pa.types.is_nested(kind) or is_encoded(kind) or pa.types.is_temporal(kind))


def _id_by_name(table: Table, chosen: Columns) -> str | None:
    """A column that is called `id` holds the ids; where it cannot, that is an error in its values.

    Taking row numbers in its place would match other tables' ids with the wrong rows.
    """
    return (
        _by_name(table, _ID[:1], chosen, lambda kind: True)
        or _by_name(table, _ID, chosen, lambda kind: is_text(kind) or pa.types.is_integer(kind))
        or _by_name(table, _ID, chosen, is_decimal)
    )


def _may_be_image(kind: pa.DataType) -> bool:
    return is_text(kind) or is_encoded(kind)


def _notices(table: Table, wanted: Columns, chosen: Columns) -> tuple[str, ...]:
    taken = {
        "label": (wanted.label, chosen.label),
        "image": (wanted.image, chosen.image),
        "id": (wanted.id, chosen.id),
    }
    parts = [f"{role} '{new}'" for role, (old, new) in taken.items() if old is None and new]
    if not parts:
        return ()
    return (f"{table.title}: columns taken: {', '.join(parts)}{_rivals(table, chosen)}",)


def _rivals(table: Table, chosen: Columns) -> str:
    free = free_columns(table, chosen)
    others = [name for name in free if name.strip().lower() in _LABEL]
    return f" (not as label: {quoted(others)})" if others and chosen.label else ""

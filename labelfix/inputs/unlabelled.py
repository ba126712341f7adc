"""Tables of samples whose labels do not matter, such as rows from outside the distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelfix.inputs.columns import Columns, choose_columns
from labelfix.inputs.content import content_keys
from labelfix.inputs.features import not_finite
from labelfix.inputs.labelled import Labelled
from labelfix.inputs.labels import Labels
from labelfix.inputs.rows import Rows, find_features, ids_of, require_images
from labelfix.inputs.tables import open_table


def read_unlabelled(path: str | Path, *, features: str | Path | None = None) -> Labelled:
    """Reads the images or features of a table; its labels, if any, are left alone.

    Args:
        path: the table, or a folder of images in folders.
        features: as for :func:`labelfix.inputs.read_labelled`.

    Returns:
        The rows, every label -1.

    Raises:
        InputError: neither images nor features, or they cannot be read.
    """
    table = open_table(path)
    source = find_features(features, table)
    wanted = Columns(features=source.column if source else None)
    columns, notices = choose_columns(table, wanted, labelled=False)
    none = Labels(names=(), codes=np.full(table.rows, -1, np.int32))
    rows = Rows(table=table, columns=columns, labels=none, notices=(*table.notices, *notices))
    ids, origin = ids_of(rows)
    rows, _ = require_images(rows, chosen=False, optional=source is not None)
    loaded = None
    if source is not None:
        loaded = source.load(rows, ids.values)
        content_keys(loaded, blame=not_finite(source.file or table.path, source.column, ids.values))
    return Labelled(
        table=table, columns=rows.columns, ids=ids.values, labels=none.codes, features=loaded,
        notices=(*rows.notices, *origin),
    )  # fmt: skip

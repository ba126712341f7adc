"""What rows are known by: their features with content keys, or the sizes of their image files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from labelfix.errors import InputError
from labelfix.inputs.clean_rows import CleanRows, check_images_of, features_of, require_keys
from labelfix.inputs.clean_set import LabelledData
from labelfix.inputs.content_hash import content_keys
from labelfix.inputs.features import not_finite
from labelfix.inputs.labelled_table import FeatureLocation


@dataclass(frozen=True, kw_only=True)
class RowContent:
    """Features and their keys, or the sizes of image files, of DATA's N rows and M beside them.

    Args:
        features: (N, D); None where there are images.
        clean_features: (M, D); None likewise.
        keys: (N + M,) uint64; None likewise.
        sizes: (N + M,) int64 bytes of image files; fewer where images lie in a table.
    """

    features: np.ndarray | None = None
    clean_features: np.ndarray | None = None
    keys: np.ndarray | None = None
    sizes: np.ndarray


def read_content(
    data: LabelledData, clean: CleanRows, source: FeatureLocation | None, sizes: np.ndarray
) -> RowContent:
    """Reads the features, or checks the images of the rows beside DATA.

    Args:
        data: DATA.
        clean: the clean sets.
        source: where the features are; None = there are images.
        sizes: (N,) bytes of DATA's image files, or fewer.

    Raises:
        InputError: content is missing, is not finite, does not fit, or is the same in all rows.
    """
    if source is None:
        return RowContent(sizes=np.concatenate([sizes, *check_images_of(clean, data)]))
    ours, theirs = _load(data, clean, source)
    file, where = source.file or data.rows.table.path, source.column
    keys = content_keys(ours, blame=not_finite(file, where, data.ids.values))
    if len(ours) > 1 and (keys == keys[0]).all():
        raise InputError(
            "every row has the same features",
            hint="give features that tell the rows apart",
            file=file,
            column=where,
        )
    if len(theirs):
        blame = not_finite(source.file or clean.sets[0].table.path, where, clean.ids)
        keys = np.concatenate([keys, content_keys(theirs, like=ours, blame=blame)])
    return RowContent(features=ours, clean_features=theirs, keys=keys, sizes=sizes)


def _load(
    data: LabelledData, clean: CleanRows, source: FeatureLocation
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features of DATA, (N, D), and of the rows beside it, (M, D)."""
    rows, ids = data.rows, data.ids.values
    if not len(clean.rows):
        features = source.load(rows, ids)
        return features, features[:0]
    if source.is_keyed:
        require_keys(clean, data)
        place, theirs = pd.factorize(clean.ids)
        both = source.load(rows, np.concatenate([ids, theirs]))
        return both[: len(ids)], both[len(ids) :][place]
    features = source.load(rows, ids)
    parts = features_of(clean, source, data)
    for part, (clean_set, _) in zip(parts, clean.parts(), strict=True):
        if part.shape[1] != features.shape[1]:
            raise InputError(
                f"features are {part.shape[1]} wide, those of {rows.table.path} "
                f"{features.shape[1]}",
                hint="make the features of both with the same model",
                file=clean_set.table.path,
                column=source.column,
            )
    return features, np.concatenate(parts)

"""What the neighbour graph shows besides labels, as tables of their own in the output folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from labelfix import contract
from labelfix.decide.neighbourhood import Neighbourhood, neighbourhood
from labelfix.features.neighbours import Neighbours

DUPLICATES, FAR = "near_duplicates.parquet", "far_rows.parquet"


def conflicting(found: Neighbourhood, labels: contract.Labels) -> Neighbourhood:
    """The findings within DATA's rows, of the pairs those that were given different labels."""
    count, pairs = len(labels), found.pairs
    inside = np.asarray((pairs < count).all(axis=1))
    first, second = np.where(inside[:, None], pairs, 0).T
    differ = inside & (labels.given[first] != labels.given[second])
    return Neighbourhood(
        pairs=pairs[differ],
        pair_distances=found.pair_distances[differ],
        duplicate_threshold=found.duplicate_threshold,
        distances=found.distances[:count],
        far=found.far[:count],
        far_threshold=found.far_threshold,
    )


def write_findings(folder: Path, graph: Neighbours, labels: contract.Labels) -> Neighbourhood:
    """Write near_duplicates.parquet and far_rows.parquet.

    Args:
        folder: the output folder.
        graph: of DATA's rows first.
        labels: the corrected dataset.
    """
    found = conflicting(neighbourhood(graph), labels)
    order = np.argsort(found.pair_distances, kind="stable")
    first, second = found.pairs[order].T if len(order) else (order, order)
    pairs = {
        "id": _texts(labels.ids[first]),
        "other_id": _texts(labels.ids[second]),
        "given_label": _names(labels, labels.given[first]),
        "other_given_label": _names(labels, labels.given[second]),
        "label": _names(labels, labels.label[first]),
        "other_label": _names(labels, labels.label[second]),
        "distance": pa.array(found.pair_distances[order], pa.float32()),
    }
    rows = np.flatnonzero(found.far)
    rows = rows[np.argsort(-found.distances[rows], kind="stable")]
    far = {
        "id": _texts(labels.ids[rows]),
        "given_label": _names(labels, labels.given[rows]),
        "label": _names(labels, labels.label[rows]),
        "distance": pa.array(found.distances[rows], pa.float32()),
    }
    thresholds = {"near_duplicates": found.duplicate_threshold, "far_rows": found.far_threshold}
    for name, columns in ((DUPLICATES, pairs), (FAR, far)):
        threshold = f"{thresholds[name.removesuffix('.parquet')]:.6g}"
        table = pa.table(columns).replace_schema_metadata({"threshold": threshold})
        aside = folder / f".{name}.partial"
        pq.write_table(table, aside)
        aside.replace(folder / name)
    return found


def _texts(values: np.ndarray) -> pa.Array:
    return pa.array(values.tolist(), pa.string())


def _names(labels: contract.Labels, codes: np.ndarray) -> pa.Array:
    names = pa.array(labels.class_names, pa.string())
    return names.take(pa.array(codes, mask=codes < 0))

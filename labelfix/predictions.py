"""predictions.parquet: what a trained model says of its test rows, or of its training rows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from labelfix.equations.ood import energy_score
from labelfix.errors import InputError
from labelfix.material import Material

FILE = "predictions.parquet"


def write(out: Path, logits_NK: Tensor, material: Material, card: dict[str, Any]) -> None:
    """Write id, label, predicted, probabilities and energy of the rows; aside first."""
    names = np.array(material.labels.class_names, dtype=object)
    seen = material.test or material.train
    p_NK = logits_NK.softmax(1).numpy()
    probabilities = pa.FixedSizeListArray.from_arrays(pa.array(p_NK.ravel()), len(names))
    card = card | {"rows": "test" if material.test else "training"}
    table = pa.table(
        {
            "id": pa.array(seen.ids, pa.string()),
            "label": pa.array(names[seen.labels], pa.string()),
            "predicted": pa.array(names[p_NK.argmax(1)], pa.string()),
            "probabilities": probabilities,
            "energy": pa.array(-energy_score(logits_NK).numpy(), pa.float32()),
        },
        metadata={"labelfix": json.dumps(card)},
    )
    aside = out / ".predictions.partial"
    pq.write_table(table, aside)
    os.replace(aside, out / FILE)


def read_test_scores(model: Path) -> dict[str, NDArray[np.float32]]:
    """MSP and energy score of the model's test rows, ``(T,)`` each.

    Raises:
        InputError: there are no predictions, or not of test rows.
    """
    file, mend = model / FILE, "train it with labelfix retrain --test TABLE"
    if not file.is_file():
        raise InputError("there are no predictions of test rows", mend=mend, file=file)
    table = pq.read_table(file, columns=["probabilities", "energy"])
    if json.loads(table.schema.metadata[b"labelfix"])["rows"] != "test":
        raise InputError("the model was trained without test rows", mend=mend, file=file)
    flat = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return {"msp": flat.reshape(len(table), -1).max(1), "energy": -table["energy"].to_numpy()}

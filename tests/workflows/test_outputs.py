"""What a purify run leaves behind: labels.parquet and summary.json."""

import pandas as pd
import pyarrow.parquet as pq

from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig

CONFIG = PurifyConfig(device="cpu", method="dmlp")


def test_a_column_whose_name_is_needed_comes_out_under_another(feature_files, tmp_path):
    files = feature_files()
    frame = pd.read_csv(files.data).assign(weight=range(200))
    frame.to_csv(files.data, index=False)
    dataset = purify.read(files.data, files.clean, features=files.features)
    assert "data.csv: column 'weight' comes out as 'original_weight'" in dataset.notices
    purify.purify(dataset, tmp_path / "run", CONFIG)
    table = pq.read_table(tmp_path / "run" / "labels.parquet")
    assert table["original_weight"].to_pylist() == list(range(200))
    assert max(table["weight"].to_pylist()) <= 1

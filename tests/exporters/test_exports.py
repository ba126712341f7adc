"""Every export opened by the tool that it is for, and what it cannot hold said."""

import io
import json
import xml.etree.ElementTree as ET

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.dataset as ds
import pytest
from PIL import Image

from labelfix.exporters import parquet
from labelfix.exporters.columns import safe_name
from labelfix.exporters.destination import Destination
from labelfix.exporters.registry import Exported, exporters

NAMES = ("cat", "a/b", "=1+1", "Ünï <b>")
ROWS = 12


def labels_table() -> pa.Table:
    code = np.arange(ROWS) % 4
    given = [None if row == 3 else NAMES[(k + (row % 5 == 0)) % 4] for row, k in enumerate(code)]
    soft = np.full((ROWS, 4), 0.1, np.float32)
    soft[np.arange(ROWS), code] = 0.7
    kind = pa.dictionary(pa.int32(), pa.string())
    return pa.table(
        {
            "id": pa.array([f"r{row}" if row else "=cmd|' /C calc'!A0" for row in range(ROWS)]),
            "given_label": pa.array(given).cast(kind),
            "label": pa.array([NAMES[k] for k in code]).cast(kind),
            "decision": pa.array(["keep"] * (ROWS - 1) + ["none"]).cast(kind),
            "soft_label": pa.FixedSizeListArray.from_arrays(pa.array(soft.ravel()), 4),
            "weight": pa.array(np.linspace(0, 1, ROWS), pa.float32()),
            "note": pa.array([f"text {row}" for row in range(ROWS)]),
            "number": pa.array(np.arange(ROWS), pa.int64()),
            "list": pa.array([[1, 2]] * ROWS),
        }
    ).replace_schema_metadata({"labelfix": "{}"})


def png(row: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), (row * 20, 0, 0)).save(out, "PNG")
    return out.getvalue()


def exported(*, images: bool = True, **more) -> Exported:
    table = labels_table()
    return Exported(
        title="pets.csv",
        rows=ROWS,
        class_names=NAMES,
        schema=table.schema,
        own=("note", "number", "list"),
        batches=lambda names: iter(table.select(list(names)).to_batches(max_chunksize=5)),
        images=(lambda: (png(row) for row in range(ROWS))) if images else None,
        **more,
    )


def export(name: str, folder, **more) -> list[str]:
    return exporters()[name].write(exported(**more), Destination.of(str(folder)))


def test_exporters_are_found_by_themselves():
    assert list(exporters()) == [
        "cleanlab", "csv", "fiftyone", "huggingface", "imagefolder", "label-studio", "parquet"
    ]  # fmt: skip
    assert all(each.title for each in exporters().values())


def test_csv_is_read_by_pandas_polars_and_duckdb(tmp_path):
    notes = export("csv", tmp_path)
    assert [note for note in notes if "'list'" in note]
    file = tmp_path / "labels.csv"
    found = pd.read_csv(file)
    assert found.label.tolist() == labels_table()["label"].to_pylist()
    assert found.given_label.isna().sum() == 1
    assert np.allclose(found.label_probability, 0.7)
    assert (found.second_label != found.label).all()
    assert pl.read_csv(file).height == duckdb.read_csv(str(file)).shape[0] == ROWS


def test_formulas_are_made_harmless_on_request(tmp_path):
    export("csv", tmp_path, excel_safe=True)
    found = pv.read_csv(tmp_path / "labels.csv")
    assert found["id"][0].as_py() == "'=cmd|' /C calc'!A0"
    assert found["label"][2].as_py() == "'=1+1"
    assert not [cell for cell in found["second_label"].to_pylist() if cell.startswith("=")]


def test_parquet_loses_nothing_and_is_cut_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "PART_ROWS", 5)
    assert export("parquet", tmp_path) == []
    folder = tmp_path / "labels.parquet"
    assert len(list(folder.iterdir())) == 3
    found = ds.dataset(folder).to_table()
    assert found.combine_chunks().equals(labels_table().combine_chunks())
    assert found.schema.metadata == labels_table().schema.metadata
    assert pl.read_parquet(folder / "*.parquet").height == ROWS
    assert duckdb.read_parquet(str(folder / "*.parquet")).shape[0] == ROWS


@pytest.mark.filterwarnings("ignore")
def test_huggingface_is_read_by_datasets(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    export("huggingface", tmp_path / "out")
    found = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert isinstance(found.features["label"], datasets.ClassLabel)
    assert found.features["label"].names == list(NAMES)
    assert [NAMES[code] for code in found["label"]] == labels_table()["label"].to_pylist()
    assert found[3]["given_label"] is None
    assert found[2]["image"].getpixel((0, 0)) == (40, 0, 0)
    assert np.allclose(found[1]["soft_label"], [0.1, 0.7, 0.1, 0.1])


@pytest.mark.filterwarnings("ignore")
def test_imagefolder_is_read_by_datasets_and_torchvision(tmp_path, monkeypatch):
    import datasets
    from torchvision.datasets import ImageFolder

    notes = export("imagefolder", tmp_path / "out")
    assert any("fit no class" in note for note in notes)
    by_folder = ImageFolder(tmp_path / "out" / "train")
    assert sorted(by_folder.classes) == sorted(safe_name(name) for name in NAMES)
    assert len(by_folder) == ROWS - 1
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "c")
    )
    assert sorted(found["label"]) == sorted(labels_table()["label"].to_pylist()[:-1])


def test_class_names_stay_inside_the_folder():
    for name in ("..", "/etc", "a/../b", ".", "", " ", "con:", "a\\b", "é/è"):
        made = safe_name(name)
        assert made not in ("", ".", "..")
        assert "/" not in made
        assert "\\" not in made
    assert len({safe_name(name) for name in ("a/b", "a%2Fb", "a b", "a_b")}) == 4


@pytest.mark.filterwarnings("ignore")
def test_cleanlab_takes_the_label_issues(tmp_path):
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression

    notes = export("cleanlab", tmp_path)
    assert any("no given label" in note for note in notes)
    issues = pd.read_parquet(tmp_path / "label_issues.parquet")
    classes = (tmp_path / "classes.txt").read_text().splitlines()
    assert classes == sorted(NAMES)
    had = issues.given_label.notna()
    issues = issues[had].reset_index(drop=True).astype({"given_label": int})
    codes = issues.given_label.to_numpy()
    assert [classes[code] for code in codes] == [
        name for name in labels_table()["given_label"].to_pylist() if name is not None
    ]
    assert issues.is_label_issue.tolist() == (issues.predicted_label != codes).tolist()
    features = np.random.default_rng(0).normal(size=(len(codes), 3))
    CleanLearning(LogisticRegression()).fit(features, codes, label_issues=issues)


def test_label_studio_tasks_hold_predictions_and_hostile_names_as_text(tmp_path):
    export("label-studio", tmp_path)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert len(tasks) == ROWS
    assert tasks[1]["predictions"][0]["result"][0]["value"]["choices"] == ["a/b"]
    assert tasks[1]["predictions"][0]["score"] == pytest.approx(0.7)
    assert (tmp_path / tasks[0]["data"]["image"].partition("?d=")[2]).read_bytes() == png(0)
    screen = ET.parse(tmp_path / "config.xml").getroot()
    assert [choice.get("value") for choice in screen.iter("Choice")] == list(NAMES)


def test_rows_without_images_are_shown_as_text(tmp_path):
    export("label-studio", tmp_path, images=False)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert tasks[4]["data"]["text"] == "note: text 4\nnumber: 4"


def test_fiftyone_labels_name_files_that_are_there(tmp_path):
    export("fiftyone", tmp_path)
    found = json.loads((tmp_path / "labels.json").read_text())
    assert found["classes"] == list(NAMES)
    assert {file.stem for file in (tmp_path / "data").iterdir()} == set(found["labels"])
    assert found["labels"]["0000001"]["label"] == "a/b"
    assert found["labels"]["0000001"]["attributes"]["decision"] == "keep"


def test_an_address_of_another_file_system_serves():
    place = Destination.of("memory://exports/pets")
    assert place.is_empty()
    exporters()["parquet"].write(exported(), place)
    assert not place.is_empty()
    assert not place.is_local

"""report and export from the command line: files in, pages and other tools' files out."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import labelfix as library


@pytest.fixture
def run(labelfix, feature_files, tmp_path):
    """A purified folder of features with one copied row under another label."""
    files = feature_files(rows=260)
    values = np.load(files.features)
    values[50] = values[60]
    np.save(files.features, values)
    table = pd.read_csv(files.data)
    table.loc[[50, 60], "label"] = ["ant", "bee"]
    table["text"] = "a text that is long enough to be read as one, row " + table["id"]
    table.to_csv(files.data, index=False)
    done = labelfix(*files.purify, "--out", tmp_path / "run")
    assert done.status == 0
    return tmp_path / "run"


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1])


def test_purify_ends_with_a_report_that_shows_rows_and_findings(run):
    data = data_of(run / "report.html")
    labels = library.read(run)
    assert data["classes"] == list(labels.class_names)
    shown = {row["id"]: row for row in data["rows"]}
    assert len(shown) > 50
    for id_, row in shown.items():
        words = f"a text that is long enough to be read as one, row {id_}"
        assert ["text", words] in row["fields"]
    assert len(data["map"]["x"]) == 260
    pairs = pq.read_table(run / "near_duplicates.parquet").to_pylist()
    assert ("r050", "r060") in {(pair["id"], pair["other_id"]) for pair in pairs}
    far = pq.read_table(run / "far_rows.parquet")
    assert far.column_names == ["id", "given_label", "label", "distance"]
    assert float(far.schema.metadata[b"threshold"]) > 0


def test_doubt_is_the_chance_that_the_delivered_label_is_wrong(run):
    labels = library.read(run)
    held = labels.soft_label[np.arange(len(labels)), labels.label]
    assert np.allclose(labels.doubt, 1 - held, atol=1e-6)


def test_a_report_is_built_again_from_the_files_alone(labelfix, run):
    before = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    done = labelfix("report", run)
    assert done.status == 0
    assert (run / "report.html").read_bytes() == before


def test_without_stages_the_report_says_what_is_gone(labelfix, run):
    import shutil

    shutil.rmtree(run / "stages")
    assert labelfix("report", run).status == 0
    page = (run / "report.html").read_text()
    assert "neighbour graph of this run is gone" in page


def test_no_report_on_request(labelfix, feature_files, tmp_path):
    files = feature_files()
    assert labelfix(*files.purify, "--out", tmp_path / "run", "--no-report").status == 0
    assert not (tmp_path / "run" / "report.html").exists()


def test_images_are_shown_as_small_pictures(labelfix, image_files, tmp_path):
    folder = image_files()
    done = labelfix(
        "purify", folder / "data.csv", "--clean-set", folder / "clean.csv", "--pretrain", "none",
        "--method", "dmlp", "--device", "cpu", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.status == 0
    rows = data_of(tmp_path / "run" / "report.html")["rows"]
    assert all(row["picture"].startswith("data:image/webp;base64,") for row in rows)
    out = tmp_path / "exported"
    assert labelfix("export", tmp_path / "run", out, "--format", "imagefolder").status == 0
    assert len(list(out.rglob("*.png"))) == 60


BAD = {
    "no such format": (("export", "RUN", "OUT", "--format", "xls"), "use one of cleanlab, csv"),
    "no images": (("export", "RUN", "OUT", "--format", "fiftyone"), "has no images"),
    "not empty": (("export", "RUN", "RUN", "--format", "csv"), "is not empty"),
    "no such address": (("export", "RUN", "nowhere://a", "--format", "csv"), "cannot be reached"),
    "no run": (("report", "OUT"), "there is no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_calls_are_one_line(labelfix, run, tmp_path, case):
    words, expected = BAD[case]
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    done = labelfix(*(places.get(word, word) for word in words))
    assert done.status == 2
    assert expected in done.error
    assert done.error.count("\n") <= 1
    assert not (tmp_path / "out").exists()


def test_a_damaged_summary_is_one_line(labelfix, run):
    (run / "summary.json").write_text("{")
    done = labelfix("report", run)
    assert done.status == 2
    assert "summary.json: is missing or damaged" in done.error


@pytest.mark.parametrize("name", ["csv", "parquet", "cleanlab", "label-studio", "huggingface"])
def test_exports_of_a_run_without_images(labelfix, run, tmp_path, name):
    done = labelfix("export", run, tmp_path / "out", "--format", name)
    assert done.status == 0
    assert any(file.is_file() for file in (tmp_path / "out").rglob("*"))

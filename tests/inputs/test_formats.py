"""The registry of table formats: an entry is all that a new format needs."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from labelfix.cli import main
from labelfix.errors import InputError
from labelfix.inputs import formats, read
from labelfix.inputs.text_formats import open_delimited

LABELS = ["cat", "dog"] * 3


@pytest.fixture
def with_bars(monkeypatch):
    """A further format: values between bars."""
    bars = formats.TableFormat(
        title="bars", suffixes=(".bar",), open=partial(open_delimited, delimiter="|")
    )
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, bars))


def test_a_new_format_serves_as_data_clean_set_and_features(with_bars, tmp_path):
    frame = pd.DataFrame({"id": list("abcdef"), "label": LABELS, "x": np.arange(6.0)})
    frame[["id", "label"]].to_csv(tmp_path / "d.bar", sep="|", index=False)
    frame[["id", "label"]][1:3].to_csv(tmp_path / "c.bar", sep="|", index=False)
    frame[["id", "x"]].to_csv(tmp_path / "x.bar", sep="|", index=False)
    dataset = read(tmp_path / "d.bar", tmp_path / "c.bar", features=tmp_path / "x.bar")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.clean.tolist() == [-1, 1, 0, -1, -1, -1]
    assert dataset.features[:, 0].tolist() == list(range(6))


def test_help_and_messages_name_a_new_format(with_bars, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["purify", "--help"])
    assert "bars (.bar)" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "d.xyz").write_text("x")
    with pytest.raises(InputError, match=r"Parquet \(\.parquet\), .*bars \(\.bar\)"):
        read(tmp_path / "d.xyz")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/t.bar").write_text("x")
    with pytest.raises(InputError, match=r"give the table itself, such as .*t\.bar"):
        read(tmp_path / "folder")

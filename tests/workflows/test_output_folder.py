"""The output folder: done stages are skipped, interrupted ones leave nothing complete."""

import json
import math
import shutil

import numpy as np
import pytest

from labelfix.errors import InputError
from labelfix.workflows.output_folder import (
    OutputFolder,
    Stage,
    digest,
    fingerprint,
    plain,
    stamps,
    write_json,
)


class Builder:
    """Counts its calls and remembers what it found in the folder."""

    def __init__(self, interrupt=False):
        self.calls, self.found, self.interrupt = 0, [], interrupt

    def __call__(self, place):
        self.calls += 1
        self.found = sorted(file.name for file in place.iterdir() if file.name != "stage.json")
        (place / "half.txt").write_text("half")
        if self.interrupt:
            raise KeyboardInterrupt
        (place / "whole.txt").write_text("whole")


def test_a_done_stage_is_skipped(tmp_path):
    folder, build = OutputFolder.open(tmp_path / "run"), Builder()
    place, was_there = folder.stage("embed", "key", build)
    assert not was_there
    assert place == tmp_path / "run" / "stages" / "embed"
    again, was_there = OutputFolder.open(tmp_path / "run").stage("embed", "key", build)
    assert was_there
    assert again == place
    assert build.calls == 1
    assert (place / "whole.txt").read_text() == "whole"


def test_another_key_builds_again_from_nothing(tmp_path):
    folder, build = OutputFolder.open(tmp_path / "run"), Builder()
    place, _ = folder.stage("embed", "key", build)
    (place / "old.txt").write_text("old")
    _, was_there = folder.stage("embed", "another", build)
    assert not was_there
    assert build.calls == 2
    assert build.found == []
    assert not (place / "old.txt").exists()


def test_another_version_of_a_stage_has_another_key():
    first, second = Stage("embed", 1), Stage("embed", 2)
    assert first.key(rows="a") == Stage("embed", 1).key(rows="a")
    assert len({first.key(rows="a"), second.key(rows="a"), first.key(rows="b")}) == 3
    assert first.key(rows="a") != Stage("score", 1).key(rows="a")


def test_an_interrupted_build_is_absent_and_goes_on(tmp_path):
    folder = OutputFolder.open(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        folder.stage("pretrain", "key", Builder(interrupt=True))
    assert not (folder.stages / "pretrain").exists()
    build = Builder()
    place, was_there = folder.stage("pretrain", "key", build)
    assert not was_there
    assert build.found == ["half.txt"]
    assert sorted(file.name for file in folder.stages.iterdir()) == ["labelfix.json", "pretrain"]
    assert (place / "whole.txt").exists()


def test_what_another_key_left_half_done_is_thrown_away(tmp_path):
    folder = OutputFolder.open(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        folder.stage("pretrain", "key", Builder(interrupt=True))
    build = Builder()
    folder.stage("pretrain", "another", build)
    assert build.found == []


def test_an_interrupted_rebuild_keeps_the_old_result(tmp_path):
    folder = OutputFolder.open(tmp_path / "run")
    place, _ = folder.stage("embed", "key", Builder())
    with pytest.raises(KeyboardInterrupt):
        folder.stage("embed", "another", Builder(interrupt=True))
    assert (place / "whole.txt").exists()
    assert folder.stage("embed", "key", Builder())[1]


def test_fresh_forgets_the_stages(tmp_path):
    folder, build = OutputFolder.open(tmp_path / "run"), Builder()
    folder.stage("embed", "key", build)
    OutputFolder.open(tmp_path / "run", fresh=True).stage("embed", "key", build)
    assert build.calls == 2


def test_fresh_on_a_new_folder_is_no_error(tmp_path):
    assert OutputFolder.open(tmp_path / "a" / "b", fresh=True).stages.is_dir()


def test_another_node_takes_what_is_done_and_builds_the_rest_elsewhere(tmp_path):
    folder = OutputFolder.open(tmp_path / "run")
    folder.stage("embed", "key", Builder())
    before = sorted(tmp_path.rglob("*"))
    other = OutputFolder.open(tmp_path / "run", writes=False)
    assert other.stage("embed", "key", Builder()) == (folder.stages / "embed", True)
    for name, key in (("embed", "another"), ("purify", "key")):
        place, was_there = other.stage(name, key, Builder())
        assert not was_there
        assert (place / "whole.txt").exists()
        assert tmp_path not in place.parents
    assert sorted(tmp_path.rglob("*")) == before


def test_another_node_that_starts_afresh_believes_nothing(tmp_path):
    OutputFolder.open(tmp_path / "run").stage("embed", "key", Builder())
    other = OutputFolder.open(tmp_path / "run", fresh=True, writes=False)
    assert not other.stage("embed", "key", Builder())[1]
    assert (tmp_path / "run" / "stages" / "embed").exists()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_foreign_folder_is_left_alone(tmp_path, fresh):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and was not written by labelfix"):
        OutputFolder.open(tmp_path, fresh=fresh)
    assert (tmp_path / "stages" / "mine.txt").read_text() == "mine"


def test_a_folder_whose_stages_were_deleted_is_still_ours(tmp_path):
    (tmp_path / "labels.parquet").write_text("")
    for text in ("", "[]", '{"versions": 3}', '{"versions": {"other": "1"}}'):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(InputError, match="was not written by labelfix"):
            OutputFolder.open(tmp_path)
    (tmp_path / "summary.json").write_text('{"versions": {"labelfix": "0.1.0"}}')
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="was not written by labelfix"):
        OutputFolder.open(tmp_path, fresh=True)
    shutil.rmtree(tmp_path / "stages")
    assert OutputFolder.open(tmp_path).stages.is_dir()
    OutputFolder.open(tmp_path)


def test_unusable_folders(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match="is a file"):
        OutputFolder.open(file)
    with pytest.raises(InputError, match="cannot be written"):
        OutputFolder.open(file / "below")


def test_an_empty_folder_is_taken(tmp_path):
    assert OutputFolder.open(tmp_path).labels == tmp_path / "labels.parquet"
    OutputFolder.open(tmp_path)


def test_a_damaged_stage_is_built_again(tmp_path):
    folder, build = OutputFolder.open(tmp_path / "run"), Builder()
    place, _ = folder.stage("embed", "key", build)
    for text in ("", "{}", "[]"):
        (place / "stage.json").write_text(text)
        folder.stage("embed", "key", build)
    assert build.calls == 4


def test_fingerprints_tell_values_apart():
    class Settings:
        def __init__(self, seed):
            self.seed = seed

    assert fingerprint(a=1, b=2) == fingerprint(b=2, a=1)
    assert fingerprint(a=1) != fingerprint(a=2)
    assert fingerprint(a=1) != fingerprint(b=1)
    assert fingerprint(s=Settings(1)) == fingerprint(s=Settings(1)) != fingerprint(s=Settings(2))


def test_digests_tell_arrays_apart():
    base = np.arange(12, dtype=np.int32)
    assert digest(base) == digest(base.copy()) == digest(np.arange(24, dtype=np.int32)[:12])
    others = [
        base[::-1],
        base.reshape(3, 4),
        base.astype(np.int64),
        base.view(np.float32),
        base[:0],
    ]
    assert len({digest(other) for other in [base, *others]}) == 6


def test_stamps_see_a_changed_file(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("one")
    before = stamps([file])
    assert stamps([file]) == before
    file.write_text("other")
    assert stamps([file]) != before


def test_json_has_no_nan(tmp_path):
    value = {"a": math.nan, 1: (1.5, [math.nan]), "text": "ü"}
    write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None,
        "1": [1.5, [None]],
        "text": "ü",
    }
    assert plain(value)["1"] == [1.5, [None]]
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]

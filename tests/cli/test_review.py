"""review from the command line: a plan, decisions, bad files, a second purify that uses them."""

import json
import re

import numpy as np
import pandas as pd
import pytest

import labelfix as library


@pytest.fixture
def purified(labelfix, feature_files, tmp_path):
    files = feature_files(rows=300, noise=0.35, spread=2.0)
    assert labelfix(*files.purify, "--out", tmp_path / "run", "--no-report").status == 0
    return files, tmp_path / "run"


def planned(labelfix, run, *more):
    done = labelfix("review", run, "--budget", "80", *more)
    assert done.status == 0
    (folder,) = [place for place in (run / "review").iterdir() if place.is_dir()]
    return folder, pd.read_parquet(folder / "plan.parquet"), done


def decisions(rows, truth, name, reviewer="", **changes):
    """What a person who is always right downloads from the page."""
    right = truth.set_index("id").label
    table = pd.DataFrame(
        {
            "id": rows.id,
            "label": right.reindex(rows.id).to_numpy(),
            "decision": "label",
            "reviewer": reviewer,
            "plan": name,
            "position": rows.position,
            "seconds": 1.5,
            "decided_at": "2026-01-01T10:00:00Z",
        }
    )
    return table.assign(**changes)


def page_rows(page):
    text = re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1]
    return json.loads(text)["rows"]


def test_a_plan_has_a_page_that_hides_what_the_random_part_must_not_show(labelfix, purified):
    _, run = purified
    folder, plan, done = planned(labelfix, run)
    assert "What checking more rows would bring" in done.out
    told = json.loads((folder / "plan.json").read_text())
    assert told["random"] + told["targeted"] == 80
    rows = page_rows(folder / "review.html")
    for row, part in zip(rows, plan.part, strict=True):
        assert ("candidates" in row) == (part == "targeted")
        assert not {"doubt", "part", "inclusion", "given_label"} & set(row)
    assert not plan.id.isin(library.read(run).ids[library.read(run).checked]).any()


def test_the_same_seed_gives_the_same_plan_and_only_showing_writes_nothing(labelfix, purified):
    _, run = purified
    done = labelfix("review", run, "--budget", "80", "--plan-only")
    assert done.status == 0
    assert not (run / "review").exists()
    folder, plan, _ = planned(labelfix, run)
    again, second, _ = planned(labelfix, run)
    assert folder == again
    assert plan.equals(second)


def test_decisions_are_folded_into_a_second_purify(labelfix, purified, tmp_path):
    files, run = purified
    truth = pd.read_csv(files.truth)
    folder, plan, _ = planned(labelfix, run)
    table = decisions(plan, truth, folder.name)
    table.loc[3, ["label", "decision"]] = ["", "unsure"]
    table.loc[5, ["label", "decision"]] = ["", "none"]
    table.to_csv(tmp_path / "decisions.csv", index=False)
    done = labelfix("review", run, "--add", tmp_path / "decisions.csv")
    assert done.status == 0
    assert f"{len(plan)} of {len(plan)} rows decided" in done.out
    again = labelfix(*files.purify, "--reviewed", run, "--out", tmp_path / "second", "--no-report")
    assert again.status == 0, again.error
    before, after = library.read(run), library.read(tmp_path / "second")
    right = truth.set_index("id").label.reindex(after.ids).to_numpy()
    names = np.array(after.class_names)
    assert (names[after.label] == right).mean() > (names[before.label] == right).mean()
    reviewed = np.isin(after.ids, table.id[table.decision == "label"])
    assert (names[after.label] == right)[reviewed].all()
    assert after.checked.sum() >= before.checked.sum() + reviewed.sum()


def test_more_decisions_replace_those_before_and_other_reviewers_are_kept(
    labelfix, purified, tmp_path
):
    files, run = purified
    truth = pd.read_csv(files.truth)
    folder, plan, _ = planned(labelfix, run, "--reviewers", "ann,bo", "--overlap", "30")
    assert {page.name for page in folder.glob("*.html")} == {"review-ann.html", "review-bo.html"}
    mine = {row["position"] for row in page_rows(folder / "review-ann.html")}
    hers = {row["position"] for row in page_rows(folder / "review-bo.html")}
    assert len(mine & hers) >= 30
    for name, places in (("ann", mine), ("bo", hers)):
        part = plan[plan.position.isin(places)]
        decisions(part, truth, folder.name, name).to_csv(tmp_path / f"{name}.csv", index=False)
    done = labelfix("review", run, "--add", tmp_path / "ann.csv", "--add", tmp_path / "bo.csv")
    assert done.status == 0
    assert "two people: the same answer in 100% of the rows" in done.out
    wrong = decisions(plan[plan.position.isin(mine)], truth, folder.name, "ann", label="ant")
    wrong.to_csv(tmp_path / "ann.csv", index=False)
    done = labelfix("review", run, "--add", tmp_path / "ann.csv")
    assert "no majority" in done.out


def test_excels_semicolons_and_changed_ids_are_taken(labelfix, purified, tmp_path):
    files, run = purified
    folder, plan, _ = planned(labelfix, run)
    table = decisions(plan, pd.read_csv(files.truth), folder.name)
    table["id"] = table.id.str.replace("r0", "")
    table[table.columns[::-1]].to_csv(tmp_path / "d.csv", index=False, sep=";")
    done = labelfix("review", run, "--add", tmp_path / "d.csv")
    assert done.status == 0
    assert "read with semicolons" in done.err
    assert "found by their position" in done.err


BAD = {
    "another plan": ({"plan": "00000000"}, "is for plan '00000000', which this run does not have"),
    "unknown class": ({"label": "anf"}, "'anf' is no class of the run; did you mean 'ant'?"),
    "unknown word": ({"decision": "maybe"}, "'maybe' is none of label, unsure, none, skip"),
    "unknown position": ({"position": 9999}, "'9999' is no position of the plan"),
    "a reviewer with a comma": ({"reviewer": "a,b"}, "is no name"),
    "a time": ({"decided_at": "yesterday"}, "is no time as ISO 8601"),
    "a part that was edited": ({"part": "random"}, "was changed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_decisions_are_one_line_and_nothing_is_stored(labelfix, purified, tmp_path, case):
    files, run = purified
    folder, plan, _ = planned(labelfix, run)
    changes, words = BAD[case]
    table = decisions(plan, pd.read_csv(files.truth), folder.name, **changes)
    table.to_csv(tmp_path / "d.csv", index=False)
    done = labelfix("review", run, "--add", tmp_path / "d.csv")
    assert done.status == 2
    assert words in done.error
    assert not list(folder.glob("decisions*"))


def test_an_empty_file_is_one_line(labelfix, purified, tmp_path):
    _, run = purified
    planned(labelfix, run)
    (tmp_path / "d.csv").write_text("")
    done = labelfix("review", run, "--add", tmp_path / "d.csv")
    assert done.status == 2
    assert done.error.count("\n") <= 1


MISTAKES = {
    ("--budget", "100000"): "rows are left to check",
    ("--budget", "0"): "use a number from 1 up",
    ("--budget", "9", "--random-share", "2"): "use a share from 0 to 1",
    ("--budget", "9", "--random-share", "some"): "use auto or a share",
    ("--budget", "9", "--reviewers", "a b"): "use letters, digits",
    ("--budget", "9", "--overlap", "3"): "name two or more",
    (): "Give --budget N or --add FILE",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_of_the_command_are_one_line(labelfix, purified, words):
    _, run = purified
    done = labelfix("review", run, *words)
    assert done.status == 2
    assert MISTAKES[words] in done.error


def test_reviewed_without_decisions_says_what_to_do(labelfix, purified, tmp_path):
    files, run = purified
    done = labelfix(*files.purify, "--reviewed", run, "--out", tmp_path / "second")
    assert done.status == 2
    assert "holds no reviewed rows; add decisions with labelfix review RUN --add FILE" in done.error

"""The pages as text: hostile names stay text, and nothing but the page's own parts may run."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from labelfix.report import review_page
from labelfix.report.figures import class_pairs, class_table, matrix_cells, rows_to_show
from labelfix.report.html import CHARTS, asset, json_island
from labelfix.report.purify_report import ReportData, Shown, build_report
from labelfix.report.sentences import Estimate, Proof, RowMap

HOSTILE = (
    "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\u202egnp.exe", "plain"
)  # fmt: skip


def report_data(names=HOSTILE, rows=40, **changes) -> ReportData:
    random = np.random.default_rng(0)
    classes = len(names)
    label = random.integers(0, classes, rows).astype(np.int32)
    given = np.where(random.random(rows) < 0.4, (label + 1) % classes, label).astype(np.int32)
    given[:3] = -1
    soft = np.full((rows, classes), 0.2 / max(classes - 1, 1), np.float32)
    soft[np.arange(rows), label] = 0.8
    unit = random.random(rows).astype(np.float32)
    settings = {
        "title": HOSTILE[1], "class_names": tuple(names),
        "ids": [f"{HOSTILE[0]}{row}" for row in range(rows)],
        "given": given, "label": label,
        "decision": np.where(given < 0, "fill", np.where(given == label, "keep", "correct")),
        "soft_label": soft, "weight": unit, "label_reliability": unit, "pseudo_reliability": unit,
        "clid": unit, "review_rank": np.arange(1, rows + 1, dtype=np.int32), "noise_rate": 0.4,
        "transition": np.eye(classes),
        "proof": Proof(
            kind="random", rows=30, before=Estimate(value=0.6, low=0.5, high=0.7),
            after=Estimate(value=0.9, low=0.8, high=0.95),
            gain=Estimate(value=0.3, low=0.2, high=0.4), calibration=((0.8, 0.75, 30),),
        ),
        "show": lambda rows: [Shown(text=HOSTILE[1]) for _ in rows],
        "findings": None, "row_map": RowMap(rows=np.arange(rows), places=random.random((rows, 2))),
        "warnings": [], "notices": [HOSTILE[0]], "settings": [("seed", HOSTILE[1])],
        "command": "labelfix purify <b>",
    }  # fmt: skip
    return ReportData(**settings | changes)


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_hostile_names_come_back_as_they_were_and_never_as_markup():
    page = build_report(report_data())
    assert data_of(page)["classes"] == list(HOSTILE)
    assert "<img src=x" not in page
    assert "<script>alert" not in page
    assert page.count("<script") == 3  # the data, the charts, the page's own


def test_the_policy_names_every_script_and_nothing_else():
    page = build_report(report_data())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src &#39;none&#39;" in policy
    for text in re.findall(r"<script>(.*?)</script>", page, re.S):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert digest.replace("+", "&#43;") in policy or digest in policy
    assert "unsafe" not in policy


def test_an_island_of_json_cannot_be_left():
    text = json_island({"a": "</script>&<!--\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script>&<!--\u2028"}


def test_the_bundled_charts_are_the_ones_that_were_checked():
    digest = hashlib.sha256(asset(CHARTS).encode()).hexdigest()
    assert digest == asset(CHARTS + ".sha256").strip()
    assert "ISC" in asset("plot.LICENSES.txt")


VERDICTS = {
    "The labels got better: +30.0 points.": (0.3, 0.2, 0.4),
    "The labels got worse: -30.0 points. Keep the given ones.": (-0.3, -0.4, -0.2),
    "No difference could be shown.": (0.1, -0.1, 0.3),
    "Probably +30.0 points.": (0.3, None, None),
    "Nothing could be measured.": (None, None, None),
}


@pytest.mark.parametrize("words", VERDICTS)
def test_the_first_screen_says_whether_the_labels_got_better(words):
    value, low, high = VERDICTS[words]
    kind = "self" if low is None else "word"
    proof = Proof(
        kind=kind, rows=30, before=Estimate(value=0.6), after=Estimate(value=0.9),
        gain=Estimate(value=value, low=low, high=high),
    )  # fmt: skip
    page = build_report(report_data(proof=proof))
    assert f"<strong>{words}</strong>" in page
    assert ("self-estimated" if kind == "self" else "random on your word") in page


def test_many_classes_show_the_heaviest_pairs():
    matrix = np.random.default_rng(0).random((77, 77))
    cells = matrix_cells(matrix)
    assert len(cells) == 30
    assert all(y != x for y, x, _ in cells)
    assert (
        min(value for *_, value in cells) >= np.sort((matrix - 9 * np.eye(77)).ravel())[-31] - 1e-4
    )


def test_figures_by_hand():
    given, label = np.array([0, 0, 1, -1]), np.array([0, 1, 1, 1])
    assert class_pairs(given, label, 2) == [(0, 1, 1)]
    soft = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]], np.float32)
    first, second = class_table(given, label, soft, ("a", "b"))
    assert (first["given"], first["label"], first["lost"], first["gained"]) == (2, 1, 1, 0)
    assert (second["given"], second["label"], second["lost"], second["gained"]) == (1, 3, 0, 1)
    assert first["right_given"] == pytest.approx(0.55)
    assert second["right_label"] == pytest.approx(0.8)


def test_the_rows_shown_hold_every_kind_of_change():
    random = np.random.default_rng(0)
    pairs = random.integers(0, 20, 5000)
    suspicion, doubt = random.random(5000), random.random(5000)
    rows = rows_to_show(suspicion, doubt, np.ones(5000, bool), pairs, 300)
    assert len(np.unique(rows)) == 300
    assert set(pairs[rows]) == set(range(20))
    assert np.isin(np.argsort(-suspicion)[:120], rows).all()
    assert np.isin(np.argsort(-doubt)[:120], rows).all()
    nothing = rows_to_show(np.full(9, -np.inf), np.full(9, -np.inf), np.zeros(9, bool), pairs[:9])
    assert len(nothing) == 0


def test_a_blind_row_of_a_review_carries_no_hint():
    shown = Shown(text="x")
    rows = [
        review_page.ReviewRow(position=0, id="a", shown=shown),
        review_page.ReviewRow(position=1, id="b", shown=shown, candidates=(1, 0), guess=1),
    ]
    page = review_page.build_review(
        title="t", plan="7f3a19c2", reviewer="ann", class_names=HOSTILE, rows=rows
    )
    blind, open_ = data_of(page)["rows"]
    assert set(blind) == {"position", "id", "text"}
    assert open_["candidates"] == [1, 0]

"""The pages in a real browser, offline: no request, no console line, every key, progress kept."""

import csv
from pathlib import Path

import numpy as np
import pytest

from labelfix.report import review_page
from labelfix.report.purify_report import ReportData, Shown, build_report
from labelfix.report.sentences import Estimate, Proof, RowMap

BROWSER = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not BROWSER.exists(), reason="needs Debian's chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
NAMES = ("</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "cat", "dog")


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as started:
        yield started.chromium


class Opened:
    """A page from a file, with everything that it said and asked for."""

    def __init__(self, chromium, profile, file, **settings):
        self.context = chromium.launch_persistent_context(
            str(profile), executable_path=str(BROWSER), args=FLAGS, offline=True, **settings
        )
        self.page, self.said, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("dialog", lambda dialog: dialog.accept())
        self.page.goto(f"file://{file}")

    def outside(self):
        return [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))]

    def wide(self):
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


def report_file(folder) -> Path:
    rows = 60
    label = np.arange(rows, dtype=np.int32) % 4
    given = np.where(np.arange(rows) % 3 == 0, (label + 1) % 4, label).astype(np.int32)
    soft = np.full((rows, 4), 0.1, np.float32)
    soft[np.arange(rows), label] = 0.7
    unit = np.linspace(0, 1, rows, dtype=np.float32)
    found = ReportData(
        title=NAMES[1], class_names=NAMES, ids=[f"{NAMES[0]}{row}" for row in range(rows)],
        given=given, label=label, decision=np.where(given == label, "keep", "correct"),
        soft_label=soft, weight=unit, label_reliability=unit, pseudo_reliability=1 - unit,
        clid=unit, review_rank=np.arange(1, rows + 1, dtype=np.int32), noise_rate=0.3,
        transition=soft[:4].astype(float),
        proof=Proof(
            kind="random", rows=30, before=Estimate(value=0.6, low=0.5, high=0.7),
            after=Estimate(value=0.9, low=0.8, high=0.95),
            gain=Estimate(value=0.3, low=0.2, high=0.4), calibration=((0.8, 0.75, 30),),
        ),
        show=lambda rows: [Shown(fields=(("text", NAMES[1]),)) for _ in rows], findings=None,
        row_map=RowMap(rows=np.arange(rows), places=np.stack([unit, unit], 1)),
        warnings=[], notices=[], settings=[], command="labelfix purify",
    )  # fmt: skip
    file = folder / "report.html"
    file.write_text(build_report(found), "utf-8")
    return file


def review_file(folder, names=NAMES, rows=240) -> Path:
    made = [
        review_page.ReviewRow(
            position=place, id=f'{NAMES[0]} "{place}", =cmd', shown=Shown(text=NAMES[1]),
            candidates=(2, 3) if place % 2 else None, guess=3 if place % 2 else None,
        )
        for place in range(rows)
    ]  # fmt: skip
    file = folder / "review.html"
    page = review_page.build_review(
        title="pets", plan="7f3a19c2", reviewer="ann", class_names=names, rows=made
    )
    file.write_text(page, "utf-8")
    return file


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_offline_without_a_word(chromium, tmp_path, width, scheme):
    settings = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    opened = Opened(chromium, tmp_path / "profile", report_file(tmp_path), **settings)
    page = opened.page
    assert page.locator("#transition svg rect").count() > 10
    page.select_option("#pair", index=1)
    assert page.locator("#rows li").count() > 0
    assert NAMES[0] in page.inner_text("#rows li >> nth=0")
    assert opened.said == []
    assert opened.outside() == []
    assert not opened.wide()
    opened.context.close()


def test_a_review_by_keys_is_kept_resumed_and_downloaded(chromium, tmp_path):
    file, profile = review_file(tmp_path), tmp_path / "profile"
    opened = Opened(chromium, profile, file)
    for place in range(200):
        opened.page.keyboard.press("1234un"[place % 6])
    assert "200 of 240 decided" in opened.page.inner_text("#progress")
    opened.page.keyboard.press("z")
    assert "199 of 240 decided" in opened.page.inner_text("#progress")
    assert opened.said == []
    assert opened.outside() == []
    opened.context.close()
    again = Opened(chromium, profile, file)
    assert "199 of 240 decided" in again.page.inner_text("#progress")
    with again.page.expect_download() as download:
        again.page.click("#download")
    assert download.value.suggested_filename == "decisions-7f3a19c2-ann.csv"
    text = Path(download.value.path()).read_bytes().decode()
    assert "\r\n" in text
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 199
    assert rows[0]["label"] == NAMES[0]
    assert rows[7]["id"] == f'{NAMES[0]} "7", =cmd'
    assert [row["decision"] for row in rows[:6]] == ["label"] * 4 + ["unsure", "none"]
    again.context.close()


def test_a_contact_sheet_decides_many_rows_at_once(chromium, tmp_path):
    opened = Opened(chromium, tmp_path / "profile", review_file(tmp_path))
    page = opened.page
    page.keyboard.press("c")
    assert page.locator("#cells li").count() == 40
    page.click("#cells li >> nth=4 >> button")
    page.click("#sheet-done")
    assert "39 of 240 decided" in page.inner_text("#progress")
    page.keyboard.press("z")
    assert "0 of 240 decided" in page.inner_text("#progress")
    assert opened.said == []
    opened.context.close()


def test_many_classes_are_typed(chromium, tmp_path):
    names = tuple(f"class {number:03d}" for number in range(77))
    opened = Opened(chromium, tmp_path / "profile", review_file(tmp_path, names, rows=5))
    opened.page.fill("#filter", "041")
    opened.page.press("#filter", "Enter")
    assert "1 of 5 decided" in opened.page.inner_text("#progress")
    assert opened.said == []
    opened.context.close()


def test_a_downloaded_file_dropped_elsewhere_goes_on(chromium, tmp_path):
    file = review_file(tmp_path, rows=6)
    opened = Opened(chromium, tmp_path / "profile", file)
    text = (
        "id,label,decision,reviewer,plan,position,seconds,decided_at\r\n"
        '"x, ""y""",dog,label,ann,7f3a19c2,2,1.0,2026-01-01T00:00:00Z\r\n'
        "x,,unsure,ann,7f3a19c2,4,1.0,2026-01-01T00:00:00Z\r\n"
        "x,dog,label,ann,another,5,1.0,2026-01-01T00:00:00Z\r\n"
    )
    drop = """text => {
        const data = new DataTransfer();
        data.items.add(new File([text], "decisions.csv", {type: "text/csv"}));
        dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
    }"""
    opened.page.evaluate(drop, text)
    opened.page.wait_for_function(
        "document.getElementById('note').textContent.includes('2 decisions taken')"
    )
    assert "2 of 6 decided" in opened.page.inner_text("#progress")
    opened.context.close()

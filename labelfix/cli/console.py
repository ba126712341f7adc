"""How a person sees a run: bars with an ETA on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isnan
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from labelfix.training.progress import Advance

if TYPE_CHECKING:  # these bring torch
    from labelfix.decide.evidence import Figure
    from labelfix.workflows.demo import DemoResult
    from labelfix.workflows.outputs import Summary
    from labelfix.workflows.review import MadePlan
    from labelfix.workflows.review_answers import ReviewProgress

LINE_SECONDS = 10.0  # between two lines where there is no terminal


class Terminal:
    """Reports on standard error; results go to standard output."""

    def __init__(self) -> None:
        self.err = Console(stderr=True, highlight=False)
        self.out = Console(highlight=False)

    def say(self, line: str) -> None:
        self.err.print(Text(line, style="dim"), soft_wrap=True)

    @contextmanager
    def task(self, name: str) -> Iterator[Advance]:
        started = time.monotonic()
        with self._bar(name) if self.err.is_terminal else self._lines(name) as advance:
            yield advance
        self.err.print(Text(f"{name}: {time.monotonic() - started:.1f} s"), soft_wrap=True)

    @contextmanager
    def _bar(self, name: str) -> Iterator[Advance]:
        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TimeRemainingColumn(), TextColumn("{task.fields[note]}", style="dim"),
        )  # fmt: skip
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(name, total=None, note="")

            def advance(done: int, total: int, note: str) -> None:
                progress.update(task, completed=done, total=total, note=note)

            yield advance

    @contextmanager
    def _lines(self, name: str) -> Iterator[Advance]:
        started = spoken = time.monotonic()

        def advance(done: int, total: int, note: str) -> None:
            nonlocal spoken
            now = time.monotonic()
            if now - spoken < LINE_SECONDS or not done:
                return
            spoken = now
            left = (now - started) / done * (total - done)
            self.say(f"{name}: {done}/{total}, about {left:.0f} s left  {note}".rstrip())

        yield advance

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table on standard output."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*row)
        self.out.print(table)

    def result(self, line: str, style: str = "") -> None:
        """A line on standard output; brackets in it are text, not markup."""
        self.out.print(Text(line, style=style), soft_wrap=True)

    def evidence(self, summary: Summary) -> None:
        """What purify did and how right it is."""
        evidence = summary.evidence
        self.result(f"{summary.rows} rows, {len(summary.class_names)} classes, "
                    f"estimated noise rate {_noise(summary)}")  # fmt: skip
        decisions = "  ".join(f"{name} {count}" for name, count in summary.decisions.items())
        self.result(f"decisions: {decisions}")
        if not summary.changes_allowed:
            self.result(
                "No label was changed: on the checked rows, changes did more harm than good."
                if evidence.audited
                else "No label was changed: the method predicts the same class for every row."
            )
        figures = {title: getattr(evidence, name) for name, title in EVIDENCE.items()}
        rows = [[title, _percent(figure), _interval(figure)] for title, figure in figures.items()]
        if evidence.audited:
            title = f"Evidence: {evidence.rows} audited rows, each predicted without its own labels"
        else:
            how = " at random" if summary.checked_rows.audited else ""
            title = (
                f"Self-estimated: no row of the data was checked{how}, so the model measures itself"
            )
        measured = "measured" if evidence.audited else "self-estimated"
        self.table(title, ("", measured, "95 % interval"), rows)
        if evidence.audited and summary.changes_allowed:
            self.result(_verdict(evidence.label_accuracy_gain))
        if summary.sampling_note:
            self.result(summary.sampling_note)

    def figures(self, title: str, figures: Mapping[str, int | float]) -> None:
        """Figures of evaluate: counts and shares."""
        counts = {name: value for name, value in figures.items() if isinstance(value, int)}
        rows = [[name.replace("_", " "), str(value)] for name, value in counts.items()]
        shares = {name: value for name, value in figures.items() if name not in counts}
        rows += [
            [name.replace("_", " "), "-" if value != value else f"{value:.4f}"]
            for name, value in shares.items()
        ]
        self.table(title, ("", "value"), rows)

    def retrained(self, metrics: Mapping[str, Any]) -> None:
        """Test accuracies of one training or of two side by side."""
        runs = [metrics[name] for name in ("given", "purified") if name in metrics] or [metrics]
        rows = [
            [run["labels"], _accuracy(run["test_accuracy"]), _range(run), str(run["trained_rows"])]
            for run in runs
        ]
        title = f"Retrained with {runs[0]['method']}, {runs[0]['epochs']} epochs"
        self.table(title, ("labels", "test accuracy", "95 % interval", "training rows"), rows)
        for run in runs:
            columns = ", ".join(run["uses"])
            self.say(f"{run['labels']} labels: {run['method']} reads the columns {columns}")
        if "verdict" in metrics:
            self.result(f"verdict: {metrics['verdict']['words']}")

    def planned(self, made: MadePlan) -> None:
        """A review plan: its pages, and what plans of several sizes would bring."""
        rows = [
            [
                f"{each.rows:,}",
                f"{each.corrected:.0f}",
                f"± {100 * each.gain_half_width:.1f} points",
                f"± {100 * each.accuracy_half_width:.1f} points",
            ]
            for each in made.prospects
        ]
        self.table(
            "What checking more rows would bring",
            ("rows", "labels corrected", "gain known to", "share right known to"),
            rows,
        )
        self.result(
            f"plan {made.plan}: {made.targeted} rows whose label is most doubtful, {made.random} "
            "drawn at random from the others"
        )
        for page in made.pages:
            self.result(f"open in a browser: {page}")

    def reviewed(self, progress: ReviewProgress) -> None:
        """How far a review is, and what may already be said."""
        for line in progress.notices:
            self.say(line)
        self.result(f"plan {progress.plan}: {progress.decided} of {progress.rows} rows decided")
        self.result(
            f"of the random rows, purify had corrected {progress.corrected} labels and broken "
            f"{progress.broken}: "
            + ("a gain is shown" if progress.gain_shown else "no gain is shown yet")
        )
        for words, share in (
            ("one person, asked twice", progress.self_agreement),
            ("two people", progress.pair_agreement),
        ):
            if share is not None:
                self.result(f"{words}: the same answer in {share:.0%} of the rows")
        if progress.unsettled:
            self.result(f"{progress.unsettled} rows have answers that differ, and no majority")

    def demo(self, found: DemoResult) -> None:
        """The two results of the demo."""
        before, after = found.wrong_before, found.wrong_after
        given, purified = found.test_accuracy_given, found.test_accuracy_purified
        rows = [
            ["wrong labels", str(before), str(after), f"{1 - after / before:.0%} removed"],
            ["test accuracy after retraining", f"{given:.1%}", f"{purified:.1%}",
             f"{(purified - given) * 100:+.1f} points"],
        ]  # fmt: skip
        self.table("The result in two lines", ("", "given labels", "purified labels", ""), rows)


EVIDENCE = {
    "label_accuracy_before": "right labels, before",
    "label_accuracy_after": "right labels, after",
    "change_precision": "of the changes, right",
    "change_recall": "of the wrong labels, corrected",
    "calibration_error": "calibration error of soft labels",
}


def _noise(summary: Summary) -> str:
    """The estimated noise rate, with its interval where rows were audited."""
    rate = "unknown" if summary.noise_rate is None else f"{summary.noise_rate:.1%}"
    if summary.noise_rate_interval is None:
        return rate
    low, high = summary.noise_rate_interval
    return f"{rate} (audited rows: {low:.1%} to {high:.1%})"


def _verdict(gain: Figure) -> str:
    """Whether labels got better, in a sentence."""
    value, low, high = (100 * figure for figure in (gain.value, gain.low, gain.high))
    if low > 0:
        words = "The labels got better"
    elif high < 0:
        words = "The labels got worse; keep the given ones"
    else:
        words = "No difference could be shown"
    return f"{words}: {value:+.1f} points, {low:+.1f} to {high:+.1f} with 95 % confidence."


def _percent(figure: Figure) -> str:
    return "-" if isnan(figure.value) else f"{figure.value:.1%}"


def _interval(figure: Figure) -> str:
    if isnan(figure.value) or isnan(figure.low):
        return "-"
    return f"{figure.low:.1%} to {figure.high:.1%}"


def _accuracy(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _range(metrics: Mapping[str, Any]) -> str:
    if "test_accuracy_interval" not in metrics:
        return "-"
    low, high = metrics["test_accuracy_interval"]
    return f"{low:.1%} to {high:.1%}"

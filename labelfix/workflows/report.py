"""report.html of a purify output folder: gathered from its files, drawn by ``labelfix.report``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelfix import contract
from labelfix.errors import InputError
from labelfix.features.neighbours import Neighbours
from labelfix.report.purify_report import ReportData, build_report
from labelfix.report.sentences import Estimate, EvidenceKind, Findings, Proof, RowMap
from labelfix.workflows.findings import write_findings
from labelfix.workflows.output_folder import EMBED, NEIGHBOURS, OutputFolder
from labelfix.workflows.shown_rows import RowViews
from labelfix.workflows.source import Source, candidates

MAP_ROWS, LEAST_MAP_ROWS, MAP_COLUMNS = 3000, 30, 50
REPORT = "report.html"
HIDDEN = ("devices", "num_nodes")  # settings that say nothing of the result


def write_report(run: Path) -> Path:
    """Write RUN/report.html, and beside it the near-duplicates and far rows.

    Args:
        run: a purify output folder.

    Returns:
        The file.

    Raises:
        InputError: it holds no labels.parquet or no summary.json, or cannot be written.
    """
    folder = OutputFolder(run)
    labels, summary = contract.read_labels(run), _summary_of(folder)
    page = build_report(_gather(folder, labels, summary))
    aside = run / f".{REPORT}.partial"
    try:
        aside.write_text(page, "utf-8")
        aside.replace(run / REPORT)
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})", hint="make room or give rights", file=run
        ) from error
    return run / REPORT


def _summary_of(folder: OutputFolder) -> dict[str, Any]:
    try:
        found = json.loads(folder.summary.read_text("utf-8"))
        return {**found, "evidence": dict(found["evidence"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "is missing or damaged",
            hint="give a folder that labelfix purify wrote, or run purify again",
            file=folder.summary,
        ) from error


def _gather(
    folder: OutputFolder, labels: contract.Labels, summary: Mapping[str, Any]
) -> ReportData:
    graph = _graph_of(folder)
    unscored = np.full(len(labels), np.nan, np.float32)

    def scored(values: NDArray[np.float32] | None) -> NDArray[np.float32]:
        return unscored if values is None else values

    return ReportData(
        title=Source.of_labels(labels).data or folder.path.resolve().name,
        class_names=labels.class_names,
        ids=labels.ids.tolist(),
        given=labels.given,
        label=labels.label,
        decision=np.array(contract.DECISIONS)[labels.decision],
        soft_label=labels.soft_label,
        weight=labels.weight,
        label_reliability=scored(labels.label_reliability),
        pseudo_reliability=scored(labels.pseudo_reliability),
        clid=scored(labels.clid),
        review_rank=labels.review_rank,
        noise_rate=summary["noise_rate"],
        transition=np.array(summary["transition_matrix"], np.float64),
        proof=proof_of(summary["evidence"], summary.get("sampling") or {}),
        show=RowViews.of(folder.labels, labels).show,
        findings=None if graph is None else _findings(folder, graph, labels),
        row_map=_row_map(folder, labels),
        warnings=_warnings(summary),
        notices=summary.get("notices", ()),
        settings=_settings(summary),
        command=command_of(summary),
    )


def proof_of(evidence: Mapping[str, Any], sampling: Mapping[str, Any]) -> Proof:
    """The evidence of a summary, as the report says it."""
    kind: EvidenceKind = "random" if evidence["audited"] else "self"
    if evidence["audited"] and sampling.get("on_word"):
        kind = "word"
    bins = evidence.get("calibration") or ()
    return Proof(
        kind=kind,
        rows=evidence["rows"],
        before=_estimate(evidence["label_accuracy_before"]),
        after=_estimate(evidence["label_accuracy_after"]),
        gain=_estimate(evidence["label_accuracy_gain"]),
        calibration=tuple((said, right, rows) for said, right, rows in bins),
        calibration_error=_estimate(evidence["calibration_error"]),
    )


def _estimate(figure: Mapping[str, float | None]) -> Estimate:
    return Estimate(value=figure["value"], low=figure["low"], high=figure["high"])


def _graph_of(folder: OutputFolder) -> Neighbours | None:
    """The neighbour graph of the run, memory-mapped; None where its stage is gone."""
    place = folder.stages / NEIGHBOURS.name
    try:
        return Neighbours(
            rows=np.load(place / "rows.npy", mmap_mode="r"),
            similarities=np.load(place / "similarities.npy", mmap_mode="r"),
        )
    except (OSError, ValueError, EOFError):
        return None


def _findings(folder: OutputFolder, graph: Neighbours, labels: contract.Labels) -> Findings:
    found = write_findings(folder.path, graph, labels)
    far = np.flatnonzero(found.far)
    far = far[np.argsort(-found.distances[far], kind="stable")]
    return Findings(
        pairs=found.pairs,
        distances=found.pair_distances,
        duplicate_threshold=found.duplicate_threshold,
        far_rows=far,
        far_distances=found.distances[far],
        far_threshold=found.far_threshold,
    )


def _row_map(folder: OutputFolder, labels: contract.Labels) -> RowMap | None:
    """Some rows on a plane by t-SNE of their principal components; None without features."""
    features = _features_of(folder, labels)
    if features is None or not LEAST_MAP_ROWS <= len(labels) <= len(features):
        return None
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    random = np.random.default_rng(0)
    count = min(MAP_ROWS, len(labels))
    rows = np.sort(random.choice(len(labels), count, replace=False))
    values = np.asarray(features[rows], np.float32)
    values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-6)
    if min(values.shape) > MAP_COLUMNS:
        values = PCA(MAP_COLUMNS, random_state=0).fit_transform(values)
    perplexity = min(30.0, (count - 1) / 3)
    places = TSNE(init="pca", random_state=0, perplexity=perplexity).fit_transform(values)
    spread = np.maximum(np.ptp(places, axis=0), 1e-9)
    return RowMap(rows=rows, places=(places - places.min(0)) / spread)


def _features_of(folder: OutputFolder, labels: contract.Labels) -> NDArray[Any] | None:
    """The features that the run learned from, where they still lie in a file of numbers."""
    name = Source.of_labels(labels).features
    files = [folder.stages / EMBED.name / "features.npy"]
    if name is not None and name.endswith(".npy"):
        files = candidates(folder.labels, "features", name)
    for file in files:
        try:
            found = np.load(file, mmap_mode="r")
        except (OSError, ValueError, EOFError):
            continue
        if found.ndim == 2 and found.dtype.kind in "fiub":
            return found
    return None


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    found = [] if not summary.get("sampling_note") else [summary["sampling_note"]]
    if not summary.get("changes_allowed", True):
        found.append("No label was changed: changes did more harm than good on the checked rows.")
    return found


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ran, as names and values."""
    checked = summary["checked_rows"]
    found = [("checked rows", f"{checked['all']}, of them {checked['audited']} audited")]
    found += [
        (name.replace("_", " "), str(value))
        for name, value in summary["settings"].items()
        if value is not None and name not in HIDDEN
    ]
    found += [(f"{name} version", value) for name, value in summary["versions"].items()]
    seconds = summary["seconds"].get("total")
    return found + ([("seconds", f"{seconds:.0f}")] if seconds is not None else [])


def command_of(summary: Mapping[str, Any]) -> str:
    """The command that does it again, in the folder of the data."""
    source = summary["source"]
    words = ["labelfix purify", source.get("data") or "DATA"]
    features = source.get("features") or source.get("features_column")
    if features:
        words.append(f"--features {features}")
    if summary["checked_rows"]["all"]:
        words.append("--clean-set CHECKED")
    settings = summary["settings"]
    words += [f"--seed {settings['seed']}"] if settings.get("seed") else []
    return " ".join(words)

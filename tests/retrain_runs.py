"""Trainings on purified datasets: settings, what is opened, what was said."""

import pyarrow.parquet as pq

from labelfix.workflows.corrected_dataset import CorrectedDataset
from labelfix.workflows.retrain import RetrainConfig


class Lines:
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def task(self, name):
        from labelfix.training.progress import SILENT

        return SILENT.task(name)


def opened(run, tmp_path, **arguments):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    return CorrectedDataset.open(run, scratch, **arguments)


def config(**settings):
    return RetrainConfig(**{"epochs": 10, "device": "cpu"} | settings)


def rewrite_labels(run, change, metadata=True):
    table = pq.read_table(run / "labels.parquet")
    kept = table.schema.metadata
    table = change(table).replace_schema_metadata(kept if metadata else None)
    pq.write_table(table, run / "labels.parquet")


def every_step(epochs):
    from labelfix.training.config import LoopConfig

    return LoopConfig(epochs=epochs, batch_size=25, device="cpu", checkpoint_seconds=0)

"""labels.parquet, the contract with the next team: its schema, its writer, its reader."""

from labelfix.contract.formulas import DECISIONS, Decision, decision
from labelfix.contract.labels import Labels, complete
from labelfix.contract.reading import check, read_labels
from labelfix.contract.schema import (
    COLUMNS,
    SCHEMA_VERSION,
    Column,
    arrow_schema,
    free_names,
    markdown_table,
)
from labelfix.contract.writing import write_labels

__all__ = [
    "COLUMNS",
    "DECISIONS",
    "SCHEMA_VERSION",
    "Column",
    "Decision",
    "Labels",
    "arrow_schema",
    "check",
    "complete",
    "decision",
    "free_names",
    "markdown_table",
    "read_labels",
    "write_labels",
]

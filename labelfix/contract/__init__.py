"""labels.parquet, the contract with the next team: its schema, its writer, its reader."""

from labelfix.contract.reading import check, read_labels
from labelfix.contract.schema import DECISIONS, MEANINGS, SCHEMA_VERSION, SCORES, Labels, schema
from labelfix.contract.writing import write_labels

__all__ = [
    "DECISIONS",
    "MEANINGS",
    "SCHEMA_VERSION",
    "SCORES",
    "Labels",
    "check",
    "read_labels",
    "schema",
    "write_labels",
]

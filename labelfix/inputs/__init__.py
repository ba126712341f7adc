"""read, check: tables, folders, features and images in; one checked Dataset out."""

from labelfix.inputs.columns import Columns
from labelfix.inputs.content_hash import content_keys
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.decode import Pixels, decode
from labelfix.inputs.duplicates import find_copies, match_content, tell_rows_apart
from labelfix.inputs.formats import listed_formats
from labelfix.inputs.read import CleanSource, read
from labelfix.inputs.test_table import (
    SampleTable,
    Truth,
    read_labelled,
    read_truth,
    read_unlabelled,
)

__all__ = [
    "CleanSource",
    "Columns",
    "Dataset",
    "Pixels",
    "SampleTable",
    "Truth",
    "content_keys",
    "decode",
    "find_copies",
    "listed_formats",
    "match_content",
    "read",
    "read_labelled",
    "read_truth",
    "read_unlabelled",
    "tell_rows_apart",
]

"""read, check: tables, folders, features and images in; one checked Dataset out."""

from labelfix.inputs.columns import Columns
from labelfix.inputs.content import content_keys
from labelfix.inputs.dataset import Dataset
from labelfix.inputs.labelled import Labelled, read_labelled, read_truth
from labelfix.inputs.pixels import Pixels, decode
from labelfix.inputs.reading import read
from labelfix.inputs.same_content import kept_rows, match_content
from labelfix.inputs.unlabelled import read_unlabelled

__all__ = [
    "Columns",
    "Dataset",
    "Labelled",
    "Pixels",
    "content_keys",
    "decode",
    "kept_rows",
    "match_content",
    "read",
    "read_labelled",
    "read_truth",
    "read_unlabelled",
]

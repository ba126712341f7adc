"""A labels.parquet that several tests read."""

import pytest


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.parquet"

"""Folds keep copies together and spread every stratum."""

import numpy as np
import pytest

from labelfix.features import folds


def test_folds_keep_copies_together_and_spread_every_stratum():
    content = np.concatenate([np.arange(100), np.arange(20)]).astype(np.uint64)
    strata = (content % 4).astype(np.int64)
    found = folds.assign(content, strata, seed=3)
    assert (found[:20] == found[100:]).all()
    for stratum in range(4):
        counts = np.bincount(found[:100][strata[:100] == stratum], minlength=5)
        assert counts.tolist() == [5] * 5
    assert np.array_equal(found, folds.assign(content, strata, seed=3))
    assert not np.array_equal(found, folds.assign(content, strata, seed=4))


def test_too_few_rows_for_folds():
    with pytest.raises(ValueError, match="only 3 rows differ"):
        folds.assign(np.array([1, 2, 3, 3], dtype=np.uint64), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match="at least 2"):
        folds.assign(np.arange(4, dtype=np.uint64), np.zeros(4, dtype=int), folds=1)

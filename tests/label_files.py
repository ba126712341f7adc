"""Labels of six rows, as purify makes them."""

from dataclasses import replace

import numpy as np

from labelfix import contract


def make(rows=6, **changes) -> contract.Labels:
    random = np.random.default_rng(0)
    soft = random.dirichlet([1, 1, 1], rows).astype(np.float32)
    given = (np.arange(rows) % 4 - 1).astype(np.int32)
    labels = contract.Labels(
        ids=np.array([f"ü{row}" for row in range(rows)], dtype=object),
        class_names=("ant", "bee", "cat"),
        given=given,
        label=soft.argmax(1).astype(np.int32),
        decision=(np.arange(rows) % 5).astype(np.int8),
        soft_label=soft,
        weight=random.random(rows).astype(np.float32),
        review_rank=random.permutation(rows).astype(np.int32) + 1,
        doubt=(1 - soft.max(1)).astype(np.float32),
        metadata={"noise_rate": 0.25, "settings": {"seed": 0}},
    )
    return replace(labels, **changes)


SOFT = make().soft_label

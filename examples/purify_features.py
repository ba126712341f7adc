"""Correct labels from Python: features and given labels in, corrected labels and evidence out.

    python examples/purify_features.py

Takes scikit-learn's digits 0 to 4 (64 pixels a row), makes some labels wrong, checks 100 rows.
"""

import numpy as np
from sklearn.datasets import load_digits

import labelfix

features, right = load_digits(n_class=5, return_X_y=True)
generator = np.random.default_rng(0)
wrong = generator.random(len(right)) < 0.3
given = np.where(wrong, generator.integers(0, 5, len(right)), right)
checked = generator.choice(len(right), 100, replace=False)

result = labelfix.purify(features, given, audited={int(row): int(right[row]) for row in checked})

before, after = (given == right).mean(), (result.labels == right).mean()
print(f"right labels before: {before:.1%}, after: {after:.1%}")
print(f"on the audited rows: {result.evidence.label_accuracy_after}")
result.to_parquet("labels.parquet")

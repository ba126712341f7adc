"""Purify inside scikit-learn: each training part is corrected, each test part is not seen.

    python examples/cross_validation.py

Takes scikit-learn's wines (178 rows of 13 measurements), makes 30 % of the labels wrong, checks 60.
"""

import numpy as np
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labelfix.sklearn import PurifiedClassifier

features, right = load_wine(return_X_y=True)
generator = np.random.default_rng(0)
wrong = generator.choice(len(right), int(0.3 * len(right)), replace=False)
given = right.copy()
given[wrong] = (right[wrong] + 1) % 3
checked = np.full(len(right), np.nan)
rows = generator.choice(len(right), 60, replace=False)
checked[rows] = right[rows]

forest = RandomForestClassifier(random_state=0)
plain = make_pipeline(StandardScaler(), forest)
purified = make_pipeline(StandardScaler(), PurifiedClassifier(forest, random_state=0))
params = {"purifiedclassifier__checked": checked}

for name, predicted in (
    ("given labels", cross_val_predict(plain, features, given, cv=3)),
    ("purified labels", cross_val_predict(purified, features, given, cv=3, params=params)),
):
    print(f"trained on {name}: {(predicted == right).mean():.1%} of the predictions are right")

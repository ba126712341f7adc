"""``PurifiedClassifier``: any scikit-learn classifier, fitted on purified labels.

    from labelfix.sklearn import PurifiedClassifier

    model = PurifiedClassifier(LogisticRegression())
    model.fit(X, y)                            # y is partly wrong
    model.fit(X, y, checked=right_or_none)     # some rows were checked
    cross_val_score(model, X, y, params={"checked": right_or_none})

Purifying happens within ``fit``, on the rows that it is given: in a ``Pipeline`` it sees features
as transformed, in cross-validation the training part only, so nothing leaks. A score against labels
that are partly wrong is partly wrong too: to measure, pass right ones.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone, is_classifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_is_fitted,
    has_fit_parameter,
    validate_data,
)

from labelfix import api
from labelfix.errors import DegenerateLearningError
from labelfix.workflows.arrays import different_rows

LEAST_ROWS = 50  # fewer different rows, or under ten a class, tell too little of each other
LEAST_SHARE = 0.05  # of a soft label: less weighs nothing and costs a row


class PurifySkipped(UserWarning):
    """There was too little to purify by; the classifier was fitted on the labels as given."""


def _has(name: str) -> Any:  # noqa: ANN401
    def check(self: PurifiedClassifier) -> bool:
        inner = getattr(self, "estimator_", None) or self.estimator or LogisticRegression()
        getattr(inner, name)
        return True

    return check


class PurifiedClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Purifies the labels, then fits a classifier on them.

    An estimator whose ``fit`` takes ``sample_weight`` sees each row once for every class that its
    soft label gives at least a twentieth, weighed by ``soft label x weight``. Any other sees each
    row once, with its corrected label.

    Args:
        estimator: a scikit-learn classifier; None = ``LogisticRegression()``.
        method: as for :func:`labelfix.purify`.
        min_precision: likewise.
        device: of purifying: auto, cpu, cuda or mps.
        random_state: of purifying; with a number, the result is determined.

    Attributes:
        classes_: ``(K,)``.
        estimator_: the fitted classifier.
        labels_: ``(N,)``, the label of each row after purifying.
        weights_: ``(N,)``, in [0, 1].
        purified_: the whole result of :func:`labelfix.purify`, or None where the rows were too few
            or learning was degenerate: then the labels are those given, with a
            :class:`PurifySkipped` warning.
        n_features_in_, feature_names_in_: as everywhere.
    """

    def __init__(
        self,
        estimator: Any = None,  # noqa: ANN401
        *,
        method: str = "auto",
        min_precision: float = 0.0,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.min_precision = min_precision
        self.device = device
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, checked: ArrayLike | None = None
    ) -> PurifiedClassifier:
        """Purify the labels of ``X`` and fit the classifier.

        Args:
            X: ``(N, D)`` finite numbers.
            y: ``(N,)`` labels, partly wrong.
            checked: ``(N,)`` the right label of rows that someone checked, None or NaN elsewhere;
                cross-validation splits it along with ``y`` when passed by ``params``. For method
                auto a single checked row, as a split may leave, counts as none.

        Raises:
            ValueError: the arrays do not fit together, or ``estimator`` is no classifier; the
                message says where.
        """
        estimator = LogisticRegression() if self.estimator is None else self.estimator
        if not is_classifier(estimator):
            raise ValueError(f"estimator should be a classifier, not {estimator}")
        matrix, labels = validate_data(self, X, y, dtype="numeric", ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("the labels hold one class only; a classifier needs two or more")
        self.purified_ = self._purify(matrix, labels, _audited(checked, len(labels)))
        self.estimator_ = clone(estimator)
        if self.purified_ is None:
            self.labels_, self.weights_ = labels, np.ones(len(labels), dtype=np.float32)
            self.estimator_.fit(matrix, labels)
            return self
        self.labels_, self.weights_ = self.purified_.labels, self.purified_.weights
        if has_fit_parameter(self.estimator_, "sample_weight"):
            rows, codes, weights = expanded(self.purified_.soft_labels, self.weights_)
            labels = self.purified_.classes[codes]
            self.estimator_.fit(matrix[rows], labels, sample_weight=weights)
        else:
            self.estimator_.fit(matrix, self.labels_)
        return self

    def _purify(
        self, X: NDArray[Any], y: NDArray[Any], audited: dict[int, Any]
    ) -> api.Result | None:
        """The purified labels, or None with a warning that says why not."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        different = different_rows(X)
        if different < max(LEAST_ROWS, 10 * len(self.classes_)):
            _skipped(f"{different} different rows of {len(self.classes_)} classes are too few")
            return None
        if self.method == "auto" and len(audited) == 1:
            audited = {}  # nothing to calibrate by
        try:
            return api.purify(
                X, y, audited=audited, method=self.method, min_precision=self.min_precision,
                seed=seed, device=self.device,
            )  # fmt: skip
        except DegenerateLearningError as error:
            _skipped(str(error))
            return None

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels ``(N,)``."""
        X = self._checked(X)
        return self.estimator_.predict(X)

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> NDArray[np.floating]:
        """Probabilities ``(N, K)`` in the order of ``classes_``; 0 for classes that purifying left
        without a row."""
        X = self._checked(X)
        found = self.estimator_.predict_proba(X)
        aligned = np.zeros((len(found), len(self.classes_)), dtype=found.dtype)
        aligned[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = found
        return aligned

    @available_if(_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]:
        """The estimator's own decision values."""
        X = self._checked(X)
        return self.estimator_.decision_function(X)

    def _checked(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        return validate_data(self, X, reset=False)


def expanded(
    soft_labels: NDArray[np.float32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows with soft labels as more rows with hard labels and weights.

    Args:
        soft_labels: ``(N, K)``.
        weights: ``(N,)`` in [0, 1].

    Returns:
        Row numbers, class codes and weights, ``(M,)`` each, N <= M: every class of a row from
        ``LEAST_SHARE`` on, and the best one always. A row's weights sum to its own weight; a class
        that would vanish keeps its best row, so that the classifier knows it.
    """
    best = soft_labels.argmax(1)
    kept = np.where(soft_labels >= LEAST_SHARE, soft_labels, 0).astype(np.float64)
    kept[np.arange(len(best)), best] = soft_labels.max(1)
    share = kept / kept.sum(1, keepdims=True) * weights[:, None]
    lost = np.flatnonzero(share.sum(0) == 0)
    share[soft_labels[:, lost].argmax(0), lost] = 1e-6
    rows, codes = np.nonzero(share)
    return rows, codes, share[rows, codes]


def _audited(checked: ArrayLike | None, rows: int) -> dict[int, Any]:
    if checked is None:
        return {}
    values = np.asarray(checked, dtype=object)
    if values.shape != (rows,):
        raise ValueError(f"checked has shape {values.shape}, not ({rows},): one entry a row")
    return {int(row): values[row] for row in np.flatnonzero(~pd.isna(values))}


def _skipped(reason: str) -> None:
    warnings.warn(f"not purified: {reason}", PurifySkipped, stacklevel=4)

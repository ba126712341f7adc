"""PurifiedClassifier: scikit-learn's own checks, better labels, no leak."""

import numpy as np
import pytest
from builders import make_blobs
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold, cross_val_score, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from labelfix import api
from labelfix import sklearn as wrapper
from labelfix.errors import DegenerateLearningError
from labelfix.sklearn import PurifiedClassifier, PurifySkipped, expanded

quiet = pytest.mark.filterwarnings("ignore::labelfix.sklearn.PurifySkipped")
NAMES = np.array(["ant", "bee", "cat"])


def model(estimator=None, **settings):
    return PurifiedClassifier(estimator, **{"device": "cpu", "random_state": 0} | settings)


SHUFFLED = StratifiedKFold(3, shuffle=True, random_state=0)
CHECKED = [model(), model(KNeighborsClassifier()), model(LinearSVC())]


@quiet
@parametrize_with_checks(CHECKED)
def test_scikit_learns_checks_of_the_wrapper(estimator, check, monkeypatch):
    """Without purifying, which the checks' many small fits would make slow."""
    monkeypatch.setattr(wrapper, "LEAST_ROWS", 10**9)
    check(estimator)


@quiet
@pytest.mark.slow
@parametrize_with_checks([model(), model(DecisionTreeClassifier(random_state=0))])
def test_scikit_learns_checks_with_purifying(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def noisy():
    blobs = make_blobs(rows=300, noise=0.4, checked=60, spread=2.5)
    checked = np.where(blobs.checked >= 0, NAMES[blobs.right], None)
    return blobs, NAMES[blobs.given], checked


class Spy(ClassifierMixin, BaseEstimator):
    """Keeps what it is fitted on."""

    def fit(self, X, y, sample_weight=None):
        self.seen_, self.weight_, self.classes_ = X, sample_weight, np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_purified_labels_make_a_better_classifier(noisy):
    blobs, given, checked = noisy
    plain = DecisionTreeClassifier(random_state=0).fit(blobs.features, given)
    found = model(DecisionTreeClassifier(random_state=0), method="dmlp")
    found.fit(blobs.features, given, checked=checked)
    fresh = make_blobs(rows=300, spread=2.5, noise=0)  # the same draws, right labels
    right = NAMES[fresh.right]
    assert (fresh.features == blobs.features).all()
    assert found.score(fresh.features, right) > plain.score(fresh.features, right) + 0.1
    assert (found.labels_ == right).mean() > (given == right).mean() + 0.2
    assert found.predict_proba(fresh.features).shape == (300, 3)
    assert found.classes_.tolist() == NAMES.tolist()


def test_soft_labels_become_weighted_rows(noisy):
    blobs, given, checked = noisy
    found = model(Spy(), method="dmlp").fit(blobs.features, given, checked=checked)
    assert len(found.estimator_.seen_) > 300
    assert found.estimator_.weight_.sum() == pytest.approx(found.weights_.sum(), rel=1e-4)
    hard = model(KNeighborsClassifier(1), method="dmlp")
    hard.fit(blobs.features, given, checked=checked)
    assert (hard.predict(blobs.features) == hard.labels_).all()


def test_expansion_by_hand():
    soft = np.array([[0.7, 0.26, 0.04], [0.0, 1.0, 0.0]], dtype=np.float32)
    rows, codes, weights = expanded(soft, np.array([0.48, 1.0], dtype=np.float32))
    assert rows.tolist() == [0, 0, 0, 1]
    assert codes.tolist() == [0, 1, 2, 1]
    # class 2 would vanish, and keeps its best row at next to no weight
    assert weights.tolist() == pytest.approx([0.35, 0.13, 1e-6, 1.0], abs=1e-6)


def test_cross_validation_sees_the_training_part_alone(noisy):
    blobs, given, checked = noisy
    pipeline = make_pipeline(StandardScaler(), model(Spy(), method="dmlp"))
    found = cross_validate(
        pipeline, blobs.features, given, cv=SHUFFLED, return_estimator=True, return_indices=True,
        params={"purifiedclassifier__checked": checked},
    )  # fmt: skip
    for fitted, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        purified = fitted[-1]
        assert len(purified.labels_) == len(train)
        scaled = fitted[0].transform(blobs.features[train])
        assert np.isin(purified.estimator_.seen_[:, 0], scaled[:, 0]).all()
        kept = blobs.checked[train] >= 0
        assert (purified.purified_.decisions == "checked").tolist() == kept.tolist()


def test_scores_in_cross_validation(noisy):
    blobs, given, checked = noisy
    found = model(LogisticRegression(), method="dmlp")
    scores = cross_val_score(found, blobs.features, given, cv=SHUFFLED, params={"checked": checked})
    assert scores.min() > 0.4  # against given labels, of which 60 % are right


def test_a_seed_determines_the_result(noisy):
    blobs, given, checked = noisy
    first = model(method="dmlp").fit(blobs.features, given, checked=checked)
    second = clone(first).fit(blobs.features, given, checked=checked)
    assert (first.coef_ if hasattr(first, "coef_") else first.estimator_.coef_).tolist() == (
        second.estimator_.coef_.tolist()
    )


def test_few_rows_are_fitted_as_they_are():
    X, y = np.arange(20.0)[:, None], np.arange(20) % 2
    with pytest.warns(PurifySkipped, match="20 different rows of 2 classes are too few"):
        found = model().fit(X, y)
    assert found.purified_ is None
    assert found.labels_.tolist() == y.tolist()
    assert (found.predict(X) == LogisticRegression().fit(X, y).predict(X)).all()


@quiet
def test_a_single_checked_row_counts_as_none(noisy, monkeypatch):
    blobs, given, checked = noisy
    one, two = (np.where(np.arange(300) < count, checked, None) for count in (1, 2))
    with pytest.raises(ValueError, match="there is one checked row"):
        model(method="dmlp").fit(blobs.features, given, checked=one)
    seen = []

    def spy(*_, audited, **__):
        seen.append(audited)
        raise DegenerateLearningError("not today")

    monkeypatch.setattr(api, "purify", spy)
    for checked in (one, two):
        model().fit(blobs.features, given, checked=checked)
    assert seen == [{}, {0: two[0], 1: two[1]}]


def test_booleans_are_purified_by(noisy):
    blobs, given, checked = noisy
    bits = blobs.features > 0.5
    found = model(method="dmlp").fit(bits, given, checked=checked)
    expected = model(method="dmlp").fit(bits.astype(float), given, checked=checked)
    assert np.array_equal(found.labels_, expected.labels_)


def test_degenerate_learning_falls_back(noisy, monkeypatch):
    def collapse(*_, **__):
        raise DegenerateLearningError("predictions collapsed onto 1 of 3 classes")

    monkeypatch.setattr(api, "purify", collapse)
    blobs, given, _ = noisy
    with pytest.warns(PurifySkipped, match="not purified: predictions collapsed"):
        model().fit(blobs.features, given)


@pytest.mark.parametrize("estimator", [Ridge(), make_pipeline(StandardScaler(), Ridge())])
def test_a_regressor_is_refused(noisy, estimator):
    blobs, given, checked = noisy
    with pytest.raises(ValueError, match=r"estimator should be a classifier, not .*Ridge\(\)"):
        model(estimator).fit(blobs.features, given == "ant", checked=checked)


def test_mistakes(noisy):
    blobs, given, checked = noisy
    with pytest.raises(ValueError, match=r"checked has shape \(60,\), not \(300,\)"):
        model().fit(blobs.features, given, checked=checked[:60])
    with pytest.raises(ValueError, match="'cow', which no given label is"):
        model().fit(blobs.features, given, checked=np.where(checked == "ant", "cow", None))
    with pytest.raises(ValueError, match="there are no checked rows"):
        model(method="dmlp").fit(blobs.features, given)
    with pytest.raises(ValueError, match="one class"):
        model().fit(blobs.features, ["ant"] * 300)

"""purify by a bilevel method, from files to files."""

import pytest
from purify_runs import Listener, purify_features, purify_images

from labelfix import contract, inputs
from labelfix.errors import InputError
from labelfix.workflows import purify
from labelfix.workflows.settings import PurifyConfig


@pytest.fixture
def few_steps(monkeypatch):
    from labelfix.predictors.bilevel import registry

    monkeypatch.setattr(registry, "FEATURE_STEPS", 60)
    monkeypatch.setattr(registry, "IMAGE_EPOCHS", 2)


@pytest.mark.parametrize("method", ["mlc", "vri"])
def test_a_bilevel_method_from_files_to_files(feature_files, tmp_path, few_steps, method):
    files, listener = feature_files(), Listener()
    summary = purify_features(files, tmp_path / "run", listener, method=method)
    assert listener.tasks[1].startswith(f"purify ({method}, ")
    learning = summary["training_log"]
    assert set(learning) == ({"mlc", "mlc-teacher"} if method == "mlc" else {"vri"})
    assert len(learning[method]["folds"]) == 5
    assert set(summary["predictor_losses"]) == set(learning)
    after = summary["evidence"]["label_accuracy_after"]["value"]
    assert after > summary["evidence"]["label_accuracy_before"]["value"]
    assert not (tmp_path / "run" / "stages" / "purify" / "checkpoints").exists()
    again = Listener()
    purify_features(files, tmp_path / "run", again, method=method)
    assert again.tasks == []


def test_a_bilevel_method_trains_on_the_images_themselves(
    image_files, tmp_path, few_steps, monkeypatch
):
    from labelfix.predictors import bilevel_students

    monkeypatch.setattr(bilevel_students, "may_mirror", lambda *of: False)
    folder, listener = image_files(), Listener()
    settings = {"method": "emlc", "learn_from": "images", "pretrain": "none"}
    summary = purify_images(folder, tmp_path / "run", listener, **settings)
    assert "purify (emlc, 2 epochs a fold)" in listener.tasks
    assert any(line.startswith("emlc: images are not mirrored") for line in listener.lines)
    assert len(contract.read_labels(tmp_path / "run")) == 60
    assert {"emlc", "emlc-teacher"} == set(summary["training_log"])


def test_diagnostics_are_said(feature_files, tmp_path, few_steps, monkeypatch):
    from labelfix.predictors import bilevel_students

    def quiet(*args, **settings):
        found = real(*args, **settings)
        found.training_log.diagnostics.append("the roof is on fire (in 1 of 5 folds)")
        return found

    real, listener = bilevel_students.cross_fit, Listener()
    monkeypatch.setattr(bilevel_students, "cross_fit", quiet)
    summary = purify_features(feature_files(), tmp_path / "run", listener, method="clid")
    assert "clid: the roof is on fire (in 1 of 5 folds)" in listener.lines
    assert "the roof is on fire (in 1 of 5 folds)" in summary["training_log"]["clid"]["diagnostics"]


@pytest.mark.parametrize("method", ["mlc", "emlc", "ebomlc"])
def test_label_correctors_need_checked_rows(feature_files, tmp_path, method):
    files = feature_files()
    dataset = inputs.read(files.data, features=files.features)
    with pytest.raises(InputError, match="there are no checked rows"):
        purify.purify_dataset(dataset, tmp_path / "run", PurifyConfig(method=method))


def test_an_upper_loss_goes_with_methods_that_take_one():
    assert PurifyConfig(method="mw-net", upper_loss="mae").upper_loss == "mae"
    with pytest.raises(InputError, match="--upper-loss does not go with --method mlc"):
        PurifyConfig(method="mlc", upper_loss="mae")
    with pytest.raises(InputError, match="--upper-loss is 'hinge'; use one of auto, ce-clean"):
        PurifyConfig(method="mw-net", upper_loss="hinge")
    with pytest.raises(InputError, match="--learn-from is 'text'"):
        PurifyConfig(learn_from="text")

"""What runs on an accelerator gives what the CPU gives; skipped where there is none."""

import numpy as np
import pytest
import torch

import labelfix
from labelfix.equations.tangents import log_prob_tangent
from labelfix.features.neighbours import nearest
from labelfix.features.standardise import Design
from labelfix.predictors import dmlp
from labelfix.predictors.kernel_ridge import KernelColumns, KernelRidge
from labelfix.workflows import purify
from labelfix.workflows.retrain import RetrainConfig, train_on
from labelfix.workflows.settings import PurifyConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_closed_forms_agree(blobs):
    made = blobs(rows=600)
    there, here = (
        dmlp.out_of_fold(made.features, made.annotations, device=device).log_probabilities
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(there, here, atol=2e-2)
    there, here = (
        KernelRidge(KernelColumns(design), made.given, made.folds, 3).nested()
        for design in (Design.of(made.features, device) for device in ("cuda", "cpu"))
    )
    np.testing.assert_allclose(there, here, atol=1e-3)


def test_neighbours_agree(blobs):
    features = blobs(rows=600).features
    here, there = nearest(features), nearest(features, device="cuda")
    np.testing.assert_allclose(there.similarities, here.similarities, atol=1e-5)
    assert (there.rows == here.rows).mean() > 0.99


def test_a_tangent_agrees_and_survives_bf16():
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 4)
    )
    x, direction = torch.randn(32, 8), {n: torch.randn_like(p) for n, p in net.named_parameters()}

    def tangent(device):
        there = net.to(device)
        values = dict(there.named_parameters()), dict(there.named_buffers())
        moved = {name: value.to(device) for name, value in direction.items()}
        return log_prob_tangent(there, *values, x.to(device), moved)[1].cpu()

    here, there = tangent("cpu"), tangent("cuda")
    assert torch.allclose(there, here, rtol=1e-2, atol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        rough = tangent("cuda")
    assert float(torch.cosine_similarity(rough.flatten(), here.flatten(), 0)) > 0.99


@pytest.mark.parametrize("method", ["auto", "clid", "mlc", "ebomlc", "emlc", "mw-net"])
def test_purify_mends_labels(blobs, method):
    made = blobs(rows=600, checked=90)
    audited = {row: int(made.right[row]) for row in range(90)}
    found = labelfix.purify(
        made.features, made.given, audited=audited, method=method, device="cuda"
    )
    unseen = np.arange(600) >= 90
    before, after = (labels == made.right for labels in (made.given, found.labels))
    assert after[unseen].mean() > before[unseen].mean() + 0.1


@pytest.mark.parametrize("method", ["ce", "dividemix", "elr", "coteaching", "hrp", "fixmatch"])
def test_images_are_purified_and_retrained(image_files, tmp_path, method):
    from labelfix import inputs
    from labelfix.workflows.corrected_dataset import CorrectedDataset

    folder = image_files()
    dataset = inputs.read(folder / "data.csv", folder / "clean.csv")
    config = PurifyConfig(pretrain="none", backbone="smallconv", device="cuda", method="dmlp")
    purify.purify_dataset(dataset, tmp_path / "run", config)
    (tmp_path / "scratch").mkdir()
    found = CorrectedDataset.open(tmp_path / "run", tmp_path / "scratch", test=folder / "test.csv")
    metrics = train_on(
        found, tmp_path / "out", RetrainConfig(method=method, epochs=2, device="cuda")
    )
    assert 0 <= metrics.test.value <= 1

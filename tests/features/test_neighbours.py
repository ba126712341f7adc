"""The nearest-neighbour graph against brute force."""

import faiss
import numpy as np
import pytest
import torch

from labelfix.features import neighbours
from labelfix.features.neighbours import NeighbourConfig, TorchSearch, nearest


def brute_force(features, count):
    centred = features.astype(np.float64) - features.astype(np.float64).mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1)[:, :count]
    return order, np.take_along_axis(cosines, order, 1)


def clusters(rows=600, columns=20, seed=0):
    random = np.random.default_rng(seed)
    centres = 3 * random.normal(size=(8, columns))
    drawn = centres[random.integers(0, 8, rows)] + random.normal(size=(rows, columns)) + 5
    return drawn.astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 10])
def test_small_data_are_exact(count, dtype):
    features = clusters().astype(dtype)
    expected, cosines = brute_force(features, count)
    graph = nearest(features, NeighbourConfig(neighbours=count))
    assert graph.rows.dtype == np.int32
    assert graph.similarities.dtype == np.float32
    np.testing.assert_allclose(graph.similarities, cosines, atol=1e-5)
    assert (graph.rows == expected).mean() > 0.99  # ties within rounding may swap


CELLS = {"exact_rows": 100, "cell_rows": 20, "probes": 12, "columns": 10, "neighbours": 10}


def test_cells_find_most():
    features = clusters(2000)
    expected, cosines = brute_force(features, 10)
    graph = nearest(features, NeighbourConfig(**CELLS))
    found = [len(set(a) & set(b)) / 10 for a, b in zip(expected, graph.rows, strict=True)]
    assert np.mean(found) > 0.8
    assert (graph.similarities <= cosines[:, :1] + 1e-5).all()
    assert (np.diff(graph.similarities, axis=1) <= 1e-6).all()
    assert (graph.rows != np.arange(2000)[:, None]).all()


def test_two_runs_agree_and_memory_maps_do(tmp_path):
    features = clusters(2000)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    first, second = (nearest(data, NeighbourConfig(**CELLS)) for data in (features, mapped))
    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.similarities, second.similarities)


def test_a_limited_bank():
    graph = nearest(clusters(), NeighbourConfig(bank_rows=50, neighbours=5))
    assert len(np.unique(graph.rows)) <= 50
    assert graph.rows.shape == (600, 5)
    assert (graph.rows != np.arange(600)[:, None]).all()


def test_lengths_beyond_float32_are_no_trouble():
    features = clusters()
    expected, large = nearest(features), nearest(features * np.float32(2.0**120))
    assert np.array_equal(large.rows, expected.rows)
    assert np.array_equal(large.similarities, expected.similarities)


def test_more_neighbours_than_rows():
    assert nearest(clusters(5), NeighbourConfig(neighbours=50)).rows.shape == (5, 4)


def test_too_few_found():
    config = NeighbourConfig(
        exact_rows=1, cell_rows=3, probes=1, columns=3, neighbours=20, shortlist=1
    )
    graph = nearest(clusters(60), config)
    missing = ~np.isfinite(graph.similarities)
    assert missing.any()
    assert ((graph.rows >= 0) & (graph.rows < 60)).all()


def test_bad_input():
    with pytest.raises(ValueError, match="no neighbours"):
        nearest(np.ones((1, 2)))
    with pytest.raises(ValueError, match="probes"):
        NeighbourConfig(probes=0)


# --- on a GPU: FAISS where it can, else torch -----------------------------------------------------


def test_faiss_searches_on_a_gpu_where_it_can(monkeypatch):
    features, moved = clusters(300), []

    def to_gpu(resources, device, index):
        moved.append((resources, device))
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", to_gpu, raising=False)
    graph = nearest(features, NeighbourConfig(exact_rows=1, neighbours=5), "cuda")
    assert moved == [("resources", 0)]
    np.testing.assert_allclose(graph.similarities, brute_force(features, 5)[1], atol=1e-5)


@pytest.fixture
def torch_search(monkeypatch):
    """What a CUDA device without FAISS's GPU build does, on the CPU; counts the blocks."""
    blocks = []

    class Here(TorchSearch):
        def __init__(self, vectors, device):
            assert torch.device(device).type == "cuda"
            super().__init__(vectors, "cpu")

        def _products(self, queries_BD):
            blocks.append(len(queries_BD))
            return super()._products(queries_BD)

    monkeypatch.setattr(neighbours, "TorchSearch", Here)
    return blocks


@pytest.mark.parametrize("count", [1, 10])
def test_torch_searches_on_a_gpu_where_faiss_cannot(count, torch_search):
    features = clusters()
    expected, cosines = brute_force(features, count)
    graph = nearest(features, NeighbourConfig(exact_rows=1, neighbours=count), "cuda")
    assert torch_search == [600]
    np.testing.assert_allclose(graph.similarities, cosines, atol=1e-5)
    assert (graph.rows == expected).mean() > 0.99  # ties within rounding may swap


def test_torch_holds_few_products_at_a_time(torch_search, monkeypatch):
    features = clusters()
    whole = nearest(features, device="cuda")
    monkeypatch.setattr(neighbours, "PRODUCT_BYTES", 4 * 600 * 7 + 3)  # seven queries and a bit
    torch_search.clear()
    graph = nearest(features, device="cuda")
    assert torch_search == [7] * 85 + [5]
    np.testing.assert_allclose(graph.similarities, whole.similarities, atol=1e-6)
    monkeypatch.setattr(neighbours, "PRODUCT_BYTES", 1)
    assert nearest(clusters(20), device="cuda").rows.shape == (20, 19)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_duplicates_and_constant_rows(device, torch_search):
    features = np.ones((6, 3), np.float32)
    features[3:] = -1
    graph = nearest(features, NeighbourConfig(neighbours=2), device)
    assert [set(row) for row in graph.rows] == [{1, 2}, {0, 2}, {0, 1}, {4, 5}, {3, 5}, {3, 4}]
    assert np.isfinite(nearest(np.ones((4, 3)), device=device).similarities).all()


def test_both_searches_agree_on_a_limited_bank(torch_search):
    features, config = clusters(), NeighbourConfig(bank_rows=50, neighbours=5)
    by_faiss, by_torch = nearest(features, config), nearest(features, config, "cuda")
    assert (by_faiss.rows == by_torch.rows).mean() > 0.99
    np.testing.assert_allclose(by_faiss.similarities, by_torch.similarities, atol=1e-6)

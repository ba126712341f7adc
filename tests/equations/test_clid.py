"""CLID by hand, against naive loops, and its gradients in float64."""

import math

import pytest
import torch
from tensors import draw

from labelfix.equations.clid import clid_loss, neighbour_target, neighbour_weights, row_clid


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def naive_clid(z, q, tau):
    """Eq. 7 to 9, entry by entry."""
    m, total = len(z), 0.0
    for i in range(m):
        ge = [math.exp(cosine(z[i], z[j]) / tau) for j in range(m)]
        gq = [cosine(q[i], q[j]) for j in range(m)]
        total -= sum(gq[j] / sum(gq) * math.log(ge[j] / sum(ge)) for j in range(m))
    return total / m**2


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_equals_the_naive_loop(batch, tau):
    z, q = draw(batch, 5), torch.softmax(draw(batch, 3, seed=1), 1)
    found = clid_loss(z, q, temperature=tau)
    assert float(found) == pytest.approx(naive_clid(z, q, tau), rel=1e-12, abs=1e-15)


def test_by_hand():
    z = torch.eye(2).double()  # orthogonal embeddings: Ge = [e, 1] / (e + 1)
    near, far = -math.log(math.e / (math.e + 1)), -math.log(1 / (math.e + 1))
    apart, alike = torch.eye(2).double(), torch.full((2, 2), 0.5).double()
    assert float(clid_loss(z, apart, temperature=1.0)) == pytest.approx(near / 2)
    assert float(clid_loss(z, alike, temperature=1.0)) == pytest.approx((near + far) / 4)


def test_labels_that_follow_the_features_diverge_less():
    z = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]]).double()
    one_hot = torch.eye(2).double()
    assert clid_loss(z, one_hot[[0, 0, 1, 1]]) < clid_loss(z, one_hot[[0, 1, 0, 1]])


def test_stop_gradient():
    z, logits = draw(5, 3).requires_grad_(), draw(5, 4, seed=1).requires_grad_()
    clid_loss(z, torch.softmax(logits, 1)).backward()
    assert z.grad is None
    assert logits.grad is not None
    clid_loss(z, torch.softmax(logits, 1), stop_embedding_gradient=False).backward()
    assert z.grad is not None


def test_gradients():
    z, logits = draw(4, 3).requires_grad_(), draw(4, 3, seed=1).requires_grad_()

    def loss(z, logits):
        return clid_loss(z, torch.softmax(logits, 1), stop_embedding_gradient=False)

    assert torch.autograd.gradcheck(loss, (z, logits))


def test_rows_by_hand():
    similarities = torch.tensor([[0.5, 0.5, -math.inf], [-math.inf] * 3]).double()
    weights = neighbour_weights(similarities, 0.1)
    assert weights.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    found = row_clid(weights, torch.tensor([[1.0, 0.5, 1.0], [1.0, 1.0, 1.0]]).double(), tiny=1e-3)
    assert found.tolist() == pytest.approx([-math.log(0.75), -math.log(1e-3)])


def test_rows_equal_the_naive_loop():
    cosines = torch.tanh(draw(6, 4))
    labels, ranks = torch.softmax(draw(6, 3, seed=1), 1), torch.arange(24).view(6, 4) % 6
    agreement = torch.einsum("nk,nmk->nm", labels, labels[ranks])
    found = row_clid(neighbour_weights(cosines, 0.2), agreement)
    for i in range(6):
        scale = sum(math.exp(float(s) / 0.2) for s in cosines[i])
        total = sum(
            math.exp(float(cosines[i, m]) / 0.2) / scale * float(labels[i] @ labels[ranks[i, m]])
            for m in range(4)
        )
        assert float(found[i]) == pytest.approx(-math.log(total), rel=1e-12)


def test_target_has_the_row_forms_gradient():
    logits = draw(5, 4).requires_grad_()
    votes = torch.rand(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    p = torch.softmax(logits, 1)
    (expected,) = torch.autograd.grad(-(p * votes).sum(1).log().sum(), logits)
    target = neighbour_target(p, votes)
    assert torch.allclose(p - target, expected, atol=1e-14)
    assert torch.allclose(target.sum(1), torch.ones(5).double())
    assert torch.equal(neighbour_target(p, 0 * votes), p)


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_bad_temperature(tau):
    with pytest.raises(ValueError, match="temperature"):
        clid_loss(draw(2, 2), torch.eye(2).double(), temperature=tau)
    with pytest.raises(ValueError, match="temperature"):
        neighbour_weights(draw(2, 2), tau)


def test_bad_lengths():
    with pytest.raises(ValueError, match="embeddings"):
        clid_loss(draw(3, 2), torch.eye(2).double())

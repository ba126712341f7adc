"""HRP's losses: RAM's sampling against its stated limits, CDCL against a naive loop."""

import math

import pytest
import torch

from labelfix.equations import hrp_losses as eq
from labelfix.equations.mixup import sample_beta


def drawn(total, partner, count=4000, **settings):
    """Lambdas of the first pair, many times."""
    shapes = eq.mixup_shapes(torch.tensor(total), torch.tensor(partner), 4.0, **settings)
    wide = (shape[:1].repeat(count) for shape in shapes)
    return sample_beta(*wide, torch.Generator().manual_seed(0))


def test_equal_reliabilities_mix_symmetrically():
    first, second = eq.mixup_shapes(torch.tensor([0.7, 0.7]), torch.tensor([1, 0]), 4.0)
    assert first.tolist() == pytest.approx([2, 2], rel=1e-5)
    assert second.tolist() == pytest.approx([2, 2], rel=1e-5)
    found = drawn([0.7, 0.7], [1, 0])
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    # closer to the ends than the usual Beta(4, 4), whose standard deviation is 1/6
    assert float(found.std()) > 1 / 6 + 0.03


@pytest.mark.parametrize(("total", "end"), [([2.0, 0.02], 1.0), ([0.02, 2.0], 0.0)])
def test_the_mixture_lies_at_the_far_more_reliable_row(total, end):
    found = drawn(total, [1, 0])
    assert float((found - end).abs().median()) < 1e-4
    assert float((found - end).abs().mean()) < 0.03


def test_more_reliable_rows_weigh_more_the_larger_the_gap():
    means = [float(drawn([r, 1.0], [1, 0]).mean()) for r in (0.25, 1.0, 3.0)]
    assert means == pytest.approx([0.2, 0.5, 0.75], abs=0.02)


def test_two_weak_rows_mix_but_hardly_count():
    low = torch.tensor([0.1, 0.1])
    gate = eq.pair_gate(low, torch.tensor([1, 0]), torch.tensor([0.3, 0.9]))
    assert gate.tolist() == pytest.approx([0.1, 0.1])
    logits, target = torch.zeros(2, 4), torch.eye(4)[:2]
    strong = eq.ram_loss(logits, target, torch.ones(2))
    assert float(eq.ram_loss(logits, target, gate)) == pytest.approx(0.1 * float(strong))


def test_the_symmetric_ablation_ignores_reliability():
    first, second = eq.mixup_shapes(
        torch.tensor([2.0, 0.1]), torch.tensor([1, 0]), 4.0, symmetric=True
    )
    assert first.tolist() == second.tolist() == [2, 2]


def test_bounds_gate_and_starvation_by_hand():
    alpha, beta = torch.tensor([0.0, 0.3, 5.0]), torch.tensor([0.02, 0.4, 0.0])
    total = eq.total_reliability(alpha, beta, 0.1, 2.0)
    assert total.tolist() == pytest.approx([0.1, 0.7, 2.0])
    gate = eq.pair_gate(total, torch.tensor([2, 0, 1]), torch.tensor([0.5, 1.0, 0.0]))
    assert gate.tolist() == pytest.approx([1.05, 0.7, 0.7])
    assert not eq.is_starved(total, 0.1)
    sunk = torch.tensor([0.1, 0.1, 0.12])
    assert eq.is_starved(sunk, 0.1)
    assert torch.equal(eq.restored_gate(gate, torch.tensor(False)), gate)
    restored = eq.restored_gate(sunk, torch.tensor(True))
    assert float(restored.mean()) == pytest.approx(1)
    assert restored.argmax() == 2
    with pytest.raises(ValueError, match="low"):
        eq.total_reliability(alpha, beta, 0.0, 1.0)


def test_above_chance():
    found = eq.above_chance(torch.tensor([0.25, 1.0, 0.625]), 4)
    assert found.tolist() == pytest.approx([0, 1, 0.5])


def test_unit_range():
    assert eq.unit_range(torch.tensor([2.0, 4.0, 3.0])).tolist() == pytest.approx([0, 1, 0.5])
    assert eq.unit_range(torch.full((3,), 0.2)).tolist() == [1, 1, 1]


def naive_cdcl(z, classes, sure, gate, temperature):
    """Eq. 11 and 12, read aloud."""
    z = [row / row.norm() for row in z]
    anchors = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if classes[p] == classes[i] and sure[p] and sure[i]]
        if not positives:
            continue
        scale = math.log(sum(math.exp(float(z[i] @ z[a]) / temperature) for a in others))
        terms = [
            float(gate[i] * gate[p]) * (float(z[i] @ z[p]) / temperature - scale) for p in positives
        ]
        anchors.append(-sum(terms) / len(positives))
    return sum(anchors) / len(anchors) if anchors else 0.0


def cdcl_input(seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    classes = torch.randint(3, (8,), generator=generator)
    sure = torch.rand(8, generator=generator) < 0.7
    gate = torch.rand(8, generator=generator, dtype=torch.float64)
    return z, classes, sure, gate


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_cdcl_is_the_naive_loop(seed, temperature):
    z, classes, sure, gate = cdcl_input(seed)
    found = eq.cdcl_loss(z, classes, sure, gate, temperature)
    assert float(found) == pytest.approx(naive_cdcl(z, classes, sure, gate, temperature))


def test_cdcl_gradient_and_edges():
    z, classes, sure, gate = cdcl_input()
    assert torch.autograd.gradcheck(
        lambda z: eq.cdcl_loss(z, classes, sure, gate, 0.5), (z.requires_grad_(),)
    )
    nobody = eq.cdcl_loss(z, classes, torch.zeros(8, dtype=torch.bool), gate, 0.5)
    assert nobody.item() == 0
    nobody.backward()
    with pytest.raises(ValueError, match="temperature"):
        eq.cdcl_loss(z, classes, sure, gate, 0.0)


def test_reweighting_and_consistency_by_hand():
    logits = torch.tensor([[0.5, 0.5], [0.2, 0.8]]).double().log()
    target = torch.eye(2).double()
    total = torch.tensor([0.5, 1.5]).double()
    found = eq.reweighted_cross_entropy(logits, target, total, 0.8)
    expected = (0.6 * math.log(2) - 1.4 * math.log(0.8)) / 2
    assert float(found) == pytest.approx(expected)
    plain = eq.reweighted_cross_entropy(logits, target, total, 0.0)
    assert float(plain) == pytest.approx((math.log(2) - math.log(0.8)) / 2)
    strong = logits.flip(1).requires_grad_()
    weak = logits.clone().requires_grad_()
    loss = eq.view_consistency_loss(strong, weak)
    assert loss.item() == pytest.approx(
        (math.log(2) - 0.2 * math.log(0.8) - 0.8 * math.log(0.2)) / 2
    )
    loss.backward()
    assert weak.grad is None
    assert torch.autograd.gradcheck(lambda s: eq.view_consistency_loss(s, logits), (strong,))
    assert torch.autograd.gradcheck(
        lambda s: eq.reweighted_cross_entropy(s, target, total, 0.8), (strong,)
    )

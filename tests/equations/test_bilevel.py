"""Equations of the bilevel methods against hand-computed values, torch.optim and naive loops."""

import math

import pytest
import torch
import torch.nn.functional as F
from tensors import draw

from labelfix.equations import ebomlc, emlc, mlc, reweighting, virtual_step
from labelfix.equations.clid import clid_loss, star_clid_loss
from labelfix.equations.weight_vectors import combine, inner
from labelfix.predictors.bilevel.student import look_ahead, pull_back

# --- directions -----------------------------------------------------------------------------


def test_directions():
    left = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[3.0]])}
    right = {"b": torch.tensor([[5.0]]), "a": torch.tensor([4.0, -1.0])}
    assert float(inner(left, right)) == 4 - 2 + 15
    assert float(inner({}, right)) == 0
    summed = combine(left, 2.0, right)
    assert summed["a"].tolist() == [9.0, 0.0]
    assert summed["b"].tolist() == [[13.0]]


# --- virtual step ---------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.02),
    "heavy ball": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "dampened": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.4),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.05, betas=(0.8, 0.95)),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_look_ahead_is_the_optimizers_own_step(name, steps_before):
    part = draw(4, 3).requires_grad_()
    optimizer = OPTIMIZERS[name]([part])
    for seed in range(steps_before):
        part.grad = draw(4, 3, seed=seed + 1)
        optimizer.step()
    gradient = draw(4, 3, seed=9)
    ahead, _ = look_ahead(optimizer, {"w": part}, {"w": gradient})
    assert ahead["w"].requires_grad
    part.grad = gradient
    optimizer.step()
    assert torch.allclose(ahead["w"], part, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_look_ahead_may_start_elsewhere(name):
    part, elsewhere, gradient = draw(4, 3).requires_grad_(), draw(4, 3, seed=7), draw(4, 3, seed=9)
    optimizer = OPTIMIZERS[name]([part])
    part.grad = draw(4, 3, seed=1)
    optimizer.step()
    before = part.detach().clone()
    ahead, _ = look_ahead(optimizer, {"w": part}, {"w": gradient}, {"w": elsewhere})
    assert torch.equal(part, before)
    with torch.no_grad():
        part.copy_(elsewhere)
    part.grad = gradient
    optimizer.step()
    assert torch.allclose(ahead["w"], part, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_the_slope_is_the_steps_derivative(name, steps_before):
    """Against central differences of look_ahead itself."""
    part = draw(5).requires_grad_()
    optimizer = OPTIMIZERS[name]([part])
    for seed in range(steps_before):
        part.grad = draw(5, seed=seed + 1)
        optimizer.step()
    gradient, upper = draw(5, seed=9), draw(5, seed=10)
    _, slopes = look_ahead(optimizer, {"w": part}, {"w": gradient})
    found = pull_back(slopes, {"w": upper})["w"]
    for entry in range(5):
        move = torch.zeros(5, dtype=torch.float64)
        move[entry] = 1e-5
        ends = [
            look_ahead(optimizer, {"w": part}, {"w": gradient + sign * move})[0]["w"]
            for sign in (1, -1)
        ]
        change = ((ends[0] - ends[1]) / 2e-5 * upper).sum()
        assert float(found[entry]) == pytest.approx(-float(change.detach()), rel=1e-4, abs=1e-9)


def test_adam_at_a_gradient_of_zero():
    step = virtual_step.adam(torch.ones(1), torch.zeros(1), None, None, 0, lr=0.1, eps=0.5)
    assert step.value.tolist() == [1.0]
    assert float(step.slope) == pytest.approx(0.1 / 0.5)


def test_other_optimizers_are_refused():
    part = torch.ones(2, requires_grad=True)
    for optimizer in (torch.optim.Adagrad([part]), torch.optim.Adam([part], amsgrad=True)):
        with pytest.raises(TypeError, match="no virtual step"):
            look_ahead(optimizer, {"w": part}, {"w": torch.ones(2)})


# --- MLC ------------------------------------------------------------------------------------


def test_teacher_gradient_is_a_sum_over_rows():
    parameter = draw(3).requires_grad_()
    unused = draw(2).requires_grad_()
    logits, tangent = draw(6, 4, seed=1), draw(6, 4, seed=2)
    targets = (logits * parameter.sum() + parameter[0]).softmax(1) / 6
    found, none = mlc.teacher_gradient(targets, [parameter, unused], tangent)
    expected = torch.zeros(3, dtype=torch.float64)
    for row in range(6):
        for code in range(4):
            again = (logits * parameter.sum() + parameter[0]).softmax(1) / 6
            (slope,) = torch.autograd.grad(again[row, code], parameter)
            expected += tangent[row, code] * slope
    assert torch.allclose(found, expected, atol=1e-12)
    assert none.tolist() == [0, 0]


def test_lower_loss_has_no_gradient_for_the_targets():
    targets, logs = draw(3, 2).requires_grad_(), draw(3, 2, seed=1).requires_grad_()
    loss = mlc.lower_loss(targets, logs)
    assert float(loss.detach()) == pytest.approx(-float((targets * logs).sum().detach()))
    loss.backward()
    assert targets.grad is None
    assert torch.equal(logs.grad, -targets.detach())


def test_projected_discount():
    before, after = {"w": torch.tensor([3.0, 4.0])}, {"w": torch.tensor([5.0, 0.0])}
    assert float(mlc.projected_discount(after, before, 0.2)) == pytest.approx(0.8 * 15 / 25)
    assert float(mlc.projected_discount(before, before, 0.0)) == pytest.approx(1.0)


# --- EMLC -----------------------------------------------------------------------------------


def test_gated_targets():
    p = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    found = emlc.gated_targets(torch.tensor([0.25, 1.0]), torch.tensor([0, 1]), p)
    assert torch.allclose(found, torch.tensor([[0.25 + 0.15, 0.6], [0.0, 1.0]]))


def test_step_discounts_are_the_oldest_first():
    assert emlc.step_discounts(0.1, 3) == pytest.approx([0.81, 0.9, 1.0])
    with pytest.raises(ValueError, match="rate"):
        emlc.step_discounts(1.5, 2)


def test_corrupted_labels_are_wrong():
    labels = torch.arange(200) % 5
    wrong = emlc.random_wrong_labels(labels, 5, torch.Generator().manual_seed(0))
    assert not (wrong == labels).any()
    assert len(wrong[labels == 0].unique()) == 4
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], requires_grad=True)
    assert emlc.strongest_wrong_labels(p, torch.tensor([0, 2])).tolist() == [1, 1]


def test_gate_loss():
    found = emlc.gate_loss(torch.tensor([0.0, 2.0]), torch.tensor([True, False]))
    assert float(found) == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)


# --- EBOMLC ---------------------------------------------------------------------------------


def test_barrier_on_quadratics():
    """F = (w - 3)^2 / 2 and G = (w - alpha)^2 / 2 at w = 1, alpha = 2, one step of rate 0.5.

    grad_w F = -2; grad_w Q = w - alpha = -1; w* = 1.5; grad_alpha Q = (alpha - w) - (alpha - w*)
    = 0.5, so |grad Q|^2 = 1.25, and with delta = 2: beta = max(2 - 2 / 1.25, 0) = 0.4.
    """
    w, alpha = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 2.0))
    lower = 0.5 * (w - alpha) ** 2
    stepped = (w - 0.5 * (w - alpha)).detach()
    value = lower - 0.5 * (stepped - alpha) ** 2
    value_w, value_a = torch.autograd.grad(value, (w, alpha))
    (upper_w,) = torch.autograd.grad(0.5 * (w - 3) ** 2, w)
    assert (float(value_w), float(value_a)) == (-1.0, 0.5)
    size = value_w**2 + value_a**2
    beta = ebomlc.barrier_coefficient(upper_w * value_w, size, 2.0)
    assert float(beta) == pytest.approx(0.4)
    direction = combine({"w": upper_w}, 0.5 * beta, {"w": value_w})["w"]  # xi = 0.5, Eq. 13
    assert float(direction) == pytest.approx(-2 - 0.2)
    assert float(ebomlc.barrier_coefficient(upper_w * value_w, size, 0.25)) == 0.0
    against = ebomlc.barrier_coefficient(-upper_w * value_w, size, 0.25)
    assert float(against) == pytest.approx(0.25 + 1.6)


def test_barrier_where_the_value_is_flat():
    beta = ebomlc.barrier_coefficient(torch.tensor(0.0), torch.tensor(0.0), 0.25)
    assert float(beta) == 0.25


def test_mixture_loss():
    student = torch.tensor([[0.5, 0.5], [0.1, 0.9]]).log()
    teacher = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    labels = torch.tensor([0, 0])
    found = ebomlc.mixture_loss(student, teacher, labels, 0.25)
    expected = -(math.log(0.25 * 0.5 + 0.75 * 0.8) + math.log(0.25 * 0.1 + 0.75 * 0.4)) / 2
    assert float(found) == pytest.approx(expected)
    alone = ebomlc.mixture_loss(student, teacher, labels, 1)
    assert float(alone) == pytest.approx(float(F.nll_loss(student, labels)))


def test_mixture_loss_gradients():
    student = draw(4, 3).requires_grad_()
    teacher = draw(4, 3, seed=1).softmax(1).requires_grad_()
    labels = torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(
        lambda s, t: ebomlc.mixture_loss(s.log_softmax(1), t, labels, 0.2), (student, teacher)
    )


# --- weights and rectification ----------------------------------------------------------------


def test_weighted_targets():
    found = reweighting.weighted_targets(torch.tensor([1.0, 3.0]), torch.eye(3)[[2, 0]])
    assert found.tolist() == [[0, 0, 0.25], [0.75, 0, 0]]


def test_rectified_targets_are_the_losss_slope():
    logs = draw(5, 4).log_softmax(1).requires_grad_()
    vectors = draw(5, 4, seed=1).sigmoid()
    labels = torch.tensor([0, 1, 2, 3, 0])
    (slope,) = torch.autograd.grad(reweighting.rectified_loss(logs, vectors, labels), logs)
    found = reweighting.rectified_targets(logs.detach(), vectors, labels)
    assert torch.allclose(found, -slope, atol=1e-14)


def test_rectifying_by_ones_is_cross_entropy():
    logs, labels = draw(5, 4).log_softmax(1), torch.tensor([0, 1, 2, 3, 0])
    loss = reweighting.rectified_loss(logs, torch.ones(5, 4).double(), labels)
    assert float(loss) == pytest.approx(float(F.nll_loss(logs, labels)))


def test_gaussian_divergence():
    zero = torch.zeros(1)
    assert float(reweighting.gaussian_divergence(zero, zero, zero, zero)) == 0
    one, half = torch.ones(1), torch.tensor([math.log(2.0)])
    found = reweighting.gaussian_divergence(one, zero, zero, half)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(1.0, 1.0), torch.distributions.Normal(0.0, 2.0)
    )
    assert float(found) == pytest.approx(float(expected))


# --- sparse CLID ------------------------------------------------------------------------------


def test_star_clid_against_loops():
    z, p = draw(3, 4, 6), draw(3, 4, 5, seed=1).softmax(-1)
    total = 0.0
    for a in range(3):
        cosines = [float(F.cosine_similarity(z[a, 0], z[a, m], dim=0)) for m in range(4)]
        agree = [float(F.cosine_similarity(p[a, 0], p[a, m], dim=0)) for m in range(4)]
        norm = sum(math.exp(c / 0.5) for c in cosines)
        for m in range(4):
            total -= agree[m] / sum(agree) * math.log(math.exp(cosines[m] / 0.5) / norm)
    assert float(star_clid_loss(z, p)) == pytest.approx(total / 12)


def test_star_clid_of_one_star_of_all_rows_is_clids_row():
    z, p = draw(1, 4, 6), draw(1, 4, 5, seed=1).softmax(-1)
    order = [torch.roll(torch.arange(4), -a) for a in range(4)]
    stars = torch.stack([z[0, o] for o in order]), torch.stack([p[0, o] for o in order])
    assert float(star_clid_loss(*stars)) == pytest.approx(float(clid_loss(z[0], p[0])))


def test_star_clid_gradients():
    z = draw(2, 3, 4)
    logits = draw(2, 3, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: star_clid_loss(z, x.softmax(-1)), logits)

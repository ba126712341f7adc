"""The teachers' gradients against double backward through the optimizers' own formulas."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from bilevel_oracles import (
    NOISY,
    NORMS,
    OPTIMIZERS,
    ROWS,
    K,
    caught,
    double_backward,
    leaves,
    literal_inner,
    literal_step,
    relative,
    snapshot,
    trainer_of,
    upper_of,
)
from builders import step_of
from tensors import draw
from torch import nn
from torch.func import functional_call

from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.emlc import EMLC
from labelfix.predictors.bilevel.l2rw import L2RW
from labelfix.predictors.bilevel.meta_weight_net import MetaWeightNet
from labelfix.predictors.bilevel.mlc import MLC


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("rule", "teacher", "upper"),
    [
        (MLC(), "corrector", "ce-clean"),
        (MLC(), "gated", "ce-clean"),
        (MetaWeightNet(), "weights", "ce-clean"),
        (MetaWeightNet(), "weights", "clid"),
        (MetaWeightNet(), "rectifier", "clid"),
    ],
)
def test_one_step_equals_double_backward(rule, teacher, upper, norm, optimizer):
    made = trainer_of(rule, teacher, norm=norm, optimizer=optimizer, upper=upper)
    found, before = caught(made)
    expected = double_backward(made, before, optimizer, upper, torch.arange(6))
    if teacher == "rectifier":
        own = literal_divergence(made.teacher, made.data.batch(torch.arange(6), None))
        parts = torch.autograd.grad(own, list(made.teacher.parameters()), materialize_grads=True)
        expected = [part + more for part, more in zip(expected, parts, strict=True)]
    assert relative(found, expected) < 1e-10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("upper", ["ce-clean", "clid"])
def test_l2rw_s_weights_equal_double_backward(upper, norm, optimizer):
    """Algorithm 1: the gradient for eps through a plain step, clipped and divided by its sum."""
    made = trainer_of(L2RW(), "none", norm=norm, optimizer=optimizer, upper=upper)
    before, steps = snapshot(made.student), []
    made.student.step = steps.append
    made.method.rule.step(made, torch.arange(6), step_of(seed=1))
    batch, weights = made.data.batch(torch.arange(6), None), leaves(before)
    buffers = {name: value.clone() for name, value in before["buffers"].items()}
    logits = functional_call(made.student.net, {**weights, **buffers}, (batch.x,))
    losses = F.cross_entropy(logits, batch.labels, reduction="none")
    eps = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    slopes = torch.autograd.grad((eps * losses).sum(), list(weights.values()), create_graph=True)
    ahead = {
        name: part - 0.3 * slope
        for (name, part), slope in zip(weights.items(), slopes, strict=True)
    }
    (found,) = torch.autograd.grad(upper_of(made, ahead, before, upper), eps, retain_graph=True)
    helpful = (-found).clamp_min(0)
    assert float(helpful.sum()) > 0
    expected = torch.autograd.grad((helpful / helpful.sum() * losses).sum(), list(weights.values()))
    assert relative(list(steps[0].values()), expected) < 1e-10


def literal_divergence(teacher, batch):
    """VRI's penalty: a hundredth of ``KL(posterior || prior)``, a class and row."""
    seen = torch.cat([batch.features, teacher.embedding(batch.labels)], dim=1)
    pairs = (teacher.posterior(seen).chunk(2, 1), teacher.prior(batch.features).chunk(2, 1))
    posterior, prior = (torch.distributions.Normal(mean, log.exp()) for mean, log in pairs)
    return 0.01 * torch.distributions.kl_divergence(posterior, prior).mean()


class OnlyMeta(EMLC):
    """EMLC without the teacher's own losses."""

    def own_loss(self, trainer, generator):
        return sum(part.sum() for part in trainer.teacher_parameters) * 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
def test_emlc_with_one_step_equals_double_backward(norm, optimizer):
    made = trainer_of(OnlyMeta(), "gated", norm=norm, optimizer=optimizer)
    found, before = caught(made)
    if norm == "train norm":  # the upper gradient is taken where the real step has led
        before["buffers"] = dict(made.student.net.named_buffers())
    expected = double_backward(made, before, optimizer, "ce-clean", torch.arange(6))
    assert relative(found, expected) < 1e-10


@pytest.mark.parametrize("adversarial", [True, False])
def test_emlc_corrupts_every_other_clean_label(adversarial):
    made = trainer_of(EMLC(adversarial=adversarial), "gated")
    clean = made.data.batch(torch.arange(NOISY, ROWS), None)
    logits = draw(len(clean.labels), K)
    logits[torch.arange(len(clean.labels)), clean.labels] = 9.0
    found = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        labels, kept = made.method.rule.corrupt(clean, logits, generator)
        assert kept.tolist() == [True, False] * (len(labels) // 2)
        assert torch.equal(labels == clean.labels, kept)
        found.append(labels[~kept])
    wrong = logits.scatter(1, clean.labels[:, None], -9.0).argmax(1)[~kept]
    assert all(torch.equal(labels, wrong) for labels in found) == adversarial
    if not adversarial:
        seen = torch.stack(found)
        assert all(len(seen[:, row].unique()) == K - 1 for row in range(seen.shape[1]))


def test_emlc_s_teacher_learns_from_its_own_losses_too():
    """Eq. 12: cross-entropy of clean rows, and the gate by whether the label is right."""
    whole, bare = trainer_of(EMLC(), "gated"), trainer_of(OnlyMeta(), "gated")
    drawn, draw_rows, strong = [], whole.meta_rows, []
    whole.meta_rows = lambda: drawn.append(draw_rows()) or drawn[-1]
    real = whole.data.strong_batch
    whole.data.strong_batch = lambda *words: strong.append(words[0]) or real(*words)
    found = [a - b for a, b in zip(caught(whole)[0], caught(bare)[0], strict=True)]
    assert len(strong) == 1  # AutoAugment's
    clean, teacher = whole.data.batch(drawn[1], None), whole.teacher
    body = teacher.net.backbone(clean.x)
    logits = teacher.net.head(body)
    wrong = logits.scatter(1, clean.labels[:, None], -torch.inf).argmax(1)
    kept = torch.arange(len(wrong)) % 2 == 0
    labels = torch.where(kept, clean.labels, wrong)
    odds = teacher.gate(torch.cat([body, teacher.embedding(labels)], dim=1))[:, 0]
    loss = F.cross_entropy(logits, clean.labels)
    loss = loss + F.binary_cross_entropy_with_logits(odds, kept.double())
    expected = torch.autograd.grad(loss, list(teacher.parameters()), materialize_grads=True)
    assert relative(found, expected) < 1e-10


def windowed(made, before, kind, steps):
    """Weights and the optimizer's state before each step of a window, and after the last."""
    points, states = [leaves(before)], [before]
    for number in range(steps):
        rows = torch.arange(6 * number, 6 * number + 6)
        slopes = literal_inner(made, points[-1], states[-1], rows, create_graph=False)
        after = literal_step(points[-1], slopes, states[-1], kind)
        states.append(advanced(states[-1], points[-1], slopes, kind))
        points.append({name: part.detach().requires_grad_() for name, part in after.items()})
    return points, states


def advanced(before, weights, slopes, kind):
    """The optimizer's buffers after a step."""
    group, state = before["group"], []
    for old, g, w in zip(before["state"], slopes, weights.values(), strict=True):
        if kind == "adam":
            b1, b2 = group["betas"]
            moments = {
                "step": old["step"] + 1,
                "exp_avg": b1 * old["exp_avg"] + (1 - b1) * g,
                "exp_avg_sq": b2 * old["exp_avg_sq"] + (1 - b2) * g * g,
            }
            state.append(moments)
        elif group["momentum"]:
            g = g + group["weight_decay"] * w.detach()
            state.append({"momentum_buffer": group["momentum"] * old["momentum_buffer"] + g})
        else:
            state.append(old)
    return before | {"state": state}


def one_term(made, state, point, rows, kind, direction):
    """``<direction, d w'(alpha) / d alpha>`` of one step, by double backward."""
    slopes = literal_inner(made, point, state, rows)
    ahead = literal_step(point, slopes, state, kind)
    product = sum((d * w).sum() for d, w in zip(direction, ahead.values(), strict=True))
    return torch.autograd.grad(product, list(made.teacher.parameters()), materialize_grads=True)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_emlc_with_three_steps_equals_the_unrolled_oracle(norm, optimizer):
    """Eq. 11: every tangent with the weights, the batch and the targets of its own step."""
    made = trainer_of(OnlyMeta(), "gated", norm=norm, optimizer=optimizer, student_steps=3)
    found, before = caught(made, steps=3)
    points, states = windowed(made, before, optimizer, 3)
    last = points.pop()
    upper = upper_of(made, last, before, "ce-clean")
    direction = torch.autograd.grad(upper, list(last.values()))
    discount = 1 - made.student.rate()
    expected = None
    for number, point in enumerate(points):
        rows = torch.arange(6 * number, 6 * number + 6)
        term = one_term(made, states[number], point, rows, optimizer, direction)
        term = [discount ** (2 - number) * part for part in term]
        expected = (
            term if expected is None else [a + b for a, b in zip(expected, term, strict=True)]
        )
    assert relative(found, expected) < 1e-10


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlc_with_three_steps_equals_the_unrolled_oracle(norm, optimizer):
    made = trainer_of(MLC(), "corrector", norm=norm, optimizer=optimizer, student_steps=3)
    found, before = caught(made, steps=3)
    points, states = windowed(made, before, optimizer, 3)
    directions = [
        torch.autograd.grad(upper_of(made, point, before, "ce-clean"), list(point.values()))
        for point in points[1:]
    ]
    expected = None
    for number, (point, direction) in enumerate(zip(points[:3], directions, strict=True)):
        rows = torch.arange(6 * number, 6 * number + 6)
        term = one_term(made, states[number], point, rows, optimizer, direction)
        if expected is not None:
            old = directions[number - 1]
            along = sum((a * b).sum() for a, b in zip(direction, old, strict=True))
            discount = (1 - made.student.rate()) * along / sum((b * b).sum() for b in old)
            term = [new + discount * past for new, past in zip(term, expected, strict=True)]
        expected = term
    assert relative(found, expected) < 1e-10


def test_a_meta_step_moves_no_running_statistics_but_the_students_own():
    made = trainer_of(MLC(), "corrector", norm="train norm")
    before = {name: part.clone() for name, part in made.student.net.named_buffers()}
    caught(made)
    after = dict(made.student.net.named_buffers())
    assert int(after["backbone.1.num_batches_tracked"]) == (
        int(before["backbone.1.num_batches_tracked"]) + 1
    )


def test_dropout_of_the_tangent_is_the_steps_own():
    made = trainer_of(MLC(), "corrector")
    net = made.student.net
    net.backbone[2] = nn.Sequential(nn.Tanh(), nn.Dropout(0.5))
    x = draw(6, 3, 6, 6)
    made.student.log_probs(x)
    direction = {name: part.detach() for name, part in made.student.parameters.items()}
    one, two = made.student.tangent(x, direction), made.student.tangent(x, direction)
    assert torch.equal(one, two)
    made.student.log_probs(x)
    assert not torch.equal(one, made.student.tangent(x, direction))


def test_bad_settings_are_refused_by_name():
    for name, value in {
        "lr": 0,
        "batch": 0,
        "warm_up": 1,
        "optimizer": "lbfgs",
        "tolerance": -1,
    }.items():
        with pytest.raises(ValueError, match=name):
            replace(BilevelConfig(), **{name: value})


def test_a_step_forgets_what_was_remembered():
    made = trainer_of(MLC(), "corrector")
    student, batch = made.student, made.data.batch(torch.arange(6), None)
    direction = {name: torch.ones_like(part) for name, part in student.parameters.items()}
    gradient = student.gradient(student.log_probs(batch.x, remember=True).square().mean())
    student.step(gradient)
    there = student.tangent(batch.x, direction)
    student.log_probs(batch.x, remember=True)
    assert torch.allclose(student.tangent(batch.x, direction), there, rtol=1e-12, atol=1e-14)

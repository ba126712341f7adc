"""The barrier rules' directions against plain autograd."""

from dataclasses import replace

import pytest
import torch
from bilevel_oracles import (
    NORMS,
    OPTIMIZERS,
    leaves,
    literal_inner,
    literal_step,
    relative,
    snapshot,
    trainer_of,
)
from builders import step_of
from torch.func import functional_call

from labelfix.predictors.bilevel.ebomlc import EBOMLC, MLC_D


def literal_barrier(made, before, kind, clean_rows):
    """Algorithm 2 of EBOMLC by plain autograd: the two directions and beta."""
    rule, net, teacher = made.method.rule, made.student.net, made.teacher
    batch, clean = made.data.batch(torch.arange(6), None), made.data.batch(clean_rows, None)
    weights = leaves(before)

    def forward(parameters, x):
        buffers = {name: value.clone() for name, value in before["buffers"].items()}
        return functional_call(net, {**parameters, **buffers}, (x,)).log_softmax(1)

    def lower(parameters):
        labels = teacher.corrected(batch, forward(weights, batch.x).detach())
        return -(labels * forward(parameters, batch.x)).sum(1).mean()

    slopes = torch.autograd.grad(lower(weights), list(weights.values()))
    stepped = {n: w.detach() for n, w in literal_step(weights, slopes, before, kind).items()}
    value = lower(weights) - lower(stepped)
    logs = forward(weights, clean.x)
    teacher_p = teacher.corrected(clean, logs.detach())
    mixed = rule.rho * logs.exp() + (1 - rule.rho) * teacher_p
    upper = -mixed.gather(1, clean.labels[:, None]).log().mean()
    alpha = list(teacher.parameters())
    both = [*weights.values(), *alpha]
    value_grad = torch.autograd.grad(value, both, materialize_grads=True)
    upper_grad = torch.autograd.grad(upper, both, materialize_grads=True)
    split = len(weights)
    dot = sum((f * q).sum() for f, q in zip(upper_grad[:split], value_grad[:split], strict=True))
    beta = max(rule.delta - float(dot / sum((q * q).sum() for q in value_grad)), 0.0)
    directions = [f + rule.xi * beta * q for f, q in zip(upper_grad, value_grad, strict=True)]
    return directions[:split], directions[split:], beta


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "rule", [EBOMLC, replace(MLC_D, inner_steps=1), replace(EBOMLC, delta=2.0)]
)
def test_barrier_directions_equal_the_literal_ones(rule, norm, optimizer):
    made = trainer_of(rule, "corrector", norm=norm, optimizer=optimizer)
    steps, found = [], []
    made.student.step, made.move_teacher = steps.append, found.append
    drawn = []
    draw_rows = made.meta_rows
    made.meta_rows = lambda: drawn.append(draw_rows()) or drawn[-1]
    before = snapshot(made.student)
    metrics = made.method.rule.step(made, torch.arange(6), step_of(seed=1))
    if norm == "train norm":  # the noisy batch has moved the statistics; in training mode they
        assert made.student.net.training  # do not matter to what follows
    w, alpha, beta = literal_barrier(made, before, optimizer, drawn[0])
    assert float(metrics["barrier"]) == pytest.approx(beta, rel=1e-9)
    assert relative(list(steps[0].values()), w) < 1e-10
    assert relative(found[0], alpha) < 1e-10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlc_d_s_inner_steps_equal_the_literal_ones(optimizer):
    made = trainer_of(MLC_D, "corrector", optimizer=optimizer)
    seen, real, draw_rows = [], made.student.replayed, made.more_rows
    made.student.replayed = lambda weights, x: seen.append(weights) or real(weights, x)
    rows = [torch.arange(6)]
    made.more_rows = lambda size: rows.append(draw_rows(size)) or rows[-1]
    made.move_teacher = lambda gradient: None
    before = snapshot(made.student)
    made.method.rule.step(made, rows[0], step_of(seed=1))
    assert len(rows) == 5
    assert len({tuple(some.tolist()) for some in rows}) == 5
    weights = leaves(before)
    for some in rows:
        slopes = literal_inner(made, weights, before, some, create_graph=False)
        stepped = literal_step(weights, slopes, before, optimizer)
        weights = {name: part.detach().requires_grad_() for name, part in stepped.items()}
    found, expected = ([part.detach() for part in some.values()] for some in (seen[0], weights))
    assert relative(found, expected) < 1e-10


def test_mlc_d_looks_five_steps_ahead():
    made = trainer_of(MLC_D, "corrector")
    seen, real = [], made.student.replayed
    made.student.replayed = lambda weights, x: seen.append(weights) or real(weights, x)
    before = snapshot(made.student)["weights"]
    made.method.rule.step(made, torch.arange(6), step_of(seed=1))
    one = trainer_of(replace(MLC_D, inner_steps=1), "corrector")
    near, real_one = [], one.student.replayed
    one.student.replayed = lambda weights, x: near.append(weights) or real_one(weights, x)
    one.method.rule.step(one, torch.arange(6), step_of(seed=1))
    far, close = (
        sum(float((now[name].detach() - before[name]).square().sum()) for name in before) ** 0.5
        for now in (seen[0], near[0])
    )
    assert far > 2 * close > 0

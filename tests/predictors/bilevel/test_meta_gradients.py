"""Every rule's teacher gradient against double backward through the literal equations, float64."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from builders import step_of
from lightning_fabric import Fabric
from tensors import draw
from torch import nn
from torch.func import functional_call

from labelfix.equations.clid import clid_loss
from labelfix.predictors.bilevel.config import BilevelConfig, BilevelMethod
from labelfix.predictors.bilevel.ebomlc import EBOMLC, MLC_D
from labelfix.predictors.bilevel.emlc import EMLC
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.meta_weight_net import MetaWeightNet
from labelfix.predictors.bilevel.mlc import MLC
from labelfix.predictors.bilevel.teachers import GatedTeacher, LabelCorrector, Rectifier, WeightNet
from labelfix.predictors.bilevel.trainer import FoldTrainer

K, D, ROWS, NOISY = 4, 7, 32, 24


class Pictures:
    """Rows for the tests: float64 images."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def to(self, device):
        return self

    def train_batch(self, rows, generator):
        return self.x[rows]

    def test_batch(self, rows):
        return self.x[rows]


class Net(nn.Module):
    """A convnet with or without BatchNorm, smooth, so that double backward is exact."""

    def __init__(self, norm):
        super().__init__()
        middle = nn.BatchNorm2d(5) if norm else nn.Identity()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 5, 3), middle, nn.Tanh(), nn.Flatten(), nn.Linear(80, 6), nn.Softplus()
        )
        self.head = nn.Linear(6, K)

    def forward(self, x):
        return self.head(self.backbone(x))


TEACHERS = {
    "corrector": lambda task: LabelCorrector(D, K, hidden=8).double(),
    "gated": lambda task: GatedTeacher(Net(False), K, hidden=8).double(),
    "weights": lambda task: WeightNet(hidden=9).double(),
    "rectifier": lambda task: Rectifier(D, K, hidden=8).double(),
}
NORMS = {"no norm": (False, True), "eval norm": (True, False), "train norm": (True, True)}
OPTIMIZERS = {
    "sgd": {"momentum": 0.0, "lr": 0.1},
    "momentum": {"momentum": 0.9, "lr": 0.1, "weight_decay": 0.01},
    "adam": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.01},
}


def trainer(rule, teacher, *, norm="no norm", optimizer="sgd", upper="ce-clean", **changes):
    """A trainer on random rows, whose student's optimizer has taken steps before."""
    torch.manual_seed(0)
    has_norm, train = NORMS[norm]
    source, frozen = Pictures(draw(ROWS, 3, 6, 6, seed=1)), Pictures(draw(ROWS, D, seed=2))
    labels = torch.arange(ROWS).numpy() % K
    checked = labels.copy()
    checked[:NOISY] = -1
    given = labels.copy()
    given[NOISY:] = -1
    task = FoldTask(
        source=source, frozen=frozen, given=given, checked=checked,
        folds=(labels * 0 - 1).astype("int8"), classes=K,
        make_student=lambda: Net(has_norm).double(),
    )  # fmt: skip
    config = BilevelConfig(meta_rows=8, meta_batch=8, batch=6, **OPTIMIZERS[optimizer] | changes)
    plan = BilevelMethod(rule=rule, make_teacher=TEACHERS[teacher], upper=upper, config=config)
    made = FoldTrainer(Fabric(accelerator="cpu", devices=1), task=task, plan=plan, fold=0)
    student = made.student
    for seed in (5, 6):  # momentum and moments, and running statistics, as after some training
        x, y = draw(6, 3, 6, 6, seed=seed), torch.arange(6) % K
        student.step(student.gradient(F.cross_entropy(student.net(x), y)))
    made.modules["student"].train(train)
    made.random = torch.Generator().manual_seed(3)
    return made


def caught(made, steps=1):
    """The teacher's gradient of one step of the rule, and the student's weights before it."""
    found = []
    made.move_teacher = found.append
    before = snapshot(made.student)
    made.plan.rule.step(made, torch.arange(6 * steps), step_of(seed=1))
    assert len(found) == 1
    return found[0], before


def snapshot(student):
    net, optimizer = student.net, student.optimizer
    return {
        "weights": {name: part.detach().clone() for name, part in net.named_parameters()},
        "buffers": {name: part.clone() for name, part in net.named_buffers()},
        "state": [
            {key: torch.as_tensor(value).clone() for key, value in optimizer.state[part].items()}
            for part in net.parameters()
        ],
        "group": dict(optimizer.param_groups[0]),
    }


def literal_step(weights, slopes, before, kind):
    """The optimizers' formulas, differentiable."""
    group, after = before["group"], {}
    for (name, w), g, state in zip(weights.items(), slopes, before["state"], strict=True):
        lr, decay = group["lr"], group["weight_decay"]
        if kind == "adam":
            b1, b2 = group["betas"]
            t = float(state["step"]) + 1
            m = (b1 * state["exp_avg"] + (1 - b1) * g) / (1 - b1**t)
            v = (b2 * state["exp_avg_sq"] + (1 - b2) * g * g) / (1 - b2**t)
            after[name] = w * (1 - lr * decay) - lr * m / (v.sqrt() + group["eps"])
        else:
            g, mu = g + decay * w, group["momentum"]
            b = mu * state["momentum_buffer"] + g if mu else g
            after[name] = w - lr * (g + mu * b if mu else b)
    return after


def literal_inner(made, weights, before, rows, create_graph=True):
    """Gradient of the lower loss at some weights, with its graph to the teacher."""
    made.student.net.load_state_dict(before["buffers"], strict=False)
    batch = made.data.batch(rows, None)
    buffers = {name: value.clone() for name, value in before["buffers"].items()}
    logits = functional_call(made.student.net, {**weights, **buffers}, (batch.x,))
    logs = logits.log_softmax(1)
    generator = torch.Generator().manual_seed(1)
    targets = made.teacher.targets(batch, logs.detach(), generator)
    loss = -(targets * logs).sum()
    return torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph)


def upper_of(made, weights, before, upper):
    """The upper loss on all meta rows, at some weights."""
    rows = torch.arange(NOISY, ROWS) if upper == "ce-clean" else made.upper.rows
    batch = made.data.batch(rows, None)
    buffers = {name: value.clone() for name, value in before["buffers"].items()}
    logits = functional_call(made.student.net, {**weights, **buffers}, (batch.x,))
    if upper == "clid":
        return clid_loss(batch.features, logits.softmax(1))
    return F.cross_entropy(logits, batch.labels)


def leaves(before):
    return {name: value.clone().requires_grad_() for name, value in before["weights"].items()}


def double_backward(made, before, kind, upper, rows):
    """d upper(w'(alpha)) / d alpha as written."""
    weights = leaves(before)
    slopes = literal_inner(made, weights, before, rows)
    ahead = literal_step(weights, slopes, before, kind)
    value = upper_of(made, ahead, before, upper)
    return torch.autograd.grad(value, list(made.teacher.parameters()), materialize_grads=True)


def relative(found, expected):
    flat, right = (torch.cat([part.flatten() for part in parts]) for parts in (found, expected))
    assert float(right.norm()) > 0
    return float((flat - right).norm() / right.norm())


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
    made = trainer(rule, teacher, norm=norm, optimizer=optimizer, upper=upper)
    found, before = caught(made)
    expected = double_backward(made, before, optimizer, upper, torch.arange(6))
    if teacher == "rectifier":
        own = literal_divergence(made.teacher, made.data.batch(torch.arange(6), None))
        parts = torch.autograd.grad(own, list(made.teacher.parameters()), materialize_grads=True)
        expected = [part + more for part, more in zip(expected, parts, strict=True)]
    assert relative(found, expected) < 1e-10


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
    made = trainer(OnlyMeta(), "gated", norm=norm, optimizer=optimizer)
    found, before = caught(made)
    if norm == "train norm":  # the upper gradient is taken where the real step has led
        before["buffers"] = dict(made.student.net.named_buffers())
    expected = double_backward(made, before, optimizer, "ce-clean", torch.arange(6))
    assert relative(found, expected) < 1e-10


@pytest.mark.parametrize("adversarial", [True, False])
def test_emlc_corrupts_every_other_clean_label(adversarial):
    made = trainer(EMLC(adversarial=adversarial), "gated")
    clean = made.data.batch(torch.arange(NOISY, ROWS), None)
    logits = draw(len(clean.labels), K)
    logits[torch.arange(len(clean.labels)), clean.labels] = 9.0
    found = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        labels, kept = made.plan.rule.corrupt(clean, logits, generator)
        assert kept.tolist() == [True, False] * (len(labels) // 2)
        assert torch.equal(labels == clean.labels, kept)
        found.append(labels[~kept])
    wrong = logits.scatter(1, clean.labels[:, None], -9.0).argmax(1)[~kept]
    assert all(torch.equal(labels, wrong) for labels in found) == adversarial
    if not adversarial:
        seen = torch.stack(found)
        assert all(len(seen[:, row].unique()) == K - 1 for row in range(seen.shape[1]))


def test_emlc_s_teacher_learns_from_its_own_losses_too():
    """Eq. 12: cross-entropy of clean rows, and the gate told right labels from wrong ones."""
    whole, bare = trainer(EMLC(), "gated"), trainer(OnlyMeta(), "gated")
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
    made = trainer(OnlyMeta(), "gated", norm=norm, optimizer=optimizer, student_steps=3)
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
    made = trainer(MLC(), "corrector", norm=norm, optimizer=optimizer, student_steps=3)
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
    made = trainer(MLC(), "corrector", norm="train norm")
    before = {name: part.clone() for name, part in made.student.net.named_buffers()}
    caught(made)
    after = dict(made.student.net.named_buffers())
    assert int(after["backbone.1.num_batches_tracked"]) == (
        int(before["backbone.1.num_batches_tracked"]) + 1
    )


def test_dropout_of_the_tangent_is_the_steps_own():
    made = trainer(MLC(), "corrector")
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
    made = trainer(MLC(), "corrector")
    student, batch = made.student, made.data.batch(torch.arange(6), None)
    direction = {name: torch.ones_like(part) for name, part in student.parameters.items()}
    gradient = student.gradient(student.log_probs(batch.x, remember=True).square().mean())
    student.step(gradient)
    there = student.tangent(batch.x, direction)
    student.log_probs(batch.x, remember=True)
    assert torch.allclose(student.tangent(batch.x, direction), there, rtol=1e-12, atol=1e-14)


# --- the barrier rules --------------------------------------------------------------------------


def literal_barrier(made, before, kind, clean_rows):
    """Algorithm 2 of EBOMLC by plain autograd: the two directions and beta."""
    rule, net, teacher = made.plan.rule, made.student.net, made.teacher
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
    made = trainer(rule, "corrector", norm=norm, optimizer=optimizer)
    steps, found = [], []
    made.student.step, made.move_teacher = steps.append, found.append
    drawn = []
    draw_rows = made.meta_rows
    made.meta_rows = lambda: drawn.append(draw_rows()) or drawn[-1]
    before = snapshot(made.student)
    metrics = made.plan.rule.step(made, torch.arange(6), step_of(seed=1))
    if norm == "train norm":  # the noisy batch has moved the statistics; in training mode they
        assert made.student.net.training  # do not matter to what follows
    w, alpha, beta = literal_barrier(made, before, optimizer, drawn[0])
    assert float(metrics["barrier"]) == pytest.approx(beta, rel=1e-9)
    assert relative(list(steps[0].values()), w) < 1e-10
    assert relative(found[0], alpha) < 1e-10


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlc_d_s_inner_steps_equal_the_literal_ones(optimizer):
    made = trainer(MLC_D, "corrector", optimizer=optimizer)
    seen, real, draw_rows = [], made.student.replayed, made.more_rows
    made.student.replayed = lambda weights, x: seen.append(weights) or real(weights, x)
    rows = [torch.arange(6)]
    made.more_rows = lambda size: rows.append(draw_rows(size)) or rows[-1]
    made.move_teacher = lambda gradient: None
    before = snapshot(made.student)
    made.plan.rule.step(made, rows[0], step_of(seed=1))
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
    made = trainer(MLC_D, "corrector")
    seen, real = [], made.student.replayed
    made.student.replayed = lambda weights, x: seen.append(weights) or real(weights, x)
    before = snapshot(made.student)["weights"]
    made.plan.rule.step(made, torch.arange(6), step_of(seed=1))
    one = trainer(replace(MLC_D, inner_steps=1), "corrector")
    near, real_one = [], one.student.replayed
    one.student.replayed = lambda weights, x: near.append(weights) or real_one(weights, x)
    one.plan.rule.step(one, torch.arange(6), step_of(seed=1))
    far, close = (
        sum(float((now[name].detach() - before[name]).square().sum()) for name in before) ** 0.5
        for now in (seen[0], near[0])
    )
    assert far > 2 * close > 0

"""Upper losses in retraining: learned weights and HRP's reliabilities follow each of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bilevel_oracles import NORMS, OPTIMIZERS, leaves, literal_step, relative, snapshot
from builders import draw_picture, make_blobs, step_of
from lightning_fabric import Fabric
from retrain_problems import accuracy, loop, problem_of
from tensors import draw
from torch import nn
from torch.func import functional_call

from labelfix.equations.clid import clid_loss
from labelfix.errors import InputError
from labelfix.nets.datasets import FeatureSource, ImageSource
from labelfix.predictors.bilevel.student import Student
from labelfix.predictors.bilevel.upper_losses import UPPER_LOSSES, ObjectiveConfig
from labelfix.retrain.learned_weights import LearnedWeights
from labelfix.retrain.objective import ProblemRows, RetrainObjective
from labelfix.retrain.problem import Problem, Targets
from labelfix.retrain.registry import METHODS, retrain, settings_of

FABRIC = Fabric(accelerator="cpu", devices=1)
K = 3


@pytest.mark.parametrize("upper_loss", UPPER_LOSSES)
@pytest.mark.parametrize("method", ["ce", "hrp"])
def test_every_upper_loss_steers_a_retraining(method, upper_loss):
    blobs = make_blobs(rows=240, noise=0.3, missing=20, checked=60)
    settings = settings_of(method, [f"upper_loss={upper_loss}"])
    found = retrain(method, problem_of(blobs), settings, loop=loop(10))
    assert accuracy(found.net, blobs) > 0.85


def test_an_upper_loss_looks_only_at_rows_in_view():
    blobs = make_blobs(rows=150, checked=40)
    usable = np.arange(150) % 3 > 0
    weights = usable.astype(np.float32)
    view = ProblemRows(problem_of(blobs, usable=usable, weights=weights), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    for name, upper_loss in UPPER_LOSSES.items():
        objective = upper_loss.build(view, ObjectiveConfig(rows=60))
        anchors = objective.rows[torch.randperm(len(objective.rows), generator=generator)[:9]]
        seen = torch.cat([objective.rows, objective.company(anchors)]).numpy()
        assert usable[seen].all(), name
        if upper_loss.needs == ("clean",):
            assert (blobs.checked[seen] >= 0).all()


@pytest.mark.parametrize("name", ["clid", "ce-clean"])
def test_the_direction_is_the_gradient_with_norms_and_dropout_frozen(name):
    blobs = make_blobs(rows=90, checked=30)
    problem = problem_of(blobs)
    objective = RetrainObjective(FABRIC, problem, name, 16, ObjectiveConfig())
    net = problem.make_net(0).train()
    student = Student(FABRIC, net, torch.optim.SGD(net.parameters(), lr=0.1))
    drawn, draw_rows = [], objective.meta.draw
    objective.meta.draw = lambda *a, **b: drawn.append(draw_rows(*a, **b)) or drawn[-1]
    value, direction = objective.gradient(student, student.parameters, torch.Generator())
    assert net.training
    net.eval()
    (rows,) = drawn
    x = problem.source.test_batch(rows)
    logits = net(x)
    right = torch.from_numpy(blobs.checked)[rows].long()
    expected = (
        F.cross_entropy(logits, right)
        if name == "ce-clean"
        else clid_loss(net.structure(x), logits.softmax(1))
    )
    assert float(value) == pytest.approx(float(expected.detach()), rel=1e-6)
    slopes = torch.autograd.grad(expected, list(net.parameters()))
    assert relative(list(direction.values()), slopes) < 1e-6


class Net(nn.Module):
    """A smooth net in float64, with or without BatchNorm."""

    def __init__(self, norm):
        super().__init__()
        middle = nn.BatchNorm1d(6) if norm else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(5, 6), middle, nn.Tanh(), nn.Linear(6, K)).double()

    def forward(self, x):
        return self.layers(x)

    def structure(self, x):
        return x


class Rows(FeatureSource):
    """Features in float64 as they are."""

    def __init__(self, features):
        self.features = features

    def to(self, device):
        return self

    def test_batch(self, rows):
        return torch.from_numpy(self.features)[rows]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("upper_loss", ["clid", "ce-clean"])
def test_the_weight_net_s_gradient_equals_double_backward(upper_loss, norm, optimizer):
    torch.manual_seed(0)
    has_norm, trains = NORMS[norm]
    net = Net(has_norm).train()
    settings = dict(OPTIMIZERS[optimizer])
    if settings.pop("optimizer", "sgd") == "adamw":
        trained_by = torch.optim.AdamW(net.parameters(), **settings)
    else:
        nesterov = settings["momentum"] > 0
        trained_by = torch.optim.SGD(net.parameters(), nesterov=nesterov, **settings)
    for seed in (5, 6):  # momentum and moments, as after some training
        F.cross_entropy(net(draw(8, 5, seed=seed)), torch.arange(8) % K).backward()
        trained_by.step()
        trained_by.zero_grad()
    labels = (np.arange(30) % K).astype(np.int32)
    problem = Problem(
        make_net=lambda number: net, source=Rows(draw(30, 5, seed=1).numpy()), images=False,
        batch_size=8,
        targets=Targets(
            soft_labels=np.eye(K, dtype=np.float32)[labels], weights=np.ones(30, np.float32),
            usable=np.ones(30, bool), clean=np.where(np.arange(30) < 12, labels, -1),
        ),
    )  # fmt: skip
    weights = LearnedWeights(FABRIC, problem, net, trained_by, upper_loss).double()
    x, targets = draw(8, 5, seed=2), draw(8, K, seed=3).softmax(1)
    net.train(trains)
    before, found = snapshot(weights.student), []
    meta, seen = weights.objective.meta, []
    meta.draw = lambda *a, **b: seen.append(torch.arange(12)) or seen[-1]
    weights.optimizer.step = lambda: found.extend(p.grad.clone() for p in weights.net.parameters())
    weights.update(x, targets, step_of(1, epochs=2, step=3, steps=6))
    assert len(seen) == 1
    after = snapshot(weights.student)
    assert all(torch.equal(after["buffers"][n], b) for n, b in before["buffers"].items())

    here = leaves(before)
    buffers = {name: value.clone() for name, value in before["buffers"].items()}
    logs = functional_call(net, {**here, **buffers}, (x,)).log_softmax(1)
    losses = -(targets * logs).sum(1)
    for part in weights.net.parameters():
        part.requires_grad_()
    raw = weights.net(losses.detach())
    loss = (raw / raw.sum() * losses).sum()
    slopes = torch.autograd.grad(loss, list(here.values()), create_graph=True)
    ahead = literal_step(here, slopes, before, optimizer)
    net.eval()
    buffers = {name: value.clone() for name, value in before["buffers"].items()}
    meta_x = torch.from_numpy(problem.source.features)[:12]
    logits = functional_call(net, {**ahead, **buffers}, (meta_x,))
    upper = (
        F.cross_entropy(logits, torch.from_numpy(labels)[:12].long())
        if upper_loss == "ce-clean"
        else clid_loss(meta_x, logits.softmax(1))
    )
    expected = torch.autograd.grad(upper, list(weights.net.parameters()))
    assert relative(found, expected) < 1e-9


def test_weights_move_when_they_are_due_and_after_the_warm_up():
    blobs = make_blobs(rows=60)
    problem = problem_of(blobs)
    net = problem.make_net(0)
    optimizer = torch.optim.AdamW(net.parameters())
    weights = LearnedWeights(FABRIC, problem, net, optimizer, "clid")
    moved = []
    weights.optimizer.step = lambda: moved.append((epoch, number))
    x, targets = problem.source.test_batch(torch.arange(20)), torch.eye(K)[torch.arange(20) % K]
    for epoch in range(3):
        for number in range(6):
            weights.update(x, targets, step_of(epoch, epochs=3, step=number, steps=6))
    assert moved == [(1, 3), (2, 2)]  # steps 9 and 14: every fifth, but for the first epoch's


def test_what_an_upper_loss_needs_is_asked_for_before_any_work():
    blobs = make_blobs(rows=60, checked=0)
    clean, sparse = (
        (method, settings_of(method, [f"upper_loss={name}"]))
        for method, name in (("ce", "ce-clean"), ("hrp", "clid-sparse"))
    )
    with pytest.raises(InputError, match="upper_loss=ce-clean is measured on checked rows"):
        retrain(clean[0], problem_of(blobs), clean[1], loop=loop(1))
    images = np.stack([draw_picture(row % 3, row) for row in range(60)])
    pictures = replace(problem_of(blobs), source=ImageSource(images), images=True)
    with pytest.raises(InputError, match="clid-sparse needs features, and the rows are images"):
        retrain(sparse[0], pictures, sparse[1], loop=loop(1))


def test_the_columns_that_a_training_reads_follow_its_upper_loss():
    plain, steered = (settings_of("ce", [f"upper_loss={name}"]) for name in ("mae", "ce-clean"))
    ce = METHODS["ce"]
    assert ce.columns(plain, purified=True) == ("soft_label", "weight")
    assert ce.columns(steered, purified=True) == ("soft_label", "weight", "decision")
    assert ce.columns(steered, purified=False) == ("given_label", "label", "decision")
    hrp = METHODS["hrp"]
    assert hrp.columns(settings_of("hrp", ["upper_loss=ce-clean"]), purified=True) == hrp.needs

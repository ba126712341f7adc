"""A small float64 trainer, and its steps written out for autograd."""

import torch
import torch.nn.functional as F
from builders import step_of
from lightning_fabric import Fabric
from tensors import draw
from torch import nn
from torch.func import functional_call

from labelfix.annotations import Annotations
from labelfix.equations.clid import clid_loss
from labelfix.predictors.bilevel.config import BilevelConfig
from labelfix.predictors.bilevel.fold_data import FoldTask
from labelfix.predictors.bilevel.method import BilevelMethod
from labelfix.predictors.bilevel.teachers import (
    GatedTeacher,
    LabelCorrector,
    NoTeacher,
    Rectifier,
    WeightTeacher,
)

K = 4  # classes


D = 7  # features


ROWS = 32


NOISY = 24  # of the rows; the others are checked


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
    "weights": lambda task: WeightTeacher(hidden=9).double(),
    "none": NoTeacher.for_task,
    "rectifier": lambda task: Rectifier(D, K, hidden=8).double(),
}


NORMS = {"no norm": (False, True), "eval norm": (True, False), "train norm": (True, True)}


OPTIMIZERS = {
    "sgd": {"momentum": 0.0, "lr": 0.1},
    "momentum": {"momentum": 0.9, "lr": 0.1, "weight_decay": 0.01},
    "adam": {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.01},
}


def trainer_of(rule, teacher, *, norm="no norm", optimizer="sgd", upper="ce-clean", **changes):
    """A trainer on random rows, whose student's optimizer has taken steps before."""
    torch.manual_seed(0)
    has_norm, train = NORMS[norm]
    source, frozen = Pictures(draw(ROWS, 3, 6, 6, seed=1)), Pictures(draw(ROWS, D, seed=2))
    labels = torch.arange(ROWS).numpy() % K
    clean = labels.copy()
    clean[:NOISY] = -1
    given = labels.copy()
    given[NOISY:] = -1
    task = FoldTask(
        source=source, frozen=frozen,
        annotations=Annotations.of(given, clean, (labels * 0 - 1).astype("int8"), K),
        make_student=lambda: Net(has_norm).double(),
    )  # fmt: skip
    config = BilevelConfig(meta_rows=8, meta_batch=8, batch=6, **OPTIMIZERS[optimizer] | changes)
    method = BilevelMethod(
        title="", rule=rule, make_teacher=TEACHERS[teacher], upper_loss=upper, config=config
    )
    made = method.build(Fabric(accelerator="cpu", devices=1), task=task, fold=0)
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
    made.method.rule.step(made, torch.arange(6 * steps), step_of(seed=1))
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
    rows = torch.arange(NOISY, ROWS) if upper == "ce-clean" else made.objective.rows
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

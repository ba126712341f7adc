"""What the training loop says of an epoch and of a step."""

from functools import partial

import pytest
import torch
from builders import step_of
from torch import nn

from labelfix.training.config import LoopConfig
from labelfix.training.loop import train


class Counting:
    """Notes where the loop says that it is, and is interrupted at a step."""

    manual_update = False

    def __init__(self, fabric, seen, stop_at=None):
        self.seen, self.left = seen, stop_at
        net = nn.Linear(1, 1)
        self.modules = {"net": net}
        self.optimizers = {"net": torch.optim.SGD(net.parameters(), lr=0.1)}

    def epoch_rows(self, context):
        self.seen.append((context.epoch, context.epochs))
        return torch.arange(50)

    def step(self, rows, context):
        self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            raise KeyboardInterrupt
        self.seen.append((context.epoch, context.epochs, context.step, context.steps))
        return {"loss": self.modules["net"](torch.ones(1, 1)).sum()}

    def evaluate(self, epoch):
        return {}


def config(**changes):
    return LoopConfig(epochs=3, batch_size=16, device="cpu", precision="32-true", **changes)


def test_the_loop_counts_epochs_and_steps_and_goes_on_counting(tmp_path):
    file, seen = tmp_path / "loop.pt", []
    interrupted = partial(Counting, seen=seen, stop_at=6)
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, config(checkpoint_seconds=0), checkpoint=file)
    assert seen == [(0, 3), *((0, 3, step, 3) for step in range(3)),
                    (1, 3), *((1, 3, step, 3) for step in range(2))]  # fmt: skip
    seen.clear()
    train(partial(Counting, seen=seen), config(), checkpoint=file)
    assert seen == [(1, 3, 2, 3), (2, 3), *((2, 3, step, 3) for step in range(3))]


def test_a_step_knows_its_number_and_the_share_that_is_over():
    step = step_of(4, epochs=11, step=2, steps=5)
    assert step.number == 22
    assert step.progress == pytest.approx(4.5 / 11)


def test_a_ramp_rises_between_two_shares_of_the_epochs():
    step = step_of(4, epochs=11)
    assert step.ramp(0.2, 0.4) == pytest.approx(0.5)
    assert (step.ramp(0.5, 0.4), step.ramp(0.1, 0.1), step.ramp(0.4, 0)) == (0, 1, 1)

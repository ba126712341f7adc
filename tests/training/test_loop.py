"""The training loop: resumption, failure, processes, schedule."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from labelfix.errors import DegenerateLearningError, InputError
from labelfix.nets.datasets import ImageStore
from labelfix.training import devices
from labelfix.training.config import LoopConfig
from labelfix.training.devices import (
    algebra_device,
    make_fabric,
    pick_device,
    pick_precision,
    seed_global,
)
from labelfix.training.loop import _run, train
from labelfix.training.worker import derive_seed, lr_factor
from labelfix.workflows.retrain import RetrainConfig
from labelfix.workflows.settings import PurifyConfig


class Regression:
    """Fits a small net with dropout to noise; `spoil_at` makes that step's loss infinite."""

    def __init__(self, fabric, *, store=None, manual=False, spoil_at=None, stop_at=None):
        self.fabric, self.manual_update = fabric, manual
        self.spoil_at, self.stop_at, self.steps = spoil_at, stop_at, 0
        self.store = store
        self.plain = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.modules = {"net": self.plain, "frozen": nn.Linear(2, 2).requires_grad_(False)}
        self.optimizers = {"net": torch.optim.SGD(self.plain.parameters(), lr=0.1, momentum=0.9)}

    def epoch_rows(self, context):
        return torch.arange(50)

    def step(self, rows, context):
        self.steps += 1
        if self.steps == self.stop_at:
            raise KeyboardInterrupt
        x = torch.randn(len(rows), 6, generator=context.generator, device=self.fabric.device)
        if self.store is not None:
            x = x + self.store[rows].float().mean(dim=(1, 2, 3))[:, None]
        loss = (self.modules["net"](x)[:, 0] - rows / 50).square().mean()
        if self.steps == self.spoil_at:
            loss = loss / 0
        if self.manual_update:
            self.optimizers["net"].zero_grad()
            self.fabric.backward(loss)
            self.optimizers["net"].step()
        return {"loss": loss, "rows": rows.float().mean()}

    def evaluate(self, epoch):
        self.plain.eval()  # and left so: the loop must set train mode again
        return {"weight": float(self.plain[0].weight.abs().sum())}


def config(**changes):
    settings = {"epochs": 3, "batch_size": 16, "seed": 5, "device": "cpu", "precision": "32-true"}
    return LoopConfig(**settings | changes)


def metrics(trained):
    return [report.metrics for report in trained.history]


def assert_same(first, second):
    assert metrics(first) == metrics(second)
    for name, state in first.modules.items():
        for key, value in state.items():
            assert torch.equal(value, second.modules[name][key]), (name, key)


@pytest.mark.parametrize("stop_at", [1, 2, 5, 7, 9])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, stop_at):
    whole = train(Regression, config())
    file = tmp_path / "loop.pt"
    with pytest.raises(KeyboardInterrupt):
        train(partial(Regression, stop_at=stop_at), config(checkpoint_seconds=0), checkpoint=file)
    seen = []
    resumed = train(Regression, config(), checkpoint=file, on_epoch=seen.append)
    assert_same(whole, resumed)
    assert len(seen) == (4 if stop_at == 1 else 3 - (stop_at - 1) // 3)
    assert not list(tmp_path.glob("*.partial"))


def test_a_finished_run_is_not_trained_again(tmp_path):
    file = tmp_path / "loop.pt"
    first = train(Regression, config(), checkpoint=file)
    assert_same(first, train(partial(Regression, stop_at=1), config(), checkpoint=file))


def test_reports_and_learning():
    seen = []
    trained = train(Regression, config(epochs=5), on_epoch=seen.append)
    assert [report.epoch for report in seen] == [0, 1, 2, 3, 4, 5]
    assert seen == trained.history
    assert set(seen[0].metrics) == {"weight"}
    assert set(seen[1].metrics) == {"loss", "rows", "weight"}
    assert seen[-1].metrics["loss"] < seen[1].metrics["loss"]


def test_the_seed_matters_and_the_global_generator_does_not():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = train(Regression, config())
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    assert_same(first, train(Regression, config()))
    assert metrics(first) != metrics(train(Regression, config(seed=6)))


def test_seeding_a_step_draws_what_torch_would():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**62 + 5)
        wanted = torch.rand(3)
        seed_global(2**62 + 5, torch.device("cpu"))
        assert torch.equal(torch.rand(3), wanted)


def test_a_method_may_update_itself():
    assert_same(train(Regression, config()), train(partial(Regression, manual=True), config()))


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    file = tmp_path / "loop.pt"
    with pytest.raises(DegenerateLearningError, match="epoch 2, step 2;"):
        train(partial(Regression, spoil_at=5), config(), checkpoint=file)
    assert not file.exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    file = tmp_path / "loop.pt"
    train(Regression, config(), checkpoint=file)
    with pytest.raises(InputError, match="another epochs, seed"):
        train(Regression, config(epochs=4, seed=1), checkpoint=file)
    file.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match="broken"):
        train(Regression, config(), checkpoint=file)


def test_a_batch_is_no_larger_than_the_rows():
    trained = train(Regression, config(epochs=1, batch_size=1000))
    assert trained.history[1].metrics["rows"] == pytest.approx(24.5)


@pytest.mark.slow
def test_two_processes(tmp_path, capfd):
    images = np.random.default_rng(0).integers(0, 3, (50, 4, 4, 3), dtype=np.uint8)
    build = partial(Regression, store=ImageStore(images))
    seen = []
    trained = train(build, config(devices=2), checkpoint=tmp_path / "a.pt", on_epoch=seen.append)
    assert seen == trained.history
    assert [report.epoch for report in seen] == [0, 1, 2, 3]
    assert_same(trained, train(build, config(devices=2), checkpoint=tmp_path / "b.pt"))
    one = train(build, config(), checkpoint=tmp_path / "c.pt")
    assert [r["rows"] for r in metrics(one)[1:]] == pytest.approx(
        [r["rows"] for r in metrics(trained)[1:]]
    )
    assert "distributed" not in "".join(capfd.readouterr())  # Fabric's banners tear progress bars


def knotted(fabric, **settings):
    """A method that only the garbage collector can drop."""
    made = Regression(fabric, **settings)
    made.itself = made
    return made


def gloo_threads():
    names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
    return sum("gloo" in name for name in names)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are looked up in /proc")
@pytest.mark.parametrize("spoil_at", [None, 5])
def test_the_threads_of_a_group_end_with_the_training(tmp_path, monkeypatch, spoil_at):
    """One that is left over aborts its process, now and then, while Python ends."""
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    fabric = Fabric(accelerator="cpu", devices=1, strategy=DDPStrategy())
    seen = []
    work = partial(
        _run, build=partial(knotted, spoil_at=spoil_at), config=config(),
        checkpoint=tmp_path / "loop.pt", tell=lambda report: seen.append(gloo_threads()),
    )  # fmt: skip
    failure = fabric.launch(work)
    assert (failure is None) == (spoil_at is None)
    assert min(seen) > 0
    assert gloo_threads() == 0


@pytest.mark.slow
def test_a_failure_in_a_worker_process_is_told(tmp_path):
    with pytest.raises(DegenerateLearningError, match="epoch 1, step 3;"):
        train(partial(Regression, spoil_at=3), config(devices=2), checkpoint=tmp_path / "a.pt")


_NODE = """
import sys
from functools import partial
from pathlib import Path
import torch
from tests.training.test_loop import Regression, config, train
if __name__ == "__main__":
    file, build = Path(sys.argv[1]), partial(Regression, spoil_at=int(sys.argv[2]))
    trained = train(build, config(num_nodes=2, checkpoint_seconds=0), checkpoint=file)
    torch.save(trained.modules, file.with_suffix(".end"))
"""


@pytest.mark.slow
def test_two_nodes_go_on_from_the_first_ones_checkpoint(tmp_path, two_nodes):
    script = tmp_path / "node.py"
    script.write_text(_NODE)
    command = [sys.executable, script, tmp_path / "loop{rank}.pt"]
    statuses, said = two_nodes(*command, 5)
    assert statuses == [1, 1]
    assert all("epoch 2, step 2;" in words for words in said)
    assert two_nodes(*command, 0)[0] == [0, 0]
    assert [file.name for file in tmp_path.glob("*.pt")] == ["loop0.pt"]
    whole = train(Regression, config(devices=2)).modules
    for rank in range(2):
        end = torch.load(tmp_path / f"loop{rank}.end", weights_only=True)
        for name, state in whole.items():
            assert all(torch.equal(value, end[name][key]) for key, value in state.items()), name


def test_schedule():
    factors = [lr_factor(p, warmup=0.2) for p in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert factors == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])
    assert lr_factor(0.9, warmup=0, schedule="constant") == 1.0


def test_seeds_differ():
    seeds = {
        derive_seed(s, e, t, r) for s in range(3) for e in range(3) for t in (0, 1) for r in (0, 1)
    }
    assert len(seeds) == 36
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"batch_size": 0}, {"warmup": 1.0}, {"schedule": "x"}, {"precision": "8"}],
)
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        config(**bad)


def test_closed_forms_leave_apple_gpus_alone(monkeypatch):
    monkeypatch.setattr(devices, "_has_mps", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "mps"
    assert algebra_device("auto").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert algebra_device("auto").type == "cuda"


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_precision(torch.device("cpu"), "bf16-mixed") == "bf16-mixed"
    with pytest.raises(InputError, match="unknown device"):
        pick_device("tpu9")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no cuda"):
            pick_device("cuda")


def test_hardware_is_asked_for_before_any_work():
    with pytest.raises(InputError, match="no 16-mixed"):
        PurifyConfig(device="cpu", precision="16-mixed")
    with pytest.raises(InputError, match="no 16-mixed"):
        RetrainConfig(device="cpu", precision="16-mixed")


def test_a_mixed_fabric_computes_in_bf16_and_does_not_announce_it(caplog):
    with caplog.at_level("INFO", logger="lightning_fabric"):
        fabric = make_fabric("cpu", 1, 1, "bf16-mixed")
        net = fabric.setup(torch.nn.Linear(3, 2), move_to_device=False)
        weighed = []
        net.module.register_forward_hook(lambda *passed: weighed.append(passed[2].dtype))
        net(torch.ones(1, 3))
    assert weighed == [torch.bfloat16]
    assert not caplog.records


def test_image_store(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 5, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    rows = torch.tensor([8, 0, 0, 3])
    for source in (images, np.load(tmp_path / "images.npy", mmap_mode="r")):
        store = ImageStore(source)
        assert np.array_equal(store[rows].numpy(), images[rows.numpy()])
        copy = ImageStore.__new__(ImageStore)
        copy.__setstate__(store.__getstate__())
        assert np.array_equal(copy[rows].numpy(), images[rows.numpy()])
    assert store.size == 5
    with pytest.raises(InputError, match="uint8"):
        ImageStore(images.astype(np.float32))

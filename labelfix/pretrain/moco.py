"""MoCo-v2: a momentum encoder makes the keys, a queue keeps those of earlier batches.

Source: He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning",
Algorithm 1; Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning" (the
two-layer head and the stronger augmentation).

BatchNorm would let a query recognise its key by the statistics that both share. The paper
shuffles the keys' batch over several GPUs; here, in one process as in many, the keys are shuffled
and encoded in groups, so each key's statistics come from other images than its query's.

Differs: the loss is symmetric by default (each view is query and key once); the momentum and the
queue's length suit few epochs on small data: the queue holds at most half of the images.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.contrastive import info_nce
from labelfix.nets.backbones import Backbone
from labelfix.nets.datasets import ImageStore
from labelfix.nets.views import ViewConfig, simclr_view
from labelfix.pretrain.projection import ContrastiveConfig, Evaluate, ProjectedNet, make_optimizer
from labelfix.ranges import AtLeastOne, Share, Within
from labelfix.training.config import EpochContext, StepContext


@dataclass(frozen=True, kw_only=True)
class MocoConfig(ContrastiveConfig):
    """MoCo's settings.

    Attributes:
        queue: most keys in the queue, >= 1; lowered to half of the images.
        key_momentum: share of the momentum encoder kept in a step, in [0, 1].
        group: keys that are encoded, and normalised, together, >= 2.
        symmetric: whether both views serve as queries.
    """

    queue: AtLeastOne = 4096
    key_momentum: Share = 0.99
    group: Annotated[int, Within(2)] = 64
    symmetric: bool = True


class KeyQueue(nn.Module):
    """The last keys of earlier batches, as buffers, so that a checkpoint holds them.

    Args:
        length: M, keys.
        features: D.
    """

    keys: Tensor
    position: Tensor

    def __init__(self, length: int, features: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(length, features), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Overwrites the oldest keys with (B, D) new ones, or with the last M of them."""
        keys = keys[-len(self.keys) :]
        places = (self.position + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys[places] = keys
        self.position.copy_((self.position + len(keys)) % len(self.keys))


class Moco:
    """The method for the training loop; module "net" is a `ProjectedNet`.

    Args:
        fabric: of the worker process.
        backbone: what is trained.
        store: the images; all rows are used.
        config: settings.
        view: the augmentation.
        batch_size: rows a step over all processes.
        evaluate: measures the backbone between epochs.
    """

    manual_update = False

    def __init__(
        self,
        fabric: Fabric,
        backbone: Backbone,
        store: ImageStore,
        *,
        config: MocoConfig,
        view: ViewConfig,
        batch_size: int,
        evaluate: Evaluate,
    ) -> None:
        self.fabric, self.backbone, self.store = fabric, backbone, store.to(fabric.device)
        self.config, self.view, self._evaluate = config, view, evaluate
        self.net = ProjectedNet(backbone, config)
        self.key_net = deepcopy(self.net).requires_grad_(False).train()
        self.queue = KeyQueue(max(1, min(config.queue, len(store) // 2)), config.projection)
        self.modules: dict[str, nn.Module] = {
            "net": self.net, "key_net": self.key_net, "queue": self.queue,
        }  # fmt: skip
        self.optimizers: dict[str, Optimizer] = {
            "net": make_optimizer(self.net, config, batch_size)
        }

    def epoch_rows(self, context: EpochContext) -> Tensor:
        return torch.arange(len(self.store))

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        views = simclr_view(self.store[rows.repeat(2)], self.view, context.generator)
        one, two = views.chunk(2)
        self._follow()
        if self.config.symmetric:
            queries = self.modules["net"](views)
            keys = self._encode_keys(torch.cat([two, one]), context.generator)
        else:
            queries, keys = self.modules["net"](one), self._encode_keys(two, context.generator)
        loss = info_nce(queries, keys, self.queue.keys.clone(), self.config.temperature)
        gathered = self.fabric.all_gather(keys)
        assert isinstance(gathered, Tensor)
        self.queue.push(gathered.reshape(-1, keys.shape[1]))
        return {"loss": loss}

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the momentum encoder's weights towards the trained ones (Eq. 2)."""
        share = 1 - self.config.key_momentum
        for key, trained in zip(self.key_net.parameters(), self.net.parameters(), strict=True):
            key.lerp_(trained, share)

    @torch.no_grad()
    def _encode_keys(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """Keys of unit length (B, D), encoded in shuffled groups of about `group` images."""
        order = torch.randperm(len(views), generator=generator, device=views.device)
        groups = order.chunk(max(1, len(views) // self.config.group))
        with self.fabric.autocast():
            encoded = torch.cat([self.key_net(views[group]) for group in groups])
        keys = torch.empty_like(encoded, dtype=torch.float32)
        keys[order] = F.normalize(encoded.float(), dim=1)
        return keys

    def evaluate(self, epoch: int) -> dict[str, float]:
        return self._evaluate(self.backbone, epoch)

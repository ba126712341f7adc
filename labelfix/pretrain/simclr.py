"""SimCLR: two views of an image attract, all other views of the batch repel.

Source: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
Algorithm 1. With several processes the views of all of them are compared, gradients included.

Differs: SGD with square-root scaling, not LARS, which needs batches of thousands to pay.
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.equations.contrastive import nt_xent
from labelfix.nets.backbones import Backbone
from labelfix.nets.datasets import ImageStore
from labelfix.nets.views import ViewConfig, simclr_view
from labelfix.pretrain.projection import ContrastiveConfig, Evaluate, ProjectedNet, make_optimizer
from labelfix.training.config import EpochContext, StepContext


class Simclr:
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
        config: ContrastiveConfig,
        view: ViewConfig,
        batch_size: int,
        evaluate: Evaluate,
    ) -> None:
        self.fabric, self.backbone, self.store = fabric, backbone, store.to(fabric.device)
        self.config, self.view, self._evaluate = config, view, evaluate
        net = ProjectedNet(backbone, config)
        self.modules: dict[str, nn.Module] = {"net": net}
        self.optimizers: dict[str, Optimizer] = {"net": make_optimizer(net, config, batch_size)}

    def epoch_rows(self, context: EpochContext) -> Tensor:
        return torch.arange(len(self.store))

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        views = simclr_view(self.store[rows.repeat(2)], self.view, context.generator)
        z_a, z_b = self.modules["net"](views).float().chunk(2)
        if self.fabric.world_size > 1:
            z_a, z_b = self._gather(z_a), self._gather(z_b)
        return {"loss": nt_xent(z_a, z_b, self.config.temperature)}

    def _gather(self, z: Tensor) -> Tensor:
        """The projections of all processes, in which gradients flow back to each."""
        gathered = self.fabric.all_gather(z, sync_grads=True)
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def evaluate(self, epoch: int) -> dict[str, float]:
        return self._evaluate(self.backbone, epoch)

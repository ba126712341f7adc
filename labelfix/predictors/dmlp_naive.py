"""DMLP-Naive: a small net on the features, trained on purified soft labels, out of fold.

DMLP's own use of its labels is to retrain a net on them (DMLP-Naive, Tu et al. 2023, Sec. 3.3);
here the net's out-of-fold predictions are pooled with the others. One net a fold, side by side in
one module, so that a batch is read once; a net gets no loss from the rows of its fold.

Differs: half of the loss is the given label seen through the noise (forward correction). The soft
labels carry the linear purifier's bias, that half does not; alone it fits the noise of small sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from labelfix.decide.soft_targets import FoldTargets
from labelfix.equations.cross_entropy import forward_corrected
from labelfix.features.standardise import Design, Matrix
from labelfix.nets.feature_net import FeatureNet, fold_nets
from labelfix.training.config import EpochContext, EpochReport, LoopConfig, StepContext
from labelfix.training.loop import train


@dataclass(frozen=True, kw_only=True)
class FoldMLPConfig:
    """Settings of the net.

    Attributes:
        hidden: width of the two hidden layers.
        noise: standard deviation of Gaussian noise on the standardised features while training.
        forward_share: of the forward-corrected loss, in [0, 1]; the rest is the soft labels'.
        lr: peak learning rate of AdamW.
        epochs: passes over the rows, within the bounds of ``steps``, and two at least.
        steps: least and most steps in all: small datasets take more epochs, large ones fewer.
        batch_size: rows a step.
    """

    hidden: int = 256
    noise: float = 0.6
    forward_share: float = 0.5
    lr: float = 2e-3
    epochs: int = 12
    steps: tuple[int, int] = (600, 2400)
    batch_size: int = 256


DEFAULTS = FoldMLPConfig()


class FoldMLPs:
    """The method for the training loop; module "nets" is :func:`fold_nets`."""

    manual_update = False

    def __init__(
        self,
        fabric: Fabric,
        *,
        features: Matrix | Design,
        targets: FoldTargets,
        config: FoldMLPConfig,
    ) -> None:
        device = fabric.device
        self.design = Design.of(features, device)
        self.soft_GNK = torch.from_numpy(targets.soft_GNK).to(device)
        self.log_transition_GKK = torch.from_numpy(targets.transition_GKK).log().to(device)
        self.given_N = torch.from_numpy(targets.given.astype(np.int64)).to(device)
        self.fold_N = torch.from_numpy(targets.folds.astype(np.int64)).to(device)
        self.config = config
        count, _, classes = targets.soft_GNK.shape
        nets = fold_nets(count, self.design.shape[1], classes, config.hidden)
        self.modules: dict[str, nn.Module] = {"nets": nets}
        self.optimizers: dict[str, Optimizer] = {
            "nets": torch.optim.AdamW(
                nets.parameters(), lr=config.lr, weight_decay=1e-4, fused=True
            )
        }

    def epoch_rows(self, context: EpochContext) -> Tensor:
        return torch.arange(self.design.shape[0])

    def step(self, rows: Tensor, context: StepContext) -> dict[str, Tensor]:
        x_BD = self.design.net_rows(rows.numpy())
        noise_BD = torch.randn(x_BD.shape, generator=context.generator, device=x_BD.device)
        logs_GBK = self.modules["nets"](x_BD + self.config.noise * noise_BD).float().log_softmax(-1)
        here = rows.to(x_BD.device)
        folds = torch.arange(len(logs_GBK), device=here.device)[:, None]
        visible_GB = (self.fold_N[here] != folds).float()
        loss_GB = self._losses(logs_GBK, here) * visible_GB
        return {"loss": (loss_GB.sum(1) / visible_GB.sum(1).clamp_min(1)).sum()}

    def _losses(self, logs_GBK: Tensor, rows: Tensor) -> Tensor:
        """Each net's loss of each row, ``(G, B)``: soft label, and given one where there is."""
        soft_GB = -(self.soft_GNK[:, rows] * logs_GBK).sum(-1)
        given_B = self.given_N[rows]
        likelihood_GBK = self.log_transition_GKK[:, :, given_B.clamp_min(0)].mT
        forward_GB = forward_corrected(logs_GBK, likelihood_GBK)
        share_B = self.config.forward_share * (given_B >= 0)
        return torch.lerp(soft_GB, forward_GB, share_B.to(soft_GB))

    def evaluate(self, epoch: int) -> dict[str, float]:
        return {}


def fit_fold_mlps(
    features: Matrix | Design,
    targets: FoldTargets,
    *,
    config: FoldMLPConfig = DEFAULTS,
    loop: LoopConfig,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> NDArray[np.float32]:
    """Out-of-fold log-probabilities ``(N, K)`` of nets that were trained on soft labels.

    Args:
        features, targets, config, loop, on_epoch: as for :func:`train_fold_mlps`.
    """
    nets = train_fold_mlps(features, targets, config=config, loop=loop, on_epoch=on_epoch)
    return predict_own_folds(nets, features, targets.folds)


def train_fold_mlps(
    features: Matrix | Design,
    targets: FoldTargets,
    *,
    config: FoldMLPConfig = DEFAULTS,
    loop: LoopConfig,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> FeatureNet:
    """A net for each fold, side by side, that saw no label of the fold.

    Args:
        features: ``(N, D)``.
        targets: of each fold's net, from steps that never saw the fold.
        config: settings of the nets.
        loop: seed and device; epochs and batch size are the nets'.
        on_epoch: called after each epoch.
    """
    count, rows, classes = targets.soft_GNK.shape
    batch = min(config.batch_size, max(16, rows // 8), rows)
    steps = rows // batch
    least, most = config.steps
    epochs = max(2, -(-min(max(config.epochs * steps, least), most) // steps))
    build = partial(FoldMLPs, features=features, targets=targets, config=config)
    settings = LoopConfig(
        epochs=epochs, batch_size=batch, seed=loop.seed, device=loop.device,
        devices=loop.devices, num_nodes=loop.num_nodes, precision=loop.precision,
    )  # fmt: skip
    state = train(build, settings, on_epoch=on_epoch).modules["nets"]
    design = Design.of(features)
    nets = fold_nets(count, design.shape[1], classes, config.hidden)
    nets.load_state_dict(state)
    return nets.to(design.device)


@torch.no_grad()
def predict_own_folds(
    nets: FeatureNet, features: Matrix | Design, folds: NDArray[np.int8]
) -> NDArray[np.float32]:
    """Log-probabilities ``(N, K)`` of each row by the net that saw no label of its fold.

    Args:
        nets: of :func:`train_fold_mlps`, on the same features.
        features: ``(N, D)``.
        folds: ``(N,)``.
    """
    design = Design.of(features)
    fold_N = torch.from_numpy(folds.astype(np.int64)).to(design.device)
    logs = []
    for block in design.parts():
        logits_GBK = nets(design.net_rows(block))
        rows = torch.arange(logits_GBK.shape[1], device=design.device)
        logs.append(logits_GBK[fold_N[block], rows].log_softmax(1).cpu().numpy())
    return np.concatenate(logs)

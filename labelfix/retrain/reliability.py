"""HRP's reliabilities inside a training: measured on batches, remembered a row.

A row's alpha and beta come from one tangent of the net's log-probabilities along the gradient of
the clean loss; where no row is checked, along CLID's, as in the file's own scores.

Shape suffixes: B rows of the batch, N rows, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from labelfix.equations import hrp
from labelfix.equations.tangents import log_prob_tangent
from labelfix.nets.classifiers import evaluating
from labelfix.retrain.clid_weights import clid_gradient
from labelfix.retrain.problem import Problem, all_gather_rows

CLID_ROWS, TEMPERATURE = 1000, 0.5


class ReliabilityMemory(nn.Module):
    """Running averages of ``B alpha`` and ``B beta`` of each row by each net: 1 = an even batch.

    Starts at the file's reliabilities, scaled to mean 1; at 1 where there are none.
    """

    def __init__(self, task: Problem, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.label_2N: Tensor
        self.pseudo_2N: Tensor
        targets = task.targets
        rows = len(targets.weights)
        self.register_buffer("label_2N", _prior(targets.label_reliability, rows))
        self.register_buffer("pseudo_2N", _prior(targets.pseudo_reliability, rows))

    def remember(
        self, fabric: Fabric, net: int, rows: Tensor, label_B: Tensor, pseudo_B: Tensor
    ) -> None:
        """Moves the averages of a net's rows towards what a batch showed (alpha and beta)."""
        size = len(rows)
        for memory_2N, fresh_B in ((self.label_2N, label_B), (self.pseudo_2N, pseudo_B)):
            moved_B = torch.lerp(size * fresh_B, memory_2N[net, rows], self.momentum)
            everywhere, values = all_gather_rows(fabric, rows, moved_B)
            memory_2N[net, everywhere] = values


def _prior(reliability: NDArray[np.float32] | None, rows: int) -> Tensor:
    if reliability is None or np.isnan(reliability).all():
        return torch.ones(2, rows)
    mean = max(float(np.nanmean(reliability)), 1e-6)
    scaled = np.nan_to_num(reliability / mean, nan=1.0)
    return torch.from_numpy(scaled.astype(np.float32)).repeat(2, 1)


class UpperLoss:
    """The gradient that tells which rows help: of the checked rows' loss, or of CLID.

    Args:
        task: the checked rows are those with a right label.
        batch: rows a measurement.
    """

    def __init__(self, fabric: Fabric, task: Problem, batch: int) -> None:
        self.fabric, self.source = fabric, task.source
        checked = np.flatnonzero((task.targets.right >= 0) & task.targets.usable)
        self.clean = len(checked) > 0
        if self.clean:
            self.rows = torch.from_numpy(checked)
        else:
            generator = torch.Generator().manual_seed(task.seed)
            order = torch.randperm(len(task.usable), generator=generator)
            self.rows = task.usable[order[:CLID_ROWS]]
        self.right_N = torch.from_numpy(task.targets.right.astype(np.int64)).to(fabric.device)
        self.batch = min(batch, len(self.rows))

    def gradient(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """The direction g by parameter name; BatchNorm frozen (HRP, Eq. 3)."""
        size = (self.batch,)
        picks = torch.randint(len(self.rows), size, generator=generator, device=generator.device)
        rows = self.rows[picks.cpu()]
        inputs_B = self.source.test_batch(rows)
        named = {n: p for n, p in net.named_parameters() if p.requires_grad}
        if not self.clean:
            at = {name: value.detach().clone().requires_grad_() for name, value in named.items()}
            found = clid_gradient(net, at, dict(net.named_buffers()), inputs_B, TEMPERATURE)
        else:
            right_B = self.right_N[rows.to(self.right_N.device)]
            with evaluating(net), torch.enable_grad():
                loss = F.cross_entropy(net(inputs_B).float(), right_B)
                slopes = torch.autograd.grad(loss, list(named.values()))
            found = dict(zip(named, slopes, strict=True))
        if self.fabric.world_size > 1:
            found = {name: self._mean(value) for name, value in found.items()}
        return found

    def _mean(self, value: Tensor) -> Tensor:
        reduced = self.fabric.all_reduce(value)
        assert isinstance(reduced, Tensor)
        return reduced


def measured(
    net: nn.Module, inputs_B: Tensor, labels_BK: Tensor, direction: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities ``(B, K)``, alpha and beta ``(B,)`` of a batch by one tangent (Eq. 1 to 5).

    Args:
        net: the plain classifier.
        inputs_B: the batch.
        labels_BK: labels; a row of zeros = no label.
        direction: from :class:`UpperLoss`.

    Differs: BatchNorm and dropout are frozen for the tangent too, so that a row's reliability does
    not depend on the batch it came in, and the pass serves as the pseudo-labels' as well.
    """
    with evaluating(net):
        logs_BK, tangent_BK = log_prob_tangent(
            net, {}, dict(net.named_buffers()), inputs_B, direction
        )
    own_BK = F.one_hot(logs_BK.argmax(-1), logs_BK.shape[1]).to(logs_BK.dtype)
    alpha_B, beta_B = hrp.reliabilities(tangent_BK, labels_BK, own_BK)
    return logs_BK.exp(), alpha_B, beta_B

"""Right and wrong labels, separated by their losses: a mixture of two Gaussians (DivideMix)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn

from labelfix.equations.cross_entropy import divergence
from labelfix.nets.classifiers import predict_logits
from labelfix.retrain.problem import Problem

_LEAST = 4  # losses that a mixture can be fitted on


def clean_probability(losses: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """The posterior of the component of small losses, ``(N,)`` in [0, 1].

    Li et al. 2020, Sec. 3.1: two Gaussians on min-max-scaled losses; 10 iterations, tolerance
    1e-2, variance 5e-4 at the least, as in the released code.

    Args:
        losses: ``(N,)``, finite.
        seed: of the mixture's start.

    Returns:
        1 for all where there is nothing to tell apart (equal losses, or fewer than four).
    """
    low, high = (losses.min(), losses.max()) if len(losses) else (0.0, 0.0)
    if len(losses) < _LEAST or not high > low:
        return np.ones(len(losses), dtype=np.float32)
    scaled = ((losses - low) / (high - low)).astype(np.float64)[:, None]
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations, converged or not
        mixture.fit(scaled)
    return mixture.predict_proba(scaled)[:, mixture.means_.argmin()].astype(np.float32)


def labelled_part(
    probability: NDArray[np.float32],
    losses: NDArray[np.float32],
    classes: NDArray[np.integer],
    *,
    threshold: float,
    least: float,
) -> tuple[NDArray[np.bool_], bool]:
    """Which rows keep their label, never too few of a class; and whether ranks had to help.

    Args:
        probability: ``(N,)`` from :func:`clean_probability`.
        losses: ``(N,)``.
        classes: ``(N,)``, the rows' labels.
        threshold: of the probability.
        least: share of each class's rows that are taken at the least, one row at the least, by
            rising loss.

    Returns:
        ``(N,)`` bool, and True where some class would have had fewer.

    Differs: the paper takes what the threshold gives, and its training dies of an empty set.
    """
    taken, forced = probability > threshold, False
    for code in np.unique(classes):
        rows = np.flatnonzero(classes == code)
        need = max(1, round(least * len(rows)))
        if taken[rows].sum() < need:
            taken[rows[np.argsort(losses[rows], kind="stable")[:need]]] = True
            forced = True
    return taken, forced


def noise_rate_of(losses: NDArray[np.float32], *, seed: int = 0) -> float:
    """The share of wrong labels that the losses suggest, in [0, 0.9]."""
    return float(min(0.9, 1 - clean_probability(losses, seed=seed).mean(dtype=np.float64)))


class NoiseRate(nn.Module):
    """The share of wrong labels that a method takes for true, kept in a buffer.

    What the soft labels call wrong; where they are one-hot, nothing until :meth:`estimate`.
    """

    def __init__(self, fabric: Fabric, problem: Problem) -> None:
        super().__init__()
        self.fabric, self.problem = fabric, problem
        self.known: Tensor
        estimated = min(0.9, problem.targets.label_noise)
        self.one_hot = estimated < 1e-6
        self.register_buffer("known", torch.tensor(estimated))
        self._read: float | None = None

    @property
    def rate(self) -> float:
        """tau in [0, 0.9]."""
        if self._read is None:  # once: reading waits for a GPU
            self._read = float(self.known)
        return self._read

    def estimate(self, nets: Sequence[nn.Module]) -> None:
        """For one-hot labels: from the mixture of the nets' mean losses on the labelled rows."""
        if self.one_hot:
            losses_MN = np.stack([losses_on(net, self.problem) for net in nets])
            found = noise_rate_of(losses_MN.mean(0), seed=self.problem.seed)
            self.known.fill_(self.fabric.broadcast(found))
            self._read = None


def losses_on(net: nn.Module, problem: Problem) -> NDArray[np.float32]:
    """Each labelled row's divergence from its soft label, ``(n,)``, by the net as it stands."""
    logits_NK = predict_logits(net, problem.source, problem.labelled)
    return divergence(
        logits_NK, torch.from_numpy(problem.targets.soft_labels)[problem.labelled]
    ).numpy()

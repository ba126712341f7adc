"""Ridge regression in closed form, and the Gaussian columns that bend it.

Labels stand class-major (K x N), as DMLP has them. Leading dimensions (folds) are batched.

Shape suffixes: B rows, N training rows, M landmarks, K classes, D features, ... folds.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spectrum(NamedTuple):
    """Of ``F^T F``: eigenvalues ``(..., D)``, >= 0, and eigenvectors ``(..., D, D)``."""

    values_D: Tensor
    vectors_DD: Tensor


def gaussian_columns(x_BD: Tensor, landmarks_MD: Tensor, width: float) -> Tensor:
    """``exp(-|x - z|^2 / width)`` for each row and landmark, ``(B, M)``; 1 = the same place.

    A radial-basis network's hidden layer (Broomhead and Lowe 1988), the landmarks drawn from the
    rows as in Nystroem's method (Williams and Seeger 2001): a ridge regression on these columns
    is nonlinear in x, and still linear in its labels.

    Args:
        x_BD, landmarks_MD: features.
        width: > 0, in squared units of the features; twice the variance of a Gaussian.
    """
    return torch.cdist(x_BD, landmarks_MD).square().div(-width).exp()


def ridge_spectrum(gram_DD: Tensor) -> Spectrum:
    """The spectrum of ``F^T F``, its eigenvalues clamped at 0.

    Computed once for fixed features; every ridge parameter then solves in O(K D^2).

    LAPACK's float32 routine now and then gives NaN, or does not converge, where the matrix is
    singular (seen with MKL on AVX-512, more columns than rows); then float64 answers.
    """
    try:
        values_D, vectors_DD = torch.linalg.eigh(gram_DD)
        failed = bool(values_D.isnan().any() or vectors_DD.isnan().any())
    except torch.linalg.LinAlgError:
        failed = True
    if failed:
        values_D, vectors_DD = (part.to(gram_DD) for part in torch.linalg.eigh(gram_DD.double()))
    return Spectrum(values_D.clamp_min(0), vectors_DD)


def ridge_solve(moments_KD: Tensor, spectrum: Spectrum, ridge: Tensor | float) -> Tensor:
    """``moments (F^T F + ridge I)^-1``, ``(..., K, D)``."""
    values_D, vectors_DD = spectrum
    ridge = torch.as_tensor(ridge, dtype=values_D.dtype, device=values_D.device)
    inverse_D = 1.0 / (values_D + ridge[..., None])
    return ((moments_KD @ vectors_DD) * inverse_D[..., None, :]) @ vectors_DD.mT


def generalised_cross_validation(
    moments_KD: Tensor,
    energy: Tensor,
    rows: Tensor,
    spectrum: Spectrum,
    ridge: Tensor | float,
) -> Tensor:
    """GCV score of a ridge parameter (Golub, Heath, Wahba 1979); smaller is better.

    Infinite where the fit has over 0.9 degrees of freedom a row: there the score is 0 / 0.

    Args:
        moments_KD: ``(..., K, D)``, targets times features, ``S F``.
        energy: ``(...)``, the sum of the squared targets.
        rows: ``(...)``, the number of training rows.
        spectrum: of the training rows' features.
        ridge: the candidate, ``(...)`` or one for all, > 0.

    Uses the training rows alone, so it may be called inside a fold.
    """
    values_D, vectors_DD = spectrum
    ridge = torch.as_tensor(ridge, dtype=values_D.dtype, device=values_D.device)
    projected_KD = moments_KD @ vectors_DD
    shrunk_D = 1.0 / (values_D + ridge[..., None])
    explained_D = (projected_KD**2).sum(-2) * (2 * shrunk_D - values_D * shrunk_D**2)
    residual = (energy - explained_D.sum(-1)).clamp_min(0)
    freedom = (values_D * shrunk_D).sum(-1)
    score = residual / (rows - freedom).clamp_min(1e-6) ** 2
    return torch.where(freedom <= 0.9 * rows, score, torch.inf)


def least_gcv(
    moments_KD: Tensor,
    energy: Tensor,
    rows: Tensor,
    spectrum: Spectrum,
    ridges_C: Tensor,
) -> Tensor:
    """Of some ridge parameters ``(C, ...)`` those of least GCV score, ``(...)``.

    The first wins where none can be scored. The rest as for :func:`generalised_cross_validation`.
    """
    fit = moments_KD, energy, rows, spectrum
    scores_C = torch.stack([generalised_cross_validation(*fit, ridge) for ridge in ridges_C])
    return ridges_C.gather(0, scores_C.argmin(0, keepdim=True))[0]

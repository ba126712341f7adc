"""One IPC pass of DMLP against the paper's literal algebra, in one run.

    python pipelines/bench_ipc.py

A pass is: labels to soft targets, the ridge regression of Eq. 4, the upper loss of Eq. 5 and 6, its
gradient for every label, and the update of Eq. 7. The literal forms differentiate through all of it
each pass, on row-major labels: "released" multiplies `(F^T F + lambda I)^-1 F^T Y` from the left,
as the authors' script does; "solved" spares one large product by a linear solve. Ours has the
spectrum of `F^T F` from before and takes thin products on class-major labels.

7,000 training and 1,000 clean rows, 512 columns, 10 classes, lambda 1, float32, one thread, median
CPU time of 15 interleaved rounds; the error is that of the gradient in float64.

Measured in 10 seconds on a busy machine of 2 cores (AMD EPYC without AVX-512, torch 2.15), 6 runs:
released 120-148 ms, solved 68-79 ms, thin 8.7-10.4 ms: 12.8 to 14.3 times and 7.2 to 7.8 times; the
gradients differ by 2e-13.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labelfix.equations import dmlp as eq
from labelfix.equations.ridge import ridge_solve, ridge_spectrum

SCALE, RATE, ROUNDS = 1.0, 0.01, 15


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Features of N training and V clean rows, labels row-major, one-hot clean labels."""

    features_ND: Tensor
    clean_VD: Tensor
    labels_NK: Tensor
    clean_VK: Tensor
    ridge: float

    @classmethod
    def draw(cls, rows: int, clean: int, columns: int, classes: int, ridge: float) -> Problem:
        generator = torch.Generator().manual_seed(0)
        codes_N = torch.randint(classes, (rows,), generator=generator)
        return cls(
            features_ND=torch.randn(rows, columns, generator=generator) / columns**0.5,
            clean_VD=torch.randn(clean, columns, generator=generator) / columns**0.5,
            labels_NK=torch.eye(classes)[codes_N],
            clean_VK=torch.eye(classes)[torch.arange(clean) % classes],
            ridge=ridge,
        )

    def double(self) -> Problem:
        return Problem(
            features_ND=self.features_ND.double(),
            clean_VD=self.clean_VD.double(),
            labels_NK=self.labels_NK.double(),
            clean_VK=self.clean_VK.double(),
            ridge=self.ridge,
        )


def literal(problem: Problem, *, solved: bool = False) -> Callable[[], Tensor]:
    """Autograd through Eq. 4 to 6 with the ridge inside; returns the gradient, ``(N, K)``."""
    features_ND, identity_DD = problem.features_ND, torch.eye(problem.features_ND.shape[1])
    identity_DD = identity_DD.to(features_ND)
    labels_NK = problem.labels_NK.clone()

    def step() -> Tensor:
        labels_NK.requires_grad_()
        targets_NK = torch.softmax(SCALE * labels_NK, 1)
        gram_DD = features_ND.T @ features_ND + problem.ridge * identity_DD
        if solved:
            weights_DK = torch.linalg.solve(gram_DD, features_ND.T @ targets_NK)
        else:
            weights_DK = torch.linalg.inv(gram_DD) @ features_ND.T @ targets_NK
        estimate_VK = problem.clean_VD @ weights_DK
        floored_VK = estimate_VK.clamp_min(1e-6)
        entropy_V = -(floored_VK * floored_VK.log()).sum(1)
        loss = (((estimate_VK - problem.clean_VK) ** 2).sum(1) + entropy_V).mean()
        (gradient_NK,) = torch.autograd.grad(loss, labels_NK)
        with torch.no_grad():
            labels_NK.sub_(RATE * gradient_NK)
        return gradient_NK

    return step


def thin(problem: Problem) -> Callable[[], Tensor]:
    """The same pass from the spectrum, on class-major labels; returns the gradient, ``(K, N)``."""
    features_ND, clean_VD = problem.features_ND, problem.clean_VD
    spectrum = ridge_spectrum(features_ND.T @ features_ND)
    clean_KV = problem.clean_VK.T.contiguous()
    share_V = clean_VD.new_full((len(clean_VD),), 1 / len(clean_VD))
    labels_KN = problem.labels_NK.T.contiguous()

    def step() -> Tensor:
        targets_KN = eq.soft_targets(labels_KN, SCALE)
        weights_KD = ridge_solve(targets_KN @ features_ND, *spectrum, problem.ridge)
        estimate_KV = (weights_KD @ clean_VD.T).requires_grad_()
        loss = eq.validation_loss(estimate_KV, clean_KV, share_V)
        (upper_KV,) = torch.autograd.grad(loss, estimate_KV)
        upper_KD = ridge_solve(upper_KV @ clean_VD, *spectrum, problem.ridge)
        gradient_KN = eq.ipc_gradient(targets_KN, upper_KD, features_ND, SCALE)
        labels_KN.copy_(eq.ipc_update(labels_KN, gradient_KN, RATE))
        return gradient_KN

    return step


def measure(steps: list[Callable[[], Tensor]]) -> list[float]:
    """Median CPU seconds of each step over interleaved rounds."""
    seconds: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for taken, step in zip(seconds, steps, strict=True):
            start = time.process_time()
            step()
            taken.append(time.process_time() - start)
    return [statistics.median(taken) for taken in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("rows", 7000), ("clean", 1000), ("columns", 512), ("classes", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--ridge", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = vars(parser.parse_args())
    torch.set_num_threads(arguments.pop("threads"))
    problem = Problem.draw(**arguments)
    exact, found = literal(problem.double())(), thin(problem.double())().T
    error = float((found - exact).norm() / exact.norm())
    released, solved, fast = measure(
        [literal(problem), literal(problem, solved=True), thin(problem)]
    )
    print(f"literal, released  {1e3 * released:8.2f} ms  {released / fast:6.1f} x")
    print(f"literal, solved    {1e3 * solved:8.2f} ms  {solved / fast:6.1f} x")
    print(f"thin products      {1e3 * fast:8.2f} ms")
    print(f"relative error of the gradient in float64: {error:.1e}")


if __name__ == "__main__":
    main()

"""How much likelier a label must be before it replaces the given one: the checked rows decide.

Where features are weak and few labels wrong, a posterior fitted on a hundred checked rows claims
more than it holds, and most of the labels that it would change are right. So what a change claims
is put against what it brought on audited rows; until they have spoken, only half of the claim is
believed, and more where many labels are wrong.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRIOR_ROWS = 2.0  # changes at each end of the line that speak before any is seen
NEVER = 1.0  # no margin is greater


def margins(soft_NK: NDArray[np.floating], given: NDArray[np.int32]) -> NDArray[np.float64]:
    """What a change claims, ``(N,)`` in [0, 1]: the best label's posterior less the given one's.

    Args:
        soft_NK: ``(N, K)`` posteriors.
        given: ``(N,)`` codes; for rows without a label (-1) it means nothing.
    """
    claimed_N = soft_NK.max(1) - soft_NK[np.arange(len(given)), given]
    return claimed_N.astype(np.float64)


def change_threshold(
    soft_VK: NDArray[np.floating],
    given: NDArray[np.int32],
    right: NDArray[np.int32],
    *,
    estimated_rate: float = 0.0,
) -> float:
    """The margin above which a change is expected to do good, in [0, 1]; :data:`NEVER` = none is.

    What changes brought on audited rows, 1 for a label mended, -1 for one broken, 0 for one wrong
    before and after, is a straight line over their margins, by least squares; the threshold is
    where it crosses 0. Before any change is seen the line ends at 1 where the margin is 1, and
    where it is 0 at ``2 r - 1`` for a share r of wrong labels: a change that claims nothing mends a
    label as often as one is wrong. With few wrong ones the threshold is then a half.

    Args:
        soft_VK: ``(V, K)`` posteriors of audited rows, from steps that did not see their labels.
        given, right: ``(V,)`` codes; rows without a given label do not count.
        estimated_rate: r where no row counts: the noise rate as all given labels show it.
    """
    had, best, margin_V = given >= 0, soft_VK.argmax(1), margins(soft_VK, given)
    wrong = (given != right)[had].sum() / (had.sum() + 1) if had.any() else estimated_rate
    changed = had & (margin_V > 0)
    brought_C = (best == right)[changed].astype(float) - (given == right)[changed]
    ends_C2 = np.stack([1 - margin_V[changed], margin_V[changed]], 1)
    moments_22 = ends_C2.T @ ends_C2 + PRIOR_ROWS * np.eye(2)
    prior_2 = np.array([2 * wrong - 1, 1])
    low, high = np.linalg.solve(moments_22, ends_C2.T @ brought_C + PRIOR_ROWS * prior_2)
    if high <= max(low, 0):  # sure changes do no better than unsure ones, or no good at all
        return 0.0 if min(low, high) > 0 else NEVER
    return float(np.clip(low / (low - high), 0, NEVER))

"""Classifier heads on frozen features: one small net a fold, all in the same products.

Every fold sees the same batch, so the first and widest layer is one matrix product for all folds
and the features are read once; the rows that a fold must not learn from weigh nothing in its loss.

Shape suffixes: F folds, B rows of a batch, D columns, H hidden units, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from labelfix.equations.clid import clid_loss


class FoldHeads(nn.Module):
    """One net ``columns - hidden - classes`` a fold; all start equal.

    He's initialisation; the last layer starts small, so that predictions start nearly even. No
    value of one fold's net depends on another's, in the forward pass or in the gradients.
    """

    def __init__(
        self, folds: int, columns: int, hidden: int, classes: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        wide_DH = torch.randn(columns, hidden, generator=generator) * (2 / columns) ** 0.5
        last_HK = torch.randn(hidden, classes, generator=generator) * 0.1 / hidden**0.5
        self.wide = nn.Parameter(wide_DH.repeat(1, folds))
        self.wide_bias = nn.Parameter(torch.zeros(folds * hidden))
        self.last = nn.Parameter(last_HK.repeat(folds, 1, 1))
        self.last_bias = nn.Parameter(torch.zeros(folds, 1, classes))

    def forward(self, rows_BD: Tensor) -> Tensor:
        """Every fold's logits for the same rows, ``(F, B, K)``."""
        hidden = torch.relu(torch.addmm(self.wide_bias, rows_BD, self.wide))
        hidden_FBH = hidden.unflatten(1, (len(self.last), -1)).transpose(0, 1)
        return hidden_FBH @ self.last + self.last_bias


def logits_of_fold(state: dict[str, Tensor], fold: int, rows_BD: Tensor) -> Tensor:
    """One fold's logits, ``(B, K)``, from a :class:`FoldHeads`' ``state_dict``."""
    width = state["last"].shape[1]
    own = slice(fold * width, (fold + 1) * width)
    hidden_BH = torch.relu(rows_BD @ state["wide"][:, own] + state["wide_bias"][own])
    return hidden_BH @ state["last"][fold] + state["last_bias"][fold]


def stepped(
    parameters: Mapping[str, Tensor], slopes: Sequence[Tensor], rate: float
) -> dict[str, Tensor]:
    """The parameters after a plain gradient step, as new leaves."""
    return {
        name: (value - rate * slope).detach().requires_grad_()
        for (name, value), slope in zip(parameters.items(), slopes, strict=True)
    }


def clid_of_folds(
    heads: FoldHeads, state: dict[str, Tensor], rows_BD: Tensor, temperature: float
) -> Tensor:
    """CLID (Eq. 9) of each fold's head at ``state`` on the same rows, ``(F,)``.

    Differs: the embedding is the frozen feature, not the head's hidden layer, which would follow
    the noisy labels.
    """
    logits_FBK = functional_call(heads, state, (rows_BD,))

    def one(probabilities_BK: Tensor) -> Tensor:
        return clid_loss(rows_BD, probabilities_BK, temperature=temperature)

    return torch.vmap(one)(logits_FBK.softmax(-1))

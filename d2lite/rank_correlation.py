"""Rank correlation: do two lists of numbers have the same order?"""

import torch
from torch import Tensor

from d2lite.checks import checked, given, tensor


def _same_length(a: Tensor, b: Tensor) -> None:
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"b{given(b)}: must be as long as a{given(a)}, 2 at least")
    if a.isnan().any() or b.isnan().any():
        raise ValueError("a, b: NaN is among them, which has no rank")


def ranks(x: Tensor) -> Tensor:
    """Number the elements of x, (N,), by size, from 1; equal ones share the mean of their numbers.

    ``x.argsort().argsort()`` would rank them by their places.

    >>> ranks(torch.tensor([20, 10, 20, 30]))
    tensor([2.5000, 1.0000, 2.5000, 4.0000], dtype=torch.float64)
    """
    smaller, equal = (x[:, None] > x).sum(1), (x[:, None] == x).sum(1)
    return smaller + (equal.double() + 1) / 2


@checked(_same_length, a=tensor("(N,)", floating=False), b=tensor("(N,)", floating=False))
def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Correlate the ranks of two lists: 1 if they have the same order, −1 if the opposite.

    About 0 if they are unrelated; NaN if all of one are equal.

    Args:
        a: (N,).
        b: (N,).

    Raises:
        TypeError: If either is not a tensor.
        ValueError: If the lengths differ, are below 2, or NaN is among the numbers.

    From Spearman, "The proof and measurement of association between two things", 1904.

    >>> rank_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 10.0, 100.0]))
    1.0
    """
    return torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1].item()

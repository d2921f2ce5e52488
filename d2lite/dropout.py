"""Dropout: delete units at random while training, so that none can rely on another."""

import torch
from torch import Generator, Tensor, nn

from d2lite.checks import checked, number, tensor


@checked(x=tensor(empty=True), p=number(at_least=0, at_most=1))
def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Set each element to 0 with probability p and divide the rest by 1 − p.

    The division makes this *inverted* dropout: the mean of each element over many masks is the
    element itself, so at test time there is nothing left to do. Equal to
    ``torch.nn.functional.dropout``; from the same seed on a CPU, number by number.

    Args:
        x: Any shape.
        p: The probability for an element to be dropped, from 0 to 1.
        training: If False, give back x as it is.
        generator: Where the randomness comes from, PyTorch's global one unless given.

    Returns:
        The shape of x.

    Raises:
        TypeError: If x is not a floating-point tensor, or p not a number.
        ValueError: If p is out of range.

    From Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    2014. There, p is the probability to *keep* a unit, and instead of the division the trained
    weights are multiplied by p.

    >>> dropout(torch.ones(1000), p=0.5).unique()
    tensor([0., 2.])
    """
    if not training or p == 0:
        return x
    mask = torch.empty_like(x).bernoulli_(1 - p, generator=generator)  # 1 keeps, 0 drops
    return x * (mask / (1 - p) if p < 1 else mask)


class Dropout(nn.Module):
    """Apply ``dropout`` in training mode; in evaluation mode, after ``eval()``, do nothing.

    Args:
        p: The probability for an element to be dropped, from 0 to 1.

    Raises:
        TypeError: If p is not a number.
        ValueError: If p is out of range.

    >>> Dropout(0.5).eval()(torch.ones(3))
    tensor([1., 1., 1.])
    """

    @checked(p=number(at_least=0, at_most=1))
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of x, of any shape, if the module is in training mode."""
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Show p when the module is printed."""
        return f"p={self.p}"

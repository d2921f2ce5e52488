"""Rules for ``d2lite.checks`` that several files of this package need."""

from typing import Any

import torch

from d2lite.checks import tensor


def quadruples(value: Any) -> None:
    """Four finite numbers for each box, whatever they mean."""
    tensor("(N, 4)", empty=True)(value)
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError("must be float32 or float64")
    if value.shape[1] != 4:
        raise ValueError("must be (N, 4)")
    if not value.isfinite().all():
        raise ValueError("must be finite")


def edges(value: Any) -> None:
    """Boxes as their edges."""
    quadruples(value)
    if (inverted := (value[:, :2] > value[:, 2:]).any(1)).any():
        which = int(inverted.nonzero()[0])
        raise ValueError(f"must have x1 ≤ x2 and y1 ≤ y2, but box {which} has not")


def finite(value: Any) -> None:
    """A finite number for each box."""
    tensor("(N,)", empty=True)(value)
    if not value.isfinite().all():
        raise ValueError("must be finite")


def class_indices(value: Any) -> None:
    """An integer for each box."""
    tensor("(N,)", floating=False, empty=True)(value)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError("must be integers")

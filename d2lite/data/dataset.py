"""What a model learns from: tensors in memory, whose first axis counts the examples."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import TensorDataset

from d2lite.data.labelled_images import LabelledImages

Dataset = LabelledImages | TensorDataset | Sequence[Tensor] | Tensor


def tensors(data: Any) -> tuple[Tensor, ...]:
    """Take a data set apart: labelled images, a ``TensorDataset``, tensors or a single one.

    >>> import torch
    >>> images, labels = tensors(LabelledImages(torch.zeros(3, 1, 2, 2), torch.arange(3), "abc"))
    >>> [len(part) for part in tensors(images)]
    [3]
    """
    parts = getattr(data, "tensors", data)
    return (parts,) if isinstance(parts, Tensor) else tuple(parts)


def dataset(value: Any) -> None:
    """Obey as a rule of ``checks``: tensors of equally many examples, one at least, all finite.

    >>> import torch
    >>> from d2lite.checks import check
    >>> check("train", torch.tensor([[1.0], [torch.nan]]), dataset)
    Traceback (most recent call last):
    ValueError: train=float32 (2, 1): must be finite, but example 1 is not
    """
    parts = getattr(value, "tensors", value)
    parts = (parts,) if isinstance(parts, Tensor) else parts
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, Tensor) for part in parts):
        raise TypeError("must be LabelledImages, or a tensor or several whose first axis is N")
    if not parts or 0 in (part.ndim for part in parts):
        raise ValueError("must be tensors whose first axis is N")
    lengths = sorted({len(part) for part in parts})
    if lengths[0] == 0:
        raise ValueError("no examples, must be one at least")
    if len(lengths) > 1:
        raise ValueError(f"must be tensors of equal length, are {lengths[0]} and {lengths[-1]}")
    for part in parts:
        if part.is_floating_point() and not part.isfinite().all():
            bad = int((~part.isfinite()).nonzero()[0, 0])
            raise ValueError(f"must be finite, but example {bad} is not")

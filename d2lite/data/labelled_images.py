"""A set of images, each with the number of its class, as two tensors in memory."""

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from d2lite.checks import check

INTEGERS = (
    torch.int8, torch.int16, torch.int32, torch.int64,
    torch.uint8, torch.uint16, torch.uint32, torch.uint64,
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class LabelledImages:
    """Images and their labels, indexed like an array.

    An integer gives a pair (image, label); a slice, a mask or a list of integers a smaller set.

    Attributes:
        images: (N, C, H, W), floating point, usually from 0 to 1. A NumPy array becomes a tensor of
            PyTorch's default floating-point type.
        labels: (N,), int64, each the position of its name in ``classes``. Other integers, and
            NumPy's, become these.
        classes: The names of the classes.

    Raises:
        TypeError: If images or labels are no tensors or NumPy arrays of such numbers, or the
            classes have no names.
        ValueError: If a shape or a label does not fit.

    >>> data = LabelledImages(torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 1]), ("Bag", "Coat"))
    >>> data[1:]
    LabelledImages: 2 × (1, 28, 28), 2 classes
    >>> image, label = data[-1]
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        check("images", self.images, _floats)
        check("labels", self.labels, _integers)
        check("classes", self.classes, _names)
        images, labels = _tensor(self.images), _tensor(self.labels).long()
        object.__setattr__(self, "images", images)  # the way to set them once, when frozen
        object.__setattr__(self, "labels", labels)
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels: shape {tuple(labels.shape)}, must be ({len(images)},), one an image"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(
                f"labels: from {labels.min()} to {labels.max()}, must be from 0 to "
                f"{len(self.classes) - 1}, for {len(self.classes)} classes"
            )

    @property
    def tensors(self) -> tuple[Tensor, Tensor]:
        """Images and labels, as in PyTorch's ``TensorDataset``."""
        return self.images, self.labels

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...
    @overload
    def __getitem__(self, index: Any) -> "LabelledImages": ...
    def __getitem__(self, index):
        chosen = positions(len(self), index)
        if isinstance(chosen, int):
            return self.images[chosen], self.labels[chosen]
        return LabelledImages(self.images[chosen], self.labels[chosen], self.classes)

    def __repr__(self) -> str:
        shape = tuple(self.images.shape[1:])
        return f"LabelledImages: {len(self):,} × {shape}, {len(self.classes)} classes"

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Copy images and labels to a device; what is there already is not copied."""
        return LabelledImages(self.images.to(device), self.labels.to(device), self.classes)


def positions(length: int, index: Any) -> int | slice | Tensor:
    """Read what an array of that length may be indexed by, in a form that a tensor takes.

    >>> positions(5, -1), positions(5, [True, False, False, True, False])
    (4, tensor([0, 3]))
    """
    if isinstance(index, slice) and (index.step or 1) > 0:
        return index  # no copy
    index = index.numpy(force=True) if isinstance(index, Tensor) else index
    chosen = np.arange(length)[index]  # NumPy knows
    if chosen.ndim > 1:
        raise IndexError(f"index={index!r}: must be of one axis, that of the images")
    return int(chosen) if chosen.ndim == 0 else torch.from_numpy(chosen.copy())


def _floats(images: Any) -> None:
    if not (_is_array(images) and _tensor(images[:0]).is_floating_point()):
        raise TypeError("must be a tensor or NumPy array of floating-point numbers")
    if images.ndim != 4:
        raise ValueError("must be (N, C, H, W)")


def _integers(labels: Any) -> None:
    if not (_is_array(labels) and _tensor(labels[:0]).dtype in INTEGERS):
        raise TypeError("must be a tensor or NumPy array of integers")


def _names(classes: Any) -> None:
    if not hasattr(classes, "__len__"):
        raise TypeError("must be the names of the classes")


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray)) and value.ndim > 0


def _tensor(array: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    converted = torch.from_numpy(native)
    return converted.to(torch.get_default_dtype()) if native.dtype.kind == "f" else converted

"""A set of images, each with the number of its class, as two tensors in memory."""

from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LabelledImages:
    """Images and their labels: a slice of it is one too, one index gives (image, label).

    Attributes:
        images: (N, C, H, W), floating point, usually from 0 to 1.
        labels: (N,), int64, each the position of its name in ``classes``.
        classes: The names of the classes.

    Raises:
        TypeError: If images or labels are no tensors of these dtypes.
        ValueError: If a shape or a label does not fit.

    >>> data = LabelledImages(torch.rand(3, 1, 28, 28), torch.tensor([0, 1, 1]), ("Bag", "Coat"))
    >>> data[1:]
    LabelledImages: 2 × (1, 28, 28), 2 classes
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels, classes = self.images, self.labels, self.classes
        if not isinstance(images, Tensor) or not images.is_floating_point():
            given = getattr(images, "dtype", type(images).__name__)
            raise TypeError(f"images: {given}, must be a floating-point tensor")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
            given = getattr(labels, "dtype", type(labels).__name__)
            raise TypeError(f"labels: {given}, must be an int64 tensor")
        if images.ndim != 4:
            raise ValueError(f"images: shape {tuple(images.shape)}, must be (N, C, H, W)")
        if labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels: shape {tuple(labels.shape)}, must be ({len(images)},), one an image"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
            raise ValueError(
                f"labels: from {labels.min()} to {labels.max()}, must be from 0 to "
                f"{len(classes) - 1}, for {len(classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]: ...
    @overload
    def __getitem__(self, index: Any) -> "LabelledImages": ...
    def __getitem__(self, index):
        if isinstance(index, int):
            return self.images[index], self.labels[index]
        return LabelledImages(self.images[index], self.labels[index], self.classes)

    def __repr__(self) -> str:
        shape = tuple(self.images.shape[1:])
        return f"LabelledImages: {len(self):,} × {shape}, {len(self.classes)} classes"

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Copy images and labels to a device; what is there already is not copied."""
        return LabelledImages(self.images.to(device), self.labels.to(device), self.classes)

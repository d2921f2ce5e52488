"""Masks: which pixels are whose, and how well what was said agrees with what is there.

A label map (N, H, W) has a class for each pixel; by custom 0 is the background. K is the number of
classes, background included.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from d2lite.checks import checked, given, integer, optional, tensor


def _label_map(value: Any) -> None:
    tensor("(…)", floating=False, empty=True)(value)
    if value.dtype != torch.int64:
        raise TypeError("must be int64")


def _of_classes(
    predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int | None
) -> None:
    if predicted.shape != target.shape:
        raise ValueError(f"predicted{given(predicted)}: must be {tuple(target.shape)}, as target")
    counted = torch.ones_like(target, dtype=torch.bool)
    if ignore_index is not None:
        counted = target != ignore_index
    for name, labels in {"predicted": predicted[counted], "target": target[counted]}.items():
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"{name}: {wrong} is among them, must be ≥ 0 and ≤ {num_classes - 1}")


@checked(
    _of_classes,
    predicted=_label_map,
    target=_label_map,
    num_classes=integer(at_least=1),
    ignore_index=optional(integer(at_least=-(2**63))),
)
def confusion_matrix(
    predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int | None = None
) -> Tensor:
    """Count the pixels of each class that were given each class.

    Args:
        predicted: Label map, any shape, int64.
        target: The same of what is there.
        num_classes: K.
        ignore_index: Pixels whose target is this number do not count, such as 255 in VOC's files.

    Returns:
        (K, K), int64: a row for each class that is there, a column for each that was said.

    Raises:
        TypeError: If a map is not int64.
        ValueError: If the shapes differ, or a counted pixel has a class that does not exist.

    >>> confusion_matrix(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 255]), 2, 255)
    tensor([[1, 1],
            [0, 1]])
    """
    if ignore_index is not None:
        counted = target != ignore_index
        predicted, target = predicted[counted], target[counted]
    pairs = (num_classes * target + predicted).flatten()
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def _square(value: Any) -> None:
    tensor("(K, K)", floating=False)(value)
    if value.shape[0] != value.shape[1]:
        raise ValueError("must be (K, K)")


@checked(confusion=_square)
def class_iou(confusion: Tensor) -> Tensor:
    """Compute the intersection over union of each class, (K,), float64, from a confusion matrix.

    A class that neither is there nor was said has none: NaN, which ``nanmean`` leaves out.

    >>> class_iou(torch.tensor([[2, 1, 0], [0, 1, 0], [0, 0, 0]]))
    tensor([0.6667, 0.5000,    nan], dtype=torch.float64)
    """
    confusion = confusion.double()
    both = confusion.diag()
    return both / (confusion.sum(0) + confusion.sum(1) - both)


def _maps(value: Any) -> None:
    tensor("(N, H, W)", floating=False)(value)


@checked(target=_maps, distance=integer(at_least=1))
def near_edge(target: Tensor, distance: int) -> Tensor:
    """Find the pixels that have another class within a distance, diagonal steps included.

    There the hard part of a mask is decided (Kohli et al., 2009, who call the band a trimap).

    Args:
        target: Label map, (N, H, W).
        distance: In pixels.

    Returns:
        (N, H, W), bool.

    >>> near_edge(torch.tensor([[[0, 0, 0, 1, 1, 1]]]), 1)
    tensor([[[False, False,  True,  True, False, False]]])
    """
    x = target[:, None].double()
    most, least = (F.max_pool2d(y, 2 * distance + 1, 1, distance) for y in (x, -x))
    return (most != -least)[:, 0]

"""RoI: what a feature map holds in a box of any size, read into a grid of fixed size.

Both ways handle the two axes alike and one after the other. So for each box and axis they make a
small table, grid by map: which positions a bin looks at, or how much it takes of each. Names,
arguments and results are torchvision's.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from d2lite.checks import boolean, checked, given, instance, integer, number, tensor

#: Of each box the number of its image and its edges, (K, 5); or of each image its boxes, (L, 4).
Rois = Tensor | Sequence[Tensor]


def _rows(boxes: Rois, like: Tensor) -> Tensor:
    """Put the number of its image before each box, (K, 5), as torchvision has it."""
    if isinstance(boxes, Tensor):
        return boxes
    rows = [torch.cat([b.new_full((len(b), 1), i), b], 1) for i, b in enumerate(boxes)]
    return torch.cat([like.new_zeros(0, 5), *rows])


def _grid(value: Any) -> None:
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise TypeError("must be an int or a pair of ints")
    for bins in pair:
        integer(at_least=1)(bins)


def _fit_the_map(input: Tensor, boxes: Rois) -> None:
    parts = [boxes] if isinstance(boxes, Tensor) else list(boxes)
    columns = 5 if isinstance(boxes, Tensor) else 4
    for part in parts:
        if not isinstance(part, Tensor) or part.ndim != 2 or part.shape[1] != columns:
            raise ValueError(f"boxes{given(part)}: must be (K, 5), or a list of (L, 4)")
        if part.dtype != input.dtype:
            raise TypeError(
                f"boxes{given(part)}: must be {str(input.dtype).removeprefix('torch.')}"
            )
    if columns == 4 and len(parts) != len(input):
        raise ValueError(f"boxes: of {len(parts)} images, must be {len(input)}, as many as maps")
    rows = _rows(boxes, input)
    if not rows.isfinite().all() or (rows[:, 1:3] > rows[:, 3:]).any():
        raise ValueError(f"boxes{given(rows)}: must be finite, with x1 ≤ x2 and y1 ≤ y2")
    if ((rows[:, 0] < 0) | (rows[:, 0] >= len(input)) | (rows[:, 0] % 1 != 0)).any():
        raise ValueError(
            f"boxes{given(rows)}: images must be whole numbers from 0 to {len(input) - 1}"
        )


_ARGUMENTS = {
    "input": tensor("(N, C, H, W)"),
    "boxes": instance(Tensor, tuple, list),
    "output_size": _grid,
    "spatial_scale": number(above=0),
}


@checked(_fit_the_map, **_ARGUMENTS)
def roi_pool(
    input: Tensor, boxes: Rois, output_size: int | Sequence[int], spatial_scale: float = 1.0
) -> Tensor:
    """Take the maximum in each bin of a grid over each box; its edges are rounded (RoIPool).

    First the box is rounded to whole positions of the map, both ends included; then the bins' edges
    are, outwards, so that neighbors may share a row. A bin outside the map is 0. No gradient
    flows to the boxes.

    Args:
        input: (N, C, H, W), the maps.
        boxes: (K, 5), of each box the number of its image and x1, y1, x2, y2; or for each image
            its boxes, (L, 4). Edges lie between pixels, as in ``d2lite.boxes``.
        output_size: Bins in height and width, or one number for both.
        spatial_scale: Positions of the map to a pixel: 1 / stride.

    Returns:
        (K, C, bins in height, bins in width).

    Raises:
        TypeError: If the boxes are not of the maps' type, or a number is of the wrong one.
        ValueError: If a shape does not fit, a box is not finite or inverted, or a number is out of
            range.

    From Girshick, "Fast R-CNN", 2015.

    >>> maps = torch.arange(16.0).view(1, 1, 4, 4)
    >>> roi_pool(maps, [torch.tensor([[0.0, 0.0, 3.0, 1.0]])], (1, 2))
    tensor([[[[5., 7.]]]])
    """
    rows, (bins_y, bins_x) = _rows(boxes, input), _pair(output_size)
    x1, y1, x2, y2 = _round(rows[:, 1:] * spatial_scale).unbind(1)
    in_y = _covered(y1, y2, bins_y, input.shape[2])[:, None, None]  # (K, 1, 1, bins, H)
    in_x = _covered(x1, x2, bins_x, input.shape[3])[:, None, None]
    pooled = input.new_zeros(len(rows), input.shape[1], bins_y, bins_x)
    for i, maps in enumerate(input):
        mine = rows[:, 0] == i
        # One axis at a time: (k, C, H, 1, W) to (k, C, H, bins), then (k, C, bins, 1, H) to the end
        lowest = maps.new_tensor(-torch.inf)
        columns = torch.where(in_x[mine], maps[None, :, :, None], lowest).max(4).values
        columns = columns.transpose(2, 3)[:, :, :, None]
        pooled[mine] = torch.where(in_y[mine], columns, lowest).max(4).values.transpose(2, 3)
    return torch.where(pooled == -torch.inf, 0, pooled)


def _round(x: Tensor) -> Tensor:
    """Round halves away from 0, as C does; ``torch.round`` takes them to the even neighbor."""
    return x.sign() * (x.abs() + 0.5).floor()


def _covered(start: Tensor, end: Tensor, bins: int, length: int) -> Tensor:
    """Say which positions each bin looks at, (K, bins, length), bool."""
    size = (end - start + 1).clamp(min=1)[:, None] / bins  # of a bin
    bin_ = torch.arange(bins, device=start.device)
    first = (start[:, None] + (bin_ * size).floor())[..., None]
    last = (start[:, None] + ((bin_ + 1) * size).ceil())[..., None]
    position = torch.arange(length, device=start.device)
    return (first <= position) & (position < last)


def _sampling(value: Any) -> None:
    integer(at_least=-1)(value)


@checked(_fit_the_map, **_ARGUMENTS, sampling_ratio=_sampling, aligned=boolean)
def roi_align(
    input: Tensor,
    boxes: Rois,
    output_size: int | Sequence[int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Average bilinear readings in each bin of a grid over each box; nothing is rounded (RoIAlign).

    A reading up to one position outside the map is taken at its edge, one farther out is 0. The
    bilinear weight of a position is a product of one for its row and one for its column, so all
    readings of a box are two products of matrices. No gradient flows to the boxes.

    Args:
        input: (N, C, H, W), the maps.
        boxes: (K, 5), of each box the number of its image and x1, y1, x2, y2; or for each image
            its boxes, (L, 4). Edges lie between pixels, as in ``d2lite.boxes``.
        output_size: Bins in height and width, or one number for both.
        spatial_scale: Positions of the map to a pixel: 1 / stride.
        sampling_ratio: Readings in a bin along each axis. At 0 or −1, as many as the bin is
            positions wide, rounded up.
        aligned: Whether a position's value stands in its middle, at (0.5, 0.5) for the first, as
            it should. Otherwise at its upper left corner, as in the first programs, so that all is
            read half a position too far to the lower right; and boxes less than a position wide
            count as one wide.

    Returns:
        (K, C, bins in height, bins in width).

    Raises:
        TypeError: If the boxes are not of the maps' type, or a number is of the wrong one.
        ValueError: If a shape does not fit, a box is not finite or inverted, or a number is out of
            range.

    From He, Gkioxari, Dollár and Girshick, "Mask R-CNN", 2017.

    >>> maps = torch.arange(16.0).view(1, 1, 4, 4)
    >>> roi_align(maps, [torch.tensor([[0.0, 0.0, 3.0, 1.0]])], (1, 2), aligned=True)
    tensor([[[[0.3125, 1.7500]]]])
    """
    rows, (bins_y, bins_x) = _rows(boxes, input), _pair(output_size)
    x1, y1, x2, y2 = (rows[:, 1:] * spatial_scale - 0.5 * aligned).detach().unbind(1)
    least = 0 if aligned else 1
    of_y = _weights(y1, (y2 - y1).clamp(min=least), bins_y, input.shape[2], sampling_ratio)
    of_x = _weights(x1, (x2 - x1).clamp(min=least), bins_x, input.shape[3], sampling_ratio)
    # One axis at a time, and channels last: nothing large is copied, forwards or backwards
    _, C, H, W = input.shape
    order, pooled = [rows.new_zeros(0, dtype=torch.int64)], [input.new_zeros(0, bins_y, bins_x, C)]
    for i, maps in enumerate(input.permute(0, 2, 3, 1).contiguous()):
        mine = (rows[:, 0] == i).nonzero()[:, 0]
        stripes = of_y[mine].flatten(0, 1) @ maps.view(H, W * C)  # (k · bins, W · C)
        pooled.append(of_x[mine][:, None] @ stripes.view(-1, bins_y, W, C))
        order.append(mine)
    return torch.cat(pooled)[torch.cat(order).argsort()].permute(0, 3, 1, 2)


def _weights(start: Tensor, size: Tensor, bins: int, length: int, sampling_ratio: int) -> Tensor:
    """Say how much each bin takes of each position, (K, bins, length)."""
    size = (size / bins)[:, None, None]  # of a bin
    readings = size.ceil() if sampling_ratio < 1 else torch.full_like(size, sampling_ratio)
    each = torch.arange(int(readings.max()) if len(size) else 0, device=start.device)
    bin_ = torch.arange(bins, device=start.device)[:, None]
    at = start[:, None, None] + bin_ * size + (each + 0.5) * size / readings.clamp(min=1)
    counts = (each < readings) & (at >= -1) & (at <= length)
    distance = at.clamp(0, length - 1)[..., None] - torch.arange(length, device=start.device)
    near = (1 - distance.abs()).clamp(min=0)  # 1 at the position itself, 0 at its neighbors
    return (near * counts[..., None]).sum(2) / readings.clamp(min=1)


def _pair(size: int | Sequence[int]) -> Sequence[int]:
    return (size, size) if isinstance(size, int) else size

"""Selective search: boxes around all that looks like one thing, found without learning.

From Uijlings, van de Sande, Gevers and Smeulders, "Selective search for object recognition", IJCV
2013; it begins with the segments of Felzenszwalb and Huttenlocher, "Efficient graph-based image
segmentation", IJCV 2004, which are scikit-image's. R-CNN and Fast R-CNN take their proposals from
it.
"""

from typing import Any

import numpy as np
import torch
from skimage.segmentation import felzenszwalb
from torch import Tensor

from d2lite.checks import checked, integer, number, tensor

#: Bins of gray values; directions of the gradient, and bins of its strength in each.
GRAYS, DIRECTIONS, STRENGTHS = 25, 8, 10


def _image(value: Any) -> None:
    tensor("(H, W)")(value)
    if not (value.min() >= 0 and value.max() <= 1):  # NaN is not, either
        raise ValueError("must be from 0 to 1")


@checked(image=_image, scale=number(at_least=0), min_size=integer(at_least=1))
def selective_search(image: Tensor, scale: float = 128, min_size: int = 8) -> Tensor:
    """Propose boxes: around segments, and around all that comes of joining the two most alike.

    Alike are neighbors of similar gray values and similar texture, small ones, and those that fill
    the box around both: four numbers from 0 to 1, added up. (Of a color image, gray values are
    those of each channel.)

    Args:
        image: (H, W), from 0 to 1.
        scale: Of the segments, as scikit-image's ``felzenszwalb`` has it: the larger, the larger.
        min_size: Smaller segments are joined to a neighbor.

    Returns:
        (P, 4), float32, in pixels, each box once. Those that came last, the largest, are first.

    >>> image = torch.zeros(16, 16)
    >>> image[4:12, 2:9] = 0.8
    >>> selective_search(image)
    tensor([[ 0.,  0., 16., 16.],
            [ 2.,  4.,  9., 12.]])
    """
    values = image.double().numpy(force=True)
    labels = felzenszwalb(values, scale, sigma=0, min_size=min_size)
    count, area = int(labels.max()) + 1, values.size
    sizes = np.bincount(labels.ravel()).astype(float).tolist()
    boxes = [
        (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1)
        for y, x in ((labels == i).nonzero() for i in range(count))
    ]
    looks = list(_histograms(labels, values, count))
    sides = (labels[:, 1:], labels[:, :-1]), (labels[1:], labels[:-1])
    touching = np.concatenate([np.stack([a.ravel(), b.ravel()], 1) for a, b in sides])
    touching = np.unique(np.sort(touching, 1), axis=0)
    pairs = [(a, b) for a, b in touching.tolist() if a != b]

    def around(a: int, b: int) -> tuple[int, int, int, int]:
        one, other = boxes[a], boxes[b]
        return (min(one[0], other[0]), min(one[1], other[1]),
                max(one[2], other[2]), max(one[3], other[3]))  # fmt: skip

    def alike(a: int, b: int) -> float:
        x1, y1, x2, y2 = around(a, b)
        both = sizes[a] + sizes[b]
        size, fill = 1 - both / area, 1 - ((x2 - x1) * (y2 - y1) - both) / area
        return np.minimum(looks[a], looks[b]).sum() + size + fill

    likeness = {pair: alike(*pair) for pair in pairs}
    while likeness:
        a, b = max(likeness, key=lambda pair: likeness[pair])
        new = len(boxes)
        boxes.append(around(a, b))
        sizes.append(sizes[a] + sizes[b])
        looks.append((sizes[a] * looks[a] + sizes[b] * looks[b]) / sizes[new])
        beside = {i for pair in likeness if a in pair or b in pair for i in pair} - {a, b}
        likeness = {pair: s for pair, s in likeness.items() if not {a, b} & {*pair}}
        likeness |= {(i, new): alike(i, new) for i in beside}
    return torch.tensor(list(dict.fromkeys(boxes[::-1])), dtype=torch.float32)


def _histograms(labels: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Count gray values and strengths of the gradient of each segment, in shares of 1 each."""
    looks = np.zeros((count, GRAYS + DIRECTIONS * STRENGTHS))
    np.add.at(looks, (labels, (values * (GRAYS - 1)).round().astype(int)), 1)
    down, right = np.gradient(np.pad(values, 1, mode="edge"))
    for i in range(DIRECTIONS):
        angle = 2 * np.pi * i / DIRECTIONS
        along = (np.cos(angle) * right + np.sin(angle) * down)[1:-1, 1:-1].clip(0, 0.5)
        bins = (along * 2 * (STRENGTHS - 1)).round().astype(int)
        np.add.at(looks, (labels, GRAYS + i * STRENGTHS + bins), 1 / DIRECTIONS)
    return looks / np.bincount(labels.ravel())[:, None]

"""Scenes: garments on a canvas, where each is, how much of it shows, and a sentence on them.

What detectors, segmenters and captioners learn from; made from a seed, so that nothing ships.
"""

import functools
import zlib
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from d2lite.boxes import masks_to_boxes
from d2lite.checks import checked, instance, integer, named
from d2lite.data.fashion_mnist import CLASSES, fashion_mnist
from d2lite.data.labelled_images import LabelledImages, positions

#: Height and width of a scene, in pixels.
CANVAS = 64

#: Least and greatest height and width of a garment's image, which was 28 × 28.
SIZES = 16, 32

#: The gray value above which a pixel belongs to the garment and not to its image's background.
BACKGROUND = 0.05

#: The least share of each garment that the later ones leave uncovered.
LEAST_VISIBLE = 0.25

#: How often a place is drawn for a garment before it is left out, because it would cover too much.
TRIES = 50

#: What captions call one garment of a class, and several.
NOUNS = (
    ("T-shirt", "T-shirts"), ("pair of trousers", "pairs of trousers"), ("pullover", "pullovers"),
    ("dress", "dresses"), ("coat", "coats"), ("sandal", "sandals"), ("shirt", "shirts"),
    ("sneaker", "sneakers"), ("bag", "bags"), ("boot", "boots"),
)  # fmt: skip

_TENSORS = "images", "boxes", "labels", "masks", "visible"


@dataclass(frozen=True, eq=False, repr=False)
class Scenes:
    """Scenes of up to G garments, as tensors in memory, indexed like an array.

    An integer gives a pair (image, target): the target is a dictionary of that scene's boxes,
    labels, masks, visible shares and caption, without padding, as torchvision's detectors take it.
    A slice, a mask or a list of integers gives a smaller set, so an epoch of batches is::

        for chosen in torch.randperm(len(data)).split(64):
            batch = data[chosen]

    Scenes of fewer than G garments are padded: label −1, and 0 in all else.

    Attributes:
        images: (N, 1, H, W), float32 from 0 (background) to 1.
        boxes: (N, G, 4), float32, in pixels: x1, y1, x2, y2, tight around each whole garment,
            with what others cover of it. Edges lie between pixels, as in ``d2lite.boxes``.
        labels: (N, G), int64, each the position of its name in ``classes``.
        masks: (N, G, H, W), bool: the pixels of each whole garment. Later ones cover earlier ones.
        visible: (N, G), float32, the share of its pixels that no later garment covers.
        captions: A sentence for each scene, such as "a bag left of two boots and a coat", which
            says that its center is left of all three. Relations are left of, right of, above and
            below. Garments of one class have a place instead, if their centers share a third of the
            canvas: "two boots at the top left", "a bag in the middle".
        classes: The names of the classes.

    >>> data = scenes(3)
    >>> data, data[1:]
    (Scenes: 3 × (1, 64, 64), up to 4 garments, Scenes: 2 × (1, 64, 64), up to 4 garments)
    >>> image, target = data[0]
    >>> target["boxes"].shape == (len(target["labels"]), 4)
    True
    """

    images: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor
    visible: Tensor
    captions: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES

    @property
    def visible_masks(self) -> Tensor:
        """The pixels that are seen of each garment, (N, G, H, W), bool; no two share one.

        >>> data = scenes(10)
        >>> int(data.visible_masks.sum(1).max())
        1
        """
        shown, covered = [], torch.zeros_like(self.masks[:, 0])
        for mask in reversed(self.masks.unbind(1)):
            shown.append(mask & ~covered)
            covered = covered | mask
        return torch.stack(shown[::-1], 1)

    @property
    def visible_boxes(self) -> Tensor:
        """The boxes around what is seen of each garment, (N, G, 4), float32."""
        return masks_to_boxes(self.visible_masks)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images, boxes and labels, as ``train.fit`` takes them."""
        return self.images, self.boxes, self.labels

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]: ...
    @overload
    def __getitem__(self, index: Any) -> "Scenes": ...
    def __getitem__(self, index):
        chosen = positions(len(self), index)
        if isinstance(chosen, int):
            there = self.labels[chosen] >= 0
            target = {name: getattr(self, name)[chosen][there] for name in _TENSORS[1:]}
            return self.images[chosen], target | {"caption": self.captions[chosen]}
        every = torch.arange(len(self))[chosen].tolist()
        parts = {name: getattr(self, name)[chosen] for name in _TENSORS}
        return replace(self, **parts, captions=tuple(self.captions[i] for i in every))

    def __repr__(self) -> str:
        N, G = self.labels.shape
        return f"Scenes: {N:,} × {tuple(self.images.shape[1:])}, up to {G} garments"

    def to(self, device: torch.device | str) -> "Scenes":
        """Copy the tensors to a device; what is there already is not copied."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})


def _garments(value: Any) -> None:
    instance(LabelledImages)(value)
    if value.classes != CLASSES or value.images.shape[1:] != (1, 28, 28) or len(value) == 0:
        raise ValueError("must be images of fashion_mnist(), one at least")
    if (value.images.amax((1, 2, 3)) < 0.25).any():
        raise ValueError("must each have a pixel of 0.25 at least")


@checked(
    count=integer(at_least=0),
    seed=integer(at_least=0),
    garments=named("train", "test", otherwise=_garments),
    most=integer(at_least=1, at_most=9),
)
def scenes(
    count: int, seed: int = 0, garments: str | LabelledImages = "train", most: int = 4
) -> Scenes:
    """Make scenes: garments in random number, size and place on a canvas of 64 × 64 pixels.

    Each scene has from 1 to ``most`` garments, every number as likely; each any of those given,
    resized to from 16 × 16 to 32 × 32 pixels, anywhere on the canvas. Later ones cover earlier
    ones, of which at least a quarter stays visible: what finds no such place is left out.

    Scene i depends on the seed, the garments and i, not on ``count``: ``scenes(10)`` is
    ``scenes(100)[:10]``.

    Args:
        count: The number of scenes. Each takes up to a millisecond to make, and 33 kB.
        seed: Of all that is random.
        garments: Where they come from: "train" or "test", Fashion-MNIST's 10,000 training or test
            images that ship, so that no garment of a test has been seen; or a part of them, such as
            ``fashion_mnist()[0][8000:]``.
        most: The greatest number of garments in a scene, 9 at most.

    Raises:
        TypeError: If a number is not an int, or the garments are no ``LabelledImages``.
        ValueError: If a number is out of range, or the garments are not Fashion-MNIST's.

    >>> train, test = scenes(20), scenes(10, garments="test")
    >>> len(train), test.boxes.shape
    (20, torch.Size([10, 4, 4]))
    """
    if isinstance(garments, str):
        garments = fashion_mnist()[garments == "test"]
    own = zlib.crc32(garments.labels.numpy(force=True).tobytes())  # others are laid out otherwise
    images = torch.zeros(count, 1, CANVAS, CANVAS)
    labels = torch.full((count, most), -1)
    masks = torch.zeros(count, most, CANVAS, CANVAS, dtype=torch.bool)
    visible = torch.zeros(count, most)
    for i in range(count):
        image, *parts = _scene(np.random.default_rng([seed, own, i]), garments, int(most))
        images[i, 0] = torch.from_numpy(image)
        for j, (label, mask, shown) in enumerate(zip(*parts, strict=True)):
            labels[i, j] = label
            masks[i, j] = torch.from_numpy(mask)
            visible[i, j] = shown.sum() / mask.sum()
    boxes = masks_to_boxes(masks)
    captions = map(caption_of_boxes, labels.tolist(), boxes.tolist())
    return Scenes(images, boxes, labels, masks, visible, tuple(captions))


def _scene(
    random: np.random.Generator, garments: LabelledImages, most: int
) -> tuple[np.ndarray, list[int], list[np.ndarray], list[np.ndarray]]:
    """Paste garments; return the image and of each garment its label, mask and visible part."""
    image = np.zeros((CANVAS, CANVAS))
    labels: list[int] = []
    masks: list[np.ndarray] = []
    shown: list[np.ndarray] = []
    for _ in range(random.integers(1, most, endpoint=True)):
        garment, label = garments[int(random.integers(len(garments)))]
        size = int(random.integers(*SIZES, endpoint=True))
        tile = _resize(garment[0], size)
        for _ in range(TRIES):
            y, x = random.integers(CANVAS - size, size=2, endpoint=True)
            mask = np.zeros((CANVAS, CANVAS), bool)
            mask[y : y + size, x : x + size] = tile > BACKGROUND
            left = [part & ~mask for part in shown]
            if all(
                part.sum() >= LEAST_VISIBLE * whole.sum()
                for part, whole in zip(left, masks, strict=True)
            ):
                image[mask] = tile[tile > BACKGROUND]
                labels, masks, shown = [*labels, int(label)], [*masks, mask], [*left, mask]
                break
    return image, labels, masks, shown


@functools.cache
def _weights(size: int) -> Tensor:
    """What each of 28 pixels in a row gives to each of ``size``, (size, 28): bilinear, smoothed."""
    eye = torch.eye(28, dtype=torch.float64)[None, None]
    return interpolate(eye, (size, 28), mode="bilinear", antialias=True)[0, 0]


def _resize(garment: Tensor, size: int) -> np.ndarray:
    """Resize (28, 28) to (size, size); in float64, so that no processor's rounding moves a box."""
    return (_weights(size) @ garment.double().cpu() @ _weights(size).T).numpy()


# ---- Captions ------------------------------------------------------------------------------------

NUMBERS = "a", "two", "three", "four", "five", "six", "seven", "eight", "nine"


def caption_of_boxes(labels: list[int], boxes: list[list[float]]) -> str:
    """Say which garments there are, and where: the rule behind ``Scenes.captions``.

    Of several classes, one is told from the rest by the widest gap between centers: "a bag left of
    two boots and a coat" means left of all three. Of one class, the thirds of the canvas in which
    all centers lie, if they do: "a bag at the top left", "two boots at the bottom", "three coats".

    Args:
        labels: The class of each garment, or −1, which is left out; one garment at least.
        boxes: Its box in pixels, (x1, y1, x2, y2).

    Raises:
        ValueError: If there is no garment.

    >>> caption_of_boxes([8, 4], [[2, 20, 22, 40], [40, 18, 60, 44]])
    'a bag left of a coat'
    """
    if not any(label >= 0 for label in labels):
        raise ValueError("labels: must have a garment, one that is ≥ 0")
    centers: dict[int, list[tuple[float, float]]] = {}
    for label, (x1, y1, x2, y2) in sorted(zip(labels, boxes, strict=True)):
        if label >= 0:
            centers.setdefault(label, []).append(((x1 + x2) / 2, (y1 + y2) / 2))
    names = {
        label: f"{NUMBERS[len(places) - 1]} {NOUNS[label][len(places) > 1]}"
        for label, places in centers.items()
    }
    if len(names) == 1:
        ((label, name),) = names.items()
        return f"{name} {_place(centers[label])}".strip()
    gaps = {}
    for relation, axis, sign in _RELATIONS:
        for label in centers:
            here = [sign * place[axis] for place in centers[label]]
            rest = [sign * p[axis] for other in centers if other != label for p in centers[other]]
            gaps[relation, label] = min(rest) - max(here)
    relation, label = max(gaps, key=lambda pair: gaps[pair])
    others = [name for other, name in names.items() if other != label]
    if gaps[relation, label] <= 0:  # none is apart from the rest
        return _listed(list(names.values()))
    return f"{names[label]} {relation} {_listed(others)}"


_RELATIONS = (("left of", 0, 1), ("above", 1, 1), ("right of", 0, -1), ("below", 1, -1))


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _place(centers: list[tuple[float, float]]) -> str:
    x, y = ({int(3 * center / CANVAS) for center in axis} for axis in zip(*centers, strict=True))
    if x == y == {1}:
        return "in the middle"
    words = [
        word
        for thirds, names in ((y, ("top", "", "bottom")), (x, ("left", "", "right")))
        if len(thirds) == 1 and (word := names[min(thirds)])
    ]
    return f"at the {' '.join(words)}" if words else ""

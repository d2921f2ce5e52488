"""The detector explorer: a trained one-stage detector on a scene that the reader composes."""

from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from itertools import count
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from d2lite.boxes import box_iou, masks_to_boxes, match, nms
from d2lite.checks import boolean, check, instance, integer, number
from d2lite.data.fashion_mnist import fashion_mnist
from d2lite.data.labelled_images import LabelledImages
from d2lite.data.scenes import BACKGROUND, CANVAS, LEAST_VISIBLE, SIZES, TRIES, _resize
from d2lite.data.small_detector import small_detector
from d2lite.explore.adversarial import pack, shipped, told
from d2lite.explore.explorer import Checked, Explorer, Read, mix
from d2lite.explore.network import draw_pixels, read_gallery
from d2lite.nets.yolo import YOLO, decode, detect

MOST = 6  # garments in a scene
HIT = 0.5  # least IoU of a hit
_RULES = {
    "index": integer(at_least=0, at_most=39),
    "x": integer(at_least=0, at_most=CANVAS - SIZES[0]),
    "y": integer(at_least=0, at_most=CANVAS - SIZES[0]),
    "size": integer(at_least=SIZES[0], at_most=SIZES[1]),
}

#: A garment in a scene is a dictionary of these.
Garment = dict[str, int]


def _garments(value: Any) -> list[Garment]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("must be a list of garments, each a dict")
    read: list[Garment] = []
    for i, given in enumerate(value):
        check(f"[{i}]", given, instance(dict))
        if set(given) != set(_RULES):
            raise ValueError(f"[{i}] has {', '.join(map(str, given))}: must be index, x, y, size")
        for name, rule in _RULES.items():
            check(f"[{i}]: {name}", given[name], rule)
        read.append({name: int(given[name]) for name in _RULES})
        for name in "xy":
            if read[i][name] + read[i]["size"] > CANVAS:
                raise ValueError(f"[{i}]: {name} + size must be ≤ {CANVAS}")
    if len(read) > MOST:
        raise ValueError(f"{len(read)} garments, must be {MOST} at most")
    return read


@cache
def _three_of_each() -> LabelledImages:
    """Return test images that the shipped network has not seen, three of each class in turn."""
    _, test = fashion_mnist()
    first = [(test.labels == label).nonzero()[:3, 0] for label in range(len(test.classes))]
    return test[torch.stack(first, 1).flatten()]


@cache
def _resized(image: bytes, size: int) -> np.ndarray:
    pixels = torch.from_numpy(np.frombuffer(image, np.uint8) / np.float32(255))
    return _resize(pixels.view(28, 28), size)


class DetectorExplorer(Explorer):
    """Compose a scene of garments, and see what a trained detector makes of it at once.

    The network runs where the figure is shown, on weights in 8 bits. Garments that come later in
    the list cover earlier ones.

    Args:
        model: A trained ``YOLO`` of 10 classes; the one that ships, unless given.
        gallery: What to pick from, 1 to 40 images (1, 28, 28) from 0 to 1, of 10 classes; unless
            given, three of each class of Fashion-MNIST's test images.
        garments: The scene, up to 6 garments: for each a dict ``{"index": 3, "x": 10, "y": 20,
            "size": 24}``: its place in the gallery, left and top edge, height and width in pixels
            from 16 to 32. A random scene, unless given.
        selected: Which garment is looked at, from 0.
        score_threshold: The score above which a box counts, from 0.05 to 0.95.
        nms_threshold: The IoU above which NMS drops the worse box, from 0 to 1.
        per_class: Whether only boxes of one class compete in NMS.
        heat_class: Of which class the map shows the score; −1: of each cell's best.
        seed: Of the random scene that was drawn last.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = DetectorExplorer(garments=[{"index": 8, "x": 10, "y": 20, "size": 24}])
    >>> explorer.target["boxes"].shape, explorer.scores.shape
    (torch.Size([1, 4]), torch.Size([10, 16, 16]))
    >>> explorer.garments = []
    >>> explorer.detections["labels"]
    tensor([], dtype=torch.int64)
    """

    parts = ("chart", "network", "training_engine", "training_kernels", "detections")
    layers: traitlets.List = traitlets.List(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    gallery = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    labels = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    garments = Read([], _garments)
    selected = Checked(0, integer(at_least=0, at_most=MOST - 1))
    score_threshold = Checked(0.3, number(at_least=0.05, at_most=0.95))
    nms_threshold = Checked(0.6, number(at_least=0, at_most=1))
    per_class = Checked(True, boolean)
    heat_class = Checked(-1, integer(at_least=-1, at_most=9))
    seed = Checked(8, integer(at_least=0, at_most=9999))
    label = traitlets.Unicode("Detector explorer").tag(sync=True)

    def __init__(
        self, model: YOLO | None = None, gallery: LabelledImages | None = None, **traits: Any
    ) -> None:
        if model is None:
            model = YOLO()
            model.load_state_dict(small_detector())
        check("model", model, instance(YOLO))
        if (classes := model.logits.out_channels) != 10:
            raise ValueError(f"model: {classes} classes, must be 10")
        gallery = _three_of_each() if gallery is None else gallery
        check("gallery", gallery, instance(LabelledImages))
        images = read_gallery(gallery.images)
        if len(gallery.classes) != 10:
            raise ValueError(f"gallery: {len(gallery.classes)} classes, must be 10")
        if (gallery.images.amax((1, 2, 3)) < 0.25).any():
            raise ValueError("gallery: images must each have a pixel of 0.25 at least")
        self.network = shipped(one_after_the_other(model))
        fixed = {
            "layers": list(map(told, self.network)),
            "weights": pack(self.network),
            "gallery": b"".join(images),
            "labels": gallery.labels.tolist(),
            "classes": list(gallery.classes),
        }
        for name, value in fixed.items():
            self.set_trait(name, value)
        super().__init__(**traits)
        if "garments" not in traits:
            self.garments = self.random_garments(self.seed)

    @traitlets.validate("garments")
    def _check_indices(self, proposal: Any) -> list[Garment]:
        for i, garment in enumerate(proposal["value"]):
            if garment["index"] >= len(self.labels):
                raise ValueError(
                    f"garments: [{i}]: index={garment['index']}: must be ≤ {len(self.labels) - 1}"
                )
        return proposal["value"]

    def random_garments(self, seed: int) -> list[Garment]:
        """Draw a scene of 1 to 4 garments, as the figure's button does; see ``scenes``."""
        places = count(1)

        def below(n: int) -> int:
            return mix((next(places) * 0x9E3779B9 + mix(seed)) & 0xFFFFFFFF) * n >> 32

        garments: list[Garment] = []
        for _ in range(1 + below(4)):
            index, size = below(len(self.labels)), SIZES[0] + below(SIZES[1] - SIZES[0] + 1)
            for _ in range(TRIES):
                x, y = below(CANVAS - size + 1), below(CANVAS - size + 1)
                more = [*garments, {"index": index, "x": x, "y": y, "size": size}]
                if self._compose(more)[2].min() >= LEAST_VISIBLE:
                    garments = more
                    break
        return garments

    def _compose(self, garments: list[Garment]) -> tuple[Tensor, Tensor, Tensor]:
        """Paste garments; return the image, each one's mask, and how much of it is visible."""
        image, masks = np.zeros((CANVAS, CANVAS)), np.zeros((len(garments), CANVAS, CANVAS), bool)
        for mask, garment in zip(masks, garments, strict=True):
            index, x, y, size = (garment[name] for name in _RULES)
            tile = _resized(self.gallery[784 * index : 784 * (index + 1)], size)
            mask[y : y + size, x : x + size] = tile > BACKGROUND
            image[mask] = tile[tile > BACKGROUND]
        covered = np.cumsum(masks[::-1], 0)[::-1] - masks > 0  # by later ones
        visible = (masks & ~covered).sum((1, 2)) / np.maximum(masks.sum((1, 2)), 1)
        tensors = image[None].astype(np.float32), masks, visible.astype(np.float32)
        return tuple(map(torch.from_numpy, tensors))  # type: ignore

    @property
    def image(self) -> Tensor:
        """The scene, (1, 64, 64), from 0 to 1."""
        return self._compose(self.garments)[0]

    @property
    def target(self) -> dict[str, Tensor]:
        """What is there, as of a scene of ``scenes``: boxes, labels, masks and visible shares."""
        _, masks, visible = self._compose(self.garments)
        labels = torch.tensor([self.labels[each["index"]] for each in self.garments]).long()
        return {"boxes": masks_to_boxes(masks), "labels": labels, "masks": masks,
                "visible": visible}  # fmt: skip

    def _decoded(self) -> tuple[Tensor, Tensor]:
        """Each cell's scores, (256, 10), and its box, (256, 4)."""
        with torch.no_grad():
            logits, log_distances = self.network(self.image[None]).split([len(self.classes), 4], 1)
        scores, boxes = decode(logits, log_distances.exp())
        return scores[0], boxes[0]

    @property
    def scores(self) -> Tensor:
        """The score of each class in each cell of the grid, (10, 16, 16)."""
        return self._decoded()[0].T.reshape(-1, 16, 16)

    @property
    def detections(self) -> dict[str, Tensor]:
        """What is found, the best first, as torchvision's detectors say it."""
        scores, boxes = self._decoded()
        if self.per_class:
            return detect(scores[None], boxes[None], self.score_threshold, self.nms_threshold)[0]
        cell, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        score = scores[cell, label]
        kept = nms(boxes[cell], score, self.nms_threshold)
        return {"boxes": boxes[cell][kept], "labels": label[kept], "scores": score[kept]}

    @property
    def hits(self) -> list[int]:
        """The garment that each detection hits, by its class and an IoU of 0.5; −1 for none."""
        found, target = self.detections, self.target
        same = found["labels"][:, None] == target["labels"]
        overlaps = box_iou(found["boxes"], target["boxes"]) * same
        return match(overlaps, found["scores"], HIT).tolist()

    def picture(self) -> str:
        """Draw the scene, true boxes, and detections, misses dashed, as an SVG element."""
        scale = 6
        shades = (self.image.flatten() * 12).round().int().tolist()
        shapes = draw_pixels(shades, CANVAS, scale, "muted")

        def frame(box: Tensor, text: str, tone: str, more: str = "") -> str:
            x1, y1, x2, y2 = (scale * box).tolist()
            return (
                f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
                f'fill="none" stroke="var(--d2-{tone})" stroke-width="2" {more}>'
                f"<title>{escape(text)}</title></rect>"
            )

        target, found = self.target, self.detections
        for box, label in zip(target["boxes"], target["labels"], strict=True):
            shapes += frame(box, f"true box: {self.classes[label]}", "output")
        for i, j in enumerate(self.hits):
            text = f"{self.classes[found['labels'][i]]} {found['scores'][i]:.2f}"
            look = ("input",) if j >= 0 else ("kernel", 'stroke-dasharray="6 4"')
            shapes += frame(found["boxes"][i], text, *look)
        size = CANVAS * scale
        return f'<svg viewBox="0 0 {size} {size}" width="{size}">{shapes}</svg>'


def one_after_the_other(model: YOLO) -> nn.Sequential:
    """Write a network of two heads as one of one head, whose channels are those of both."""
    heads = model.logits, model.log_distances
    with torch.random.fork_rng([]):
        head = nn.Conv2d(heads[0].in_channels, sum(each.out_channels for each in heads), 1)
    with torch.no_grad():
        head.weight.copy_(torch.cat([each.weight for each in heads]))
        head.bias.copy_(torch.cat([each.bias for each in heads]))  # type: ignore
    return nn.Sequential(*model.body, head)

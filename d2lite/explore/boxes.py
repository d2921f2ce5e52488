"""The boxes explorer: drag a detector's boxes, and see overlaps, suppression, hits and AP."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import torch
import traitlets
from torch import Tensor

from d2lite.boxes import average_precision, box_iou, match, nms, precision_recall
from d2lite.checks import Rule, boolean, check, instance, integer, number, one_of
from d2lite.data.fashion_mnist import CLASSES
from d2lite.data.scenes import CANVAS, scenes
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.explore.network import draw_pixels, read_pixels

MOST = 12  # predictions
MOST_TARGETS = 9
_POINTS: dict[str, int | str] = {"COCO": 101, "VOC 2007": 11, "area": "all"}

#: A box is a dictionary of these.
Box = dict[str, Any]


def _edges(value: Any) -> None:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError("must be four numbers: x1, y1, x2, y2")
    edges = list(value)
    for i, edge in enumerate(edges):
        check(f"[{i}]", edge, number(at_least=0, at_most=CANVAS))
    if len(edges) != 4:
        raise ValueError(f"{len(edges)} numbers, must be four: x1, y1, x2, y2")
    if edges[0] > edges[2] or edges[1] > edges[3]:
        raise ValueError("must have x1 ≤ x2 and y1 ≤ y2")


_RULES: dict[str, Rule] = {
    "box": _edges,
    "label": integer(at_least=0, at_most=len(CLASSES) - 1),
    "score": number(at_least=0, at_most=1),
}


def _listed(value: Any, names: list[str], most: int) -> list[Box]:
    """Read boxes: a dictionary for each, or one of tensors as torchvision's detectors give it."""
    if isinstance(value, Mapping):
        plural = {"box": "boxes"} | {name: f"{name}s" for name in names[1:]}
        if missing := [many for many in plural.values() if many not in value]:
            raise ValueError(f"must have {', '.join(missing)}")
        columns = [torch.as_tensor(value[many]).tolist() for many in plural.values()]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"{', '.join(plural.values())}: must be as many of each")
        value = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError("must be a list of boxes, each a dict, such as " + repr(_LOOSE))
    read: list[Box] = []
    for i, given in enumerate(value):
        check(f"[{i}]", given, instance(dict))
        if set(given) != set(names):
            raise ValueError(f"[{i}] has {', '.join(map(str, given))}: must be {', '.join(names)}")
        for name in names:
            check(f"[{i}]: {name}", given[name], _RULES[name])
        own = {"box": [float(edge) for edge in given["box"]], "label": int(given["label"])}
        read.append(own | ({"score": float(given["score"])} if "score" in names else {}))
    if len(read) > most:
        raise ValueError(f"{len(read)} boxes, must be {most} at most")
    return read


def _predictions(value: Any) -> list[Box]:
    return _listed(value, ["box", "label", "score"], MOST)


def _targets(value: Any) -> list[Box]:
    read = _listed(value, ["box", "label"], MOST_TARGETS)
    if not read:
        raise ValueError("must be one box at least")
    return read


def _pixels(value: Any) -> list[int]:
    return read_pixels(value, CANVAS)


#: Predictions for the scene of this seed: one of each kind of hit and error.
_SEED = 21
_LOOSE: Box = {"box": [0, 43, 24, 60], "label": 7, "score": 0.5}
_EXAMPLE: list[Box] = [
    {"box": [40, 34, 58, 56], "label": 0, "score": 0.95},  # a hit
    {"box": [11, 37, 35, 48], "label": 7, "score": 0.9},  # another
    {"box": [8, 38, 34, 49], "label": 7, "score": 0.8},  # the same garment once more
    {"box": [43, 5, 60, 24], "label": 8, "score": 0.7},  # nothing is there
    {"box": [21, 15, 33, 35], "label": 3, "score": 0.6},  # of another class
    _LOOSE,
    {"box": [20, 17, 32, 36], "label": 1, "score": 0.4},  # a hit, late
]


class BoxesExplorer(Explorer):
    """Drag a detector's boxes in a scene: how well they overlap, which are kept, which are hits.

    Hits and average precision are of the boxes that non-maximum suppression (NMS) has not dropped
    so far. All classes are ranked in one list, so that one image makes a curve; a hit has the
    target's class. COCO ranks each class by itself and averages.

    Args:
        image: The scene, (64, 64) from 0 to 1, as ``scenes`` makes it.
        targets: The true boxes, 1 to 9: for each a dict, ``{"box": [x1, y1, x2, y2], "label": 7}``,
            in pixels, the label as in Fashion-MNIST; or one dict of tensors, "boxes" and "labels".
        predictions: The detector's boxes, 12 at most, likewise, with a "score" from 0 to 1; or one
            dict of tensors, "boxes", "labels" and "scores".
        selected: Which prediction is looked at, from 0.
        iou_threshold: The least IoU of a hit, above 0 and at most 1.
        nms_threshold: The IoU above which NMS drops the worse box, from 0 to 1.
        per_class: Whether only boxes of one class compete in NMS.
        step: How many steps NMS has taken, from 0 to 12; all, if it is more than there are.
        average: Which average precision is drawn: "COCO", over 101 recalls; "VOC 2007", over 11;
            "area", that under the curve.
        label: The figure's accessible name.

    An image or targets that are not given are those of an example. Where none of the first three is
    given, predictions are too, with errors of each kind.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = BoxesExplorer()
    >>> explorer.hits  # the target of each, −1 for a miss
    [0, 1, -1, -1, -1, -1, 2]
    >>> explorer.step = 12  # all of NMS
    >>> explorer.left, round(explorer.average_precision, 3)  # the fourth garment is not hit
    ([0, 1, 3, 4, 5, 6], 0.629)
    """

    parts = ("chart", "detections")
    classes = traitlets.List(list(CLASSES), read_only=True).tag(sync=True)
    image = Read([], _pixels)
    targets = Read([], _targets)
    predictions = Read([], _predictions)
    selected = Checked(0, integer(at_least=0, at_most=MOST - 1))
    iou_threshold = Checked(0.5, number(above=0, at_most=1))
    nms_threshold = Checked(0.5, number(at_least=0, at_most=1))
    per_class = Checked(True, boolean)
    step = Checked(0, integer(at_least=0, at_most=MOST))
    average = Checked("COCO", one_of(*_POINTS))
    label = traitlets.Unicode("Boxes explorer").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        example: dict[str, Any] = {}
        if not {"image", "targets"} <= traits.keys():
            example["image"], example["targets"] = scenes(1, seed=_SEED)[0]
        if not {"image", "targets", "predictions"} & traits.keys():
            example |= {"predictions": _EXAMPLE, "selected": _EXAMPLE.index(_LOOSE)}
        super().__init__(**example | traits)

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, labels and scores of the predictions."""
        boxes = torch.tensor([p["box"] for p in self.predictions], dtype=torch.float64)
        labels = torch.tensor([p["label"] for p in self.predictions], dtype=torch.int64)
        scores = torch.tensor([p["score"] for p in self.predictions], dtype=torch.float64)
        return boxes.view(-1, 4), labels, scores

    @property
    def left(self) -> list[int]:
        """Which predictions NMS has not dropped, after ``step`` steps."""
        boxes, labels, scores = self._tensors()
        kept = nms(boxes, scores, self.nms_threshold, labels if self.per_class else None)
        taken = kept[: self.step]
        overlaps = box_iou(boxes, boxes[taken]) > self.nms_threshold
        if self.per_class:
            overlaps &= labels[:, None] == labels[taken]
        dropped = overlaps.any(1)
        dropped[kept] = False
        return (~dropped).nonzero()[:, 0].tolist()

    @property
    def hits(self) -> list[int]:
        """The target that each prediction hits; −1 for a miss, or if NMS has dropped it."""
        boxes, labels, scores = self._tensors()
        left = self.left
        there = torch.tensor([t["box"] for t in self.targets], dtype=torch.float64)
        same = labels[left, None] == torch.tensor([t["label"] for t in self.targets])
        found = match(box_iou(boxes[left], there) * same, scores[left], self.iou_threshold)
        hits = torch.full_like(labels, -1)
        hits[left] = found
        return hits.tolist()

    @property
    def average_precision(self) -> float:
        """The average precision of the predictions that are left, all classes in one list."""
        left, (_, _, scores) = self.left, self._tensors()
        hits = torch.tensor(self.hits, dtype=torch.int64)[left] >= 0
        precision, recall, _ = precision_recall(scores[left], hits, len(self.targets))
        return average_precision(precision, recall, _POINTS[self.average])

    def picture(self) -> str:
        """Draw the scene, true boxes, and predictions, misses dashed, as an SVG element."""
        scale = 6
        shades = (torch.tensor(self.image) / 16).round().int().tolist()
        shapes = draw_pixels(shades, CANVAS, scale, "muted")

        def frame(item: Box, tone: str, more: str, text: str) -> str:
            x1, y1, x2, y2 = (scale * edge for edge in item["box"])
            name = f"{text} {self.classes[item['label']]}"
            return (
                f'<rect x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}" fill="none" '
                f'stroke="var(--d2-{tone})" stroke-width="2" {more}><title>{escape(name)}</title>'
                "</rect>"
            )

        for target in self.targets:
            shapes += frame(target, "output", "", "true box:")
        hits = self.hits
        for i in self.left:
            tone, more = ("input", "") if hits[i] >= 0 else ("kernel", 'stroke-dasharray="6 4"')
            shapes += frame(self.predictions[i], tone, more, f"{i + 1}")
        size = CANVAS * scale
        return f'<svg viewBox="0 0 {size} {size}" width="{size}">{shapes}</svg>'

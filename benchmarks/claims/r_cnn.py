"""R-CNN, Fast R-CNN, Faster R-CNN on the same scenes; and RoIPool against RoIAlign by stride.

    python benchmarks/claims/r_cnn.py    # writes r_cnn.csv beside it; about 16 CPU-minutes

What stands in the table already is not run again: delete it to begin anew.

400 scenes of garments 0 to 7,999 of the training images to learn from, 100 of the others to choose
the rate, 250 of the test. 100 steps of 16 scenes, ``fit``'s optimizer and schedule, up to 32
regions of each scene in a step. All have the chapter's backbone and head, with 32 maps.

- ``ladder``: how each way gets from an image to its regions. R-CNN cuts out each proposal of
  selective search, 24 × 24, and passes each through the network; Fast R-CNN passes the image once
  and reads each proposal from the maps by RoIAlign; Faster R-CNN makes 32 proposals of its own.
  Milliseconds are of the processor, for an image of the test, in batches of 20.
- ``stride``: regions read from maps of stride 4 and 16, by RoIPool and RoIAlign. The proposals
  are the same for all: those of one Faster R-CNN, trained as in the ladder.

- ``rule``: a region proposal network alone, with 32 maps, 100 steps of 16 scenes. Which anchors are
  foreground and background (0.7/0.3, 0.5/0.5, 0.5/0.3), and is the best anchor of a garment
  foreground whatever its IoU ("best")? With the six shapes of ``d2lite``, and with one of 22 × 22
  alone. Shares of the garments that one of the first 10 or 50 proposals overlaps by 0.5 or 0.75.
  0.7/0.3 and 0.5/0.5, both with "best", also for 300 steps, at the rate of the short run
  (``rule, long``).
- ``minute``: the whole Faster R-CNN as it ships, by the rules of ``benchmarks/detectors.py``, where
  YOLO's minute stands: as many steps of 32 scenes as take the processor seconds of 600 steps of
  YOLO, AdamW, float32, 500 scenes of the test. How many that are was measured by taking steps of
  both in turn, in one process: a step of Faster R-CNN takes 1.96 times as long. By AdamW alone; and
  with Muon, at a rate of its own, for the kernels of hidden convolutions and the head's first
  matrix, and AdamW for the rest. Rates were chosen by as many steps (``pilot``), learning from
  scenes of garments 0 to 7,999. At the same rates also with anchors labeled by 0.5/0.5 in place of
  0.7/0.3; these, with Muon, also from scenes of up to 8 garments; and for as many steps as YOLO has
  in its minute, which take two (``equal steps``).

Those of the ladder and of the strides are tried at three rates with one seed, and at further ones
as long as the best is the lowest or the highest that was tried; then, at the best, with two more
seeds. One row for each network.
"""

import csv
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import torch
from muon import train
from table import write_table
from torch import Tensor, nn
from torchvision import ops

from d2lite.boxes import evaluate_detections
from d2lite.data import Scenes, fashion_mnist, scenes
from d2lite.nets.faster_rcnn import (
    BINS,
    FasterRCNN,
    as_rois,
    backbone,
    box_head,
    detections,
    head_loss,
    loss,
)
from d2lite.nets.rpn import (
    RPN,
    SHAPES,
    label_anchors,
    make_anchors,
    overlaps,
    propose,
    rpn_loss,
)
from d2lite.selective_search import selective_search
from d2lite.train import fit

RATES, MORE, CHANNELS = [0.01, 0.03, 0.1], {0.01: 0.003, 0.1: 0.3, 0.3: 1.0}, 32
EPOCHS = 4
HEAD = ["Kind", "Way", "Stride", "Rate", "Steps", "Seed"]
HEAD += [f"{on} {ap}" for on in ("Choosing", "Test") for ap in ("AP50", "AP75", "AP")]
HEAD += ["Proposals ms", "Features ms", "Heads ms", "Training s"]
HEAD += ["Choosing recall", *(f"{n} at {t}" for n in (10, 50) for t in (0.5, 0.75))]


class Regions(nn.Module):
    """A backbone, a way to get a grid of 6 × 6 of each region, and the head."""

    def __init__(self, way: str, stride: int):
        super().__init__()
        self.backbone, self.head = backbone(CHANNELS, stride), box_head(CHANNELS)
        self.way, self.stride = way, stride

    def features(self, images: Tensor) -> Tensor:
        """Maps of the images; R-CNN has none of its own, and takes each region's later."""
        return images if self.way == "R-CNN" else self.backbone(images)

    def grids(self, maps: Tensor, rois: Tensor) -> Tensor:
        """Maps of each region."""
        if self.way == "R-CNN":
            crops = ops.roi_align(maps, rois, BINS * self.stride, 1.0, 2, aligned=True)
            return self.backbone(crops)
        if self.way == "RoIPool":
            return ops.roi_pool(maps, rois, BINS, 1 / self.stride)
        return ops.roi_align(maps, rois, BINS, 1 / self.stride, 2, aligned=True)

    def name(self, maps: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and differences of regions."""
        return self.head(self.grids(maps, rois)).split([11, 4], 1)


def lesson(model: Regions, images: Tensor, boxes: Tensor, labels: Tensor, found: Tensor) -> Tensor:
    """Compute the loss of regions given from outside."""
    maps = model.features(images)
    return head_loss(lambda rois: model.name(maps, rois), found, boxes, labels)


def searched(data: Scenes) -> Tensor:
    """Proposals of selective search, (N, P, 4), padded by boxes without area."""
    each = [selective_search(image[0]) for image in data.images]
    return nn.utils.rnn.pad_sequence(each, batch_first=True)


@torch.no_grad()
def detect(model: nn.Module, data: Scenes, found: Tensor | None) -> tuple[list, list[float]]:
    """Detections, and milliseconds an image for proposals, maps and heads."""
    said, spent = [], torch.zeros(3, dtype=torch.float64)
    model.eval()
    for part in torch.arange(len(data)).split(20):
        images, clock = data.images[part], [time.process_time()]
        if found is None:
            maps = model.backbone(images)
            clock.append(time.process_time())
            scores, deltas = model.rpn(maps)
            proposals = propose(scores, deltas, model.anchors, model.proposals)
            clock.append(time.process_time())
            outputs = model.name(maps, as_rois(proposals))
        else:
            proposals = found[part]
            there = (proposals[..., 2:] > proposals[..., :2]).all(2)  # the others are padding
            rois = as_rois(proposals, there)
            maps = model.features(images)
            if model.way == "R-CNN":
                maps = model.grids(maps, rois)
            clock += [time.process_time()] * 2
            grids = maps if model.way == "R-CNN" else model.grids(maps, rois)
            each = torch.zeros(there.numel(), 15)
            each[there.flatten()] = model.head(grids)
            outputs = each.split([11, 4], 1)
        said += detections(*outputs, proposals)
        clock.append(time.process_time())
        spent += torch.tensor(clock).diff()[[1, 0, 2]]
    return said, (1000 * spent / len(data)).tolist()


def row(kind: str, way: str, stride: int, rate: float, seed: int, sets: dict) -> list:
    """Train a network and judge it; the row of the table."""
    torch.manual_seed(seed)
    own = way == "Faster R-CNN"
    model = FasterRCNN(CHANNELS, stride) if own else Regions(way, stride)
    data = LEARN.tensors if own else (*LEARN.tensors, sets[LEARN])
    start = time.process_time()
    fit(model, data, loss=loss if own else lesson, epochs=EPOCHS, batch_size=16, lr=rate, seed=seed)
    training = time.process_time() - start
    aps = []
    for data in (CHOOSE, TEST):
        said, spent = detect(model, data, None if own else sets[data])
        ap = evaluate_detections(said, [data[i][1] for i in range(len(data))], classes=10)
        aps += [round(100 * x.nanmean().item(), 1) for x in (ap[0], ap[5], ap)]
    if kind == "ladder" and not own:
        spent[0] = sets["ms"]
    steps = EPOCHS * len(LEARN) // 16
    costs = [round(ms, 2) for ms in spent] + [round(training, 1)]
    return [kind, way, stride, rate, steps, seed, *aps, *costs, *[""] * 5]


def best(rows: list[list]) -> float:
    """Find the rate that is best on the scenes to choose on."""
    return float(max(rows, key=lambda r: float(r[HEAD.index("Choosing AP")]))[3])


def tuned(kind: str, way: str, stride: int) -> Iterator[list]:
    """Three rates or more, then more seeds at the best; what stands in the table is kept."""

    def once(rate: float, seed: int) -> list:
        key = [str(x) for x in (kind, way, stride, rate, seed)]
        done = [r for r in TABLE if [*r[:4], r[5]] == key]
        given = of_one_network if kind == "stride" else sought
        sets = {} if way == "Faster R-CNN" or done else given()
        return done[0] if done else row(kind, way, stride, rate, seed, sets)

    tried = []
    for rate in RATES:
        tried.append(once(rate, 0))
        yield tried[-1]
    while (edge := best(tried)) in (min(rates := [float(r[3]) for r in tried]), max(rates)):
        tried.append(once(MORE[edge], 0))
        yield tried[-1]
    for seed in (1, 2):
        yield once(best(tried), seed)


@functools.cache
def sought() -> dict:
    """Proposals of selective search for each set, and milliseconds an image."""
    start = time.process_time()
    sets = {data: searched(data) for data in (LEARN, CHOOSE, TEST)}
    return sets | {"ms": 1000 * (time.process_time() - start) / 750}


@functools.cache
def of_one_network() -> dict:
    """Proposals of one Faster R-CNN for each set."""
    torch.manual_seed(0)
    rpn = FasterRCNN(CHANNELS)
    fit(rpn, LEARN.tensors, loss=loss, epochs=EPOCHS, batch_size=16, lr=0.03)
    sets = {}
    with torch.no_grad():
        for data in (LEARN, CHOOSE, TEST):
            parts = [rpn.rpn(rpn.backbone(images)) for images in data.images.split(100)]
            sets[data] = torch.cat([propose(*p, rpn.anchors, rpn.proposals) for p in parts])
    return sets


# ---- Which anchors are foreground ----------------------------------------------------------------

SQUARE = ((22, 22),)
RULES = {
    "0.7/0.3, best": (0.3, 0.7, True), "0.7/0.3": (0.3, 0.7, False),
    "0.5/0.5, best": (0.5, 0.5, True), "0.5/0.5": (0.5, 0.5, False),
    "0.5/0.3, best": (0.3, 0.5, True), "0.5/0.3": (0.3, 0.5, False),
}  # fmt: skip


class Proposer(nn.Module):
    """A backbone and a region proposal network, without a second stage."""

    def __init__(self, shapes: tuple):
        super().__init__()
        self.backbone, self.rpn = backbone(CHANNELS), RPN(CHANNELS, len(shapes))
        self.anchors = make_anchors(shapes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and differences of anchors."""
        return self.rpn(self.backbone(images))


def foreground(iou: Tensor, low: float, high: float, best: bool) -> Tensor:
    """Label anchors as ``label_anchors`` does, or without a best one for each garment."""
    if best:
        return label_anchors(iou, low, high)
    most = iou.max(-1).values
    return torch.where(most >= high, 1, torch.where(most < low, 0, -1))


@torch.no_grad()
def recalls(model: Proposer, data: Scenes) -> list[float]:
    """Shares of the garments, in %, that one of the first 10 or 50 proposals overlaps enough."""
    parts = [propose(*model(images), model.anchors, 50) for images in data.images.split(50)]
    boxes, there = torch.cat(parts), data.labels >= 0
    best = [overlaps(boxes[:, :n], data.boxes).max(1).values[there] for n in (10, 50)]
    return [round(100 * (b >= t).float().mean().item(), 1) for b in best for t in (0.5, 0.75)]


def of_rule(way: str, rate: float, seed: int, epochs: int = 1) -> list:
    """Train a region proposal network by a rule; the row of the table."""
    torch.manual_seed(seed)
    shapes, name = way.split(": ")
    low, high, best = RULES[name]
    model = Proposer(SHAPES if shapes == "six" else SQUARE)
    rule = functools.partial(foreground, low=low, high=high, best=best)

    def lesson(model: Proposer, images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        return rpn_loss(*model(images), model.anchors, boxes, labels, rule=rule)

    start = time.process_time()
    learn = MORE_SCENES.tensors
    fit(model, learn, loss=lesson, epochs=epochs, batch_size=16, lr=rate, seed=seed)
    seconds = round(time.process_time() - start, 1)
    found = [recalls(model, data) for data in (CHOOSE, TEST)]
    chosen = round(sum(found[0]) / 4, 2)
    steps = epochs * len(MORE_SCENES) // 16
    kind = "rule" if epochs == 1 else "rule, long"
    return [kind, way, 4, rate, steps, seed, *[""] * 9, seconds, chosen, *found[1]]


def rules(names: list[str]) -> Iterator[list]:
    """Tune each rule by the mean of four recalls, then take more seeds."""
    for way in names:
        yield from searched_rate("rule", way, RATES, MORE, "Choosing recall", of_rule, (1, 2))


def longer(names: list[str]) -> Iterator[list]:
    """Train three times as long, at the best rate of the short runs."""
    for way in names:
        short = [r for r in TABLE if r[:2] == ["rule", way] and r[5] == "0"]
        rate = max(short, key=lambda r: float(r[HEAD.index("Choosing recall")]))[3]
        for seed in range(3):
            run = functools.partial(of_rule, epochs=3)
            yield once("rule, long", way, float(rate), seed, run)


def searched_rate(
    kind: str, way: str, rates: list, more: dict, column: str, run: Callable, seeds: tuple
) -> Iterator[list]:
    """Try rates until the best is between two others; then seeds at it."""
    tried = [once(kind, way, rate, 0, run) for rate in rates]
    yield from tried
    place = HEAD.index(column)
    while True:
        edge = float(max(tried, key=lambda r: float(r[place]))[3])
        all_rates = [float(r[3]) for r in tried]
        if edge not in (min(all_rates), max(all_rates)):
            break
        tried.append(once(kind, way, more[edge], 0, run))
        yield tried[-1]
    for seed in seeds:
        yield once(kind, way, edge, seed, run)


def once(kind: str, way: str, rate: float, seed: int, run: Callable) -> list:
    """Make a row, unless it stands in the table."""
    key = [kind, way, str(rate), str(seed)]
    done = [r for r in TABLE if [*r[:2], r[3], r[5]] == key]
    if not done:
        row = run(way, rate, seed)
        TABLE.append([str(x) for x in row])
        return row
    return done[0]


# ---- One minute ----------------------------------------------------------------------------------

STEPS = 306  # of 32 scenes: a minute
ONE_STAGE_STEPS = 600
ADAMW = 0.008  # its rate beside Muon
CROWDED = ", up to 8 garments"
AP = "Choosing AP"


def both_losses(
    model: FasterRCNN, images: Tensor, boxes: Tensor, labels: Tensor, way: str
) -> Tensor:
    """The loss of ``d2lite.nets.faster_rcnn``; if asked for, by the rule 0.5/0.5."""
    if "0.5/0.5" not in way:
        return loss(model, images, boxes, labels)
    maps = model.backbone(images)
    scores, deltas = model.rpn(maps)
    found = propose(scores, deltas, model.anchors, model.proposals)
    rule = functools.partial(label_anchors, low=0.5, high=0.5)
    first = rpn_loss(scores, deltas, model.anchors, boxes, labels, rule=rule)
    return first + head_loss(lambda rois: model.name(maps, rois), found, boxes, labels)


def a_minute(way: str, rate: float, seed: int, kind: str = "minute") -> list:
    """Train a detector for a minute; the row of the table."""
    torch.manual_seed(seed)
    pilot, steps = kind == "pilot", ONE_STAGE_STEPS if kind == "equal steps" else STEPS
    network = FasterRCNN()
    data = many(8000 if pilot else 10_000, steps, most=8 if CROWDED in way else 4)
    error, start = functools.partial(both_losses, way=way), time.process_time()
    rates = (ADAMW, rate) if "Muon" in way else (rate, 0)
    train(network, error, data, torch.randperm(len(data[0])).split(32), *rates)
    seconds = round(time.process_time() - start, 1)
    aps: list = [""] * 3 if not pilot else []
    part = CHOOSE if pilot else fresh()
    with torch.no_grad():
        said = [one for images in part.images.split(100) for one in network(images)]
    ap = evaluate_detections(said, [part[i][1] for i in range(len(part))], classes=10)
    aps += [round(100 * x.nanmean().item(), 1) for x in (ap[0], ap[5], ap)]
    aps += [""] * (6 - len(aps))
    return [kind, way, 4, rate, steps, seed, *aps, "", "", "", seconds, *[""] * 5]


@functools.cache
def many(garments: int, steps: int, most: int) -> tuple[Tensor, ...]:
    """Scenes to learn from, of the first garments: as many as so many steps see."""
    return scenes(32 * steps, 10, fashion_mnist()[0][:garments], most).tensors


@functools.cache
def fresh() -> Scenes:
    """Scenes of the test."""
    return scenes(500, seed=11, garments="test")


def minutes() -> Iterator[list]:
    """Rates of Faster R-CNN, then its minute; by AdamW, and with Muon."""
    pilot = functools.partial(a_minute, kind="pilot")
    equal = functools.partial(a_minute, kind="equal steps")
    for rule, rates, more in (
        ("", [0.001, 0.002, 0.004], {0.001: 0.0005, 0.004: 0.008, 0.008: 0.016}),
        (", Muon", [0.02, 0.05, 0.1], {0.02: 0.01, 0.1: 0.2, 0.2: 0.4}),
    ):
        tried = []
        for row in searched_rate("pilot", f"two stages{rule}", rates, more, AP, pilot, ()):
            tried.append(row)
            yield row
        best = float(max(tried, key=lambda r: float(r[HEAD.index(AP)]))[3])
        halves = f"two stages, 0.5/0.5{rule}"
        for way in (f"two stages{rule}", halves, *([halves + CROWDED] if rule else [])):
            for seed in range(3):
                yield once("minute", way, best, seed, a_minute)
        for seed in range(3):
            yield once("equal steps", halves, best, seed, equal)


ARMS = [("stride", way, 16) for way in ("RoIPool", "RoIAlign")]
ARMS += [("ladder", way, 4) for way in ("Faster R-CNN", "Fast R-CNN", "R-CNN")]
ARMS += [("stride", way, 4) for way in ("RoIPool", "RoIAlign")]


if __name__ == "__main__":
    garments = fashion_mnist()[0]
    LEARN = scenes(400, garments=garments[:8000])
    CHOOSE = scenes(100, seed=1, garments=garments[8000:])
    TEST = scenes(250, seed=1, garments="test")
    MORE_SCENES = scenes(1600, garments=garments[:8000])
    TABLE: list[list[str]] = []
    torch.set_num_threads(1)
    with suppress(FileNotFoundError):
        text = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
        TABLE = [row + [""] * (len(HEAD) - len(row)) for row in csv.reader(text.splitlines())][1:]
    names = [f"six: {name}" for name in RULES] + [f"one: {name}" for name in list(RULES)[:2]]
    ours = chain(
        minutes(), rules(names), longer([names[0], names[2]]), *(tuned(*arm) for arm in ARMS)
    )
    known = list(TABLE)  # goes first, so that a run that is interrupted loses nothing
    write_table(__file__, HEAD, chain(known, (row for row in ours if row not in known)))

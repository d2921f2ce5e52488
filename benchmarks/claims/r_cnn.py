"""R-CNN, Fast R-CNN, Faster R-CNN on the same scenes; and RoIPool against RoIAlign by stride.

    python benchmarks/claims/r_cnn.py    # writes r_cnn.csv beside it; about 8 CPU-minutes

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

Those of the ladder and of the strides are tried at three rates with one seed, and at further ones
as long as the best is the lowest or the highest that was tried; then, at the best, with two more
seeds. One row for each network.
"""

import csv
import functools
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
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
    propose,
)
from d2lite.selective_search import selective_search
from d2lite.train import fit

RATES, MORE, CHANNELS = [0.01, 0.03, 0.1], {0.01: 0.003, 0.1: 0.3, 0.3: 1.0}, 32
EPOCHS = 4
HEAD = ["Kind", "Way", "Stride", "Rate", "Steps", "Seed"]
HEAD += [f"{on} {ap}" for on in ("Choosing", "Test") for ap in ("AP50", "AP75", "AP")]
HEAD += ["Proposals ms", "Features ms", "Heads ms", "Training s"]


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
    return [kind, way, stride, rate, steps, seed, *aps, *costs]


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


ARMS = [("stride", way, 16) for way in ("RoIPool", "RoIAlign")]
ARMS += [("ladder", way, 4) for way in ("Faster R-CNN", "Fast R-CNN", "R-CNN")]
ARMS += [("stride", way, 4) for way in ("RoIPool", "RoIAlign")]


def runs(arm: tuple[str, str, int]) -> Iterator[list]:
    """Rows of an arm, after those of the others."""
    yield from [r for r in TABLE if r[:3] != [str(x) for x in arm]]
    yield from tuned(*arm)


if __name__ == "__main__":
    garments = fashion_mnist()[0]
    LEARN = scenes(400, garments=garments[:8000])
    CHOOSE = scenes(100, seed=1, garments=garments[8000:])
    TEST = scenes(250, seed=1, garments="test")
    TABLE: list[list[str]] = []
    torch.set_num_threads(1)
    for arm in ARMS:
        with suppress(FileNotFoundError):
            text = Path(__file__).with_suffix(".csv").read_text(encoding="utf-8")
            TABLE = list(csv.reader(text.splitlines()))[1:]
        write_table(__file__, HEAD, runs(arm))

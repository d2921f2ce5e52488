"""Which detector is best after a minute? Each way trains for 60 CPU-seconds of one thread.

    python benchmarks/detectors.py              # writes detectors.csv beside it
    python benchmarks/detectors.py AdamW        # only this way; the rows of others stay

The scenes of ``d2lite.data.scenes``: 16,000 to learn from, made of training garments before the
clock starts, and seen again if the minute is longer than that; 500 fresh ones of test garments, 1
to 4 in each, to test on; and 500 of training garments that the network has not seen, the 50,000
that do not ship (held out). AP as COCO counts it, at an IoU of 0.5 and of 0.75, in percent; of all
scenes, and of those in which no garment hides another.

How many steps are a minute was measured before, on a machine with little else to do, and is fixed
here: while others compute, a second of the processor does less. What a run took stands in its row.
A seed has its weights and its order of the scenes. One row for each network. Another way to detect
is one more entry of ``WAYS``.

Rates were chosen with one seed, in float32: learning from scenes of garments 0 to 7,999, judged by
400 scenes of the others. AP50 and AP75 there: AdamW 70 and 56 at 0.002, 73 and 59 at 0.004, 72 and
60 at 0.008, 73 and 61 at 0.016, 71 and 60 at 0.032, 72 and 58 at 0.064. Muon at 0.02, 0.05, 0.1 and
0.2, beside AdamW at 0.004: 80 and 66, 80 and 68, 80 and 69, 80 and 67; at 0.1 beside AdamW at
0.002, 0.008 and 0.016: 80 and 65, 81 and 68, 81 and 69.

Tried with Muon in float32, one seed each, on scenes of garments held out, where up to 4 garments in
a scene had an AP50 of 78.8: up to 6 and up to 8, 79.8 and 80.0. Not better: 50,000 garments to
learn from, 78.1. With up to 6: blocks of 2 × 2 pixels as four channels, which allows 870 steps,
80.3; a box as heavy as a score, 79.7; objectness times a softmax over the classes, 80.0.
"""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from claims.muon import train
from claims.table import write_table
from d2lite.boxes import evaluate_detections
from d2lite.data import Scenes, fashion_mnist, scenes
from d2lite.nets.yolo import YOLO, decode, detect, yolo_loss
from results import ROOT

SCENES, BATCH, SEEDS = 16_000, 32, range(3)
HEAD = ["Way", "Arithmetic", "Parameters", "Seed", "Steps", "CPU-seconds", "AP50", "AP75"]
HEAD += ["AP50, nothing hidden", "AP75, nothing hidden"]
HEAD += [f"{column}, held out" for column in HEAD[-4:]]

Found = list[dict[str, Tensor]]


@dataclass
class Way:
    """How to detect: the network, its loss as ``fit`` takes it, and what it finds in images.

    Attributes:
        steps: How many are 60 CPU-seconds, in float32 and in bfloat16; Muon's take 2 % more.
        lr: Of AdamW, as ``train`` takes it, and so is Muon's.
        most: Garments in the scenes that it learns from; in those of the tests there are up to 4.
    """

    network: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
    find: Callable[[nn.Module, Tensor], Found]
    steps: dict[str, int]
    lr: float
    muon: float = 0
    most: int = 4


def one_stage(network: nn.Module, images: Tensor) -> Found:
    """Find what the one-stage network finds."""
    return detect(*decode(*network(images)))


MINUTE = {"float32": 600, "bfloat16": 1150}
WAYS = {
    "AdamW": Way(YOLO, yolo_loss, one_stage, MINUTE, lr=0.016),
    "Muon": Way(YOLO, yolo_loss, one_stage, MINUTE, lr=0.016, muon=0.1),
    "Muon, up to 8 garments": Way(YOLO, yolo_loss, one_stage, MINUTE, lr=0.016, muon=0.1, most=8),
}


def learn(way: Way, data: tuple[Tensor, ...], steps: int, bfloat16: bool, seed: int) -> nn.Module:
    """Train a network; return it in evaluation mode."""
    torch.manual_seed(seed)
    network = way.network()
    order = torch.cat([torch.randperm(SCENES) for _ in range(steps * BATCH // SCENES + 1)])
    batches = order[: steps * BATCH].split(BATCH)
    return train(network, way.loss, data, batches, way.lr, way.muon, bfloat16)


@torch.no_grad()
def average_precision(way: Way, network: nn.Module, data: Scenes) -> list[float]:
    """AP50 and AP75 in percent, the mean over the classes."""
    found = [one for part in data.images.split(100) for one in way.find(network, part)]
    targets = [data[i][1] for i in range(len(data))]
    ap = evaluate_detections(found, targets, classes=10, iou_thresholds=[0.5, 0.75])
    return [round(100 * value, 1) for value in ap.nanmean(1).tolist()]


def rows(names: list[str]) -> Iterator[list]:
    """Train and test each way, one row a network."""
    held_out = fashion_mnist(full=True, root=ROOT)[0][10_000:]
    tests = []
    for fresh in (scenes(500, 11, "test"), scenes(500, 11, held_out)):
        tests += [fresh, fresh[((fresh.visible == 1) | (fresh.labels < 0)).all(1)]]
    for name in names:
        way = WAYS[name]
        train_data = scenes(SCENES, seed=10, most=way.most).tensors
        for arithmetic, steps in way.steps.items():
            for seed in SEEDS:
                start = time.process_time()
                network = learn(way, train_data, steps, arithmetic == "bfloat16", seed)
                seconds = round(time.process_time() - start)
                parameters = sum(parameter.numel() for parameter in network.parameters())
                aps = [average_precision(way, network, data) for data in tests]
                yield [name, arithmetic, parameters, seed, steps, seconds, *chain(*aps)]


def kept(names: list[str]) -> list[list]:
    """Read the rows of other ways from the table."""
    table = Path(__file__).with_suffix(".csv")
    lines = table.read_text(encoding="utf-8").splitlines()[1:] if table.exists() else []
    return [row for row in csv.reader(lines) if row[0] not in names]


if __name__ == "__main__":
    names = sys.argv[1:] or list(WAYS)
    write_table(__file__, HEAD, chain(kept(names), rows(names)))

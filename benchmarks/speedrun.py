"""How soon does a network say 93 %, and 94 %, of Fashion-MNIST's test images right, on two cores?

    python benchmarks/speedrun.py accuracy [93 | 94 | plain] …
    python benchmarks/speedrun.py time      # on a machine that does nothing else

One network, one pass over each test image: no ensemble, no copies of it. The rates were chosen on
10,000 training images that were held out; the epochs are as many as the aim takes. A training
counts from the images in memory to the trained weights: neither the import of PyTorch nor the test.
Three ways take turns at an epoch, so that whatever else the machine does falls on all of them:

record           the network and the loop below
earlier recipe   ``small_vgg`` and ``fit``, as both were at commit e0feac9
plain script     the record's network as tutorials train one: DataLoader, Adam, float32

A run that ``speedrun-runs.csv`` has already is not repeated: delete its line to do so.
"""

import csv
import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import Compose, RandomHorizontalFlip, ToTensor

from claims.muon import orthogonalized, turned_and_others
from d2lite.data import LabelledImages, fashion_mnist
from d2lite.data.augment import flip, shift
from d2lite.initializers import he_start_
from d2lite.plot import median_and_range
from d2lite.schedules import triangular
from d2lite.train import _keep_buffers, evaluate
from results import FOLDER, ROOT, THREADS, save

SEEDS = 5
CLASSES = 10
BATCH_SIZE = 256
MOMENTUM = 0.9
LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 5e-4

#: Rates at the peak: of Muon, which turns convolutions' kernels; and of SGD, for all else.
MUON_LR, LR = 0.1, 0.3

#: The share of images that an epoch leaves out, from the second on: those with the least loss when
#: they were last seen.
LEFT_OUT = 0.3

#: As many images as so many epochs of all have, and are they moved, to each accuracy in per cent.
RECORD: dict[int, tuple[float, bool]] = {93: (4.5, False), 94: (22, True)}

#: The epochs of the earlier recipe, which came to 93.2 and 93.8 (``nets-runs.csv``).
EARLIER = {93: 6, 94: 20}
COMMIT = "e0feac9"

#: The plain script ends at 93 %, or here; three seeds.
PLAIN_EPOCHS, PLAIN_SEEDS = 20, 3
ROUNDS = 5

RUNS = FOLDER / "speedrun-runs.csv"
HEAD = ["way", "seed", "epochs", "accuracy"]


def network() -> nn.Sequential:
    """Make a small VGG: each pooling comes before batch normalization and ReLU.

    A maximum is the same before a rising function as after it, and four times as fast there. It
    is not the same here where a normalization's scale is negative, or a batch has other statistics.
    """
    layers: list[nn.Module] = []
    channels = 1
    for out_channels, num_convs in (16, 1), (32, 2), (64, 3):
        for number in range(num_convs):
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=False))
            if number == num_convs - 1:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(out_channels), nn.ReLU()]
            channels = out_channels
    layers.append(nn.Flatten())
    for in_features, out_features in pairwise((64 * 3 * 3, 64, 64)):
        linear = nn.Linear(in_features, out_features, bias=False)
        layers += [linear, nn.BatchNorm1d(out_features), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, CLASSES))
    he_start_(model)
    return model


def batches_of_hard(losses: Tensor) -> Iterator[Tensor]:
    """Shuffle all images once; and then, again and again, all but those with the least loss."""
    chosen = torch.arange(len(losses))
    while True:
        for batch in chosen[torch.randperm(len(chosen))].split(BATCH_SIZE):
            if len(batch) == BATCH_SIZE:
                yield batch
        chosen = losses.argsort(descending=True)[: int((1 - LEFT_OUT) * len(losses))]


def learn(
    make: Callable[[], nn.Module], data: LabelledImages, epochs: float, moved: bool, seed: int,
    lr: float = LR,
) -> tuple[nn.Module, float]:  # fmt: skip
    """Train a network on as many images as so many epochs have; return it and the seconds."""
    _keep_buffers()
    torch.manual_seed(seed)
    model = make().to(memory_format=torch.channels_last).train()
    kernels, others = turned_and_others(model)
    decayed = [p for p in others if p.ndim > 1]
    velocities = {p: torch.zeros_like(p) for p in model.parameters()}
    total = int(epochs * (len(data) // BATCH_SIZE))
    schedule = triangular(total)
    losses = torch.full((len(data),), torch.inf)
    start = time.perf_counter()
    for step, chosen in zip(range(total), batches_of_hard(losses), strict=False):
        batch, wanted = flip(data.images[chosen]), data.labels[chosen]
        if moved:
            batch = shift(batch)
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(batch.contiguous(memory_format=torch.channels_last))
        errors = cross_entropy(
            scores.float(), wanted, label_smoothing=LABEL_SMOOTHING, reduction="none"
        )
        errors.mean().backward()
        losses[chosen] = errors.detach()
        with torch.no_grad():
            factor = schedule(step)
            for parameter in decayed:
                parameter.grad.add_(parameter, alpha=WEIGHT_DECAY)
            gradients = [p.grad for p in velocities]
            torch._foreach_mul_([*velocities.values()], MOMENTUM)
            torch._foreach_add_([*velocities.values()], gradients)
            torch._foreach_add_(gradients, [*velocities.values()], alpha=MOMENTUM)  # Nesterov's
            torch._foreach_add_(others, [p.grad for p in others], alpha=-lr * factor)
            turned = orthogonalized([kernel.grad.flatten(1) for kernel in kernels])
            torch._foreach_mul_(kernels, 1 - 10 * MUON_LR * factor * WEIGHT_DECAY)
            turned = [t.view_as(k) for t, k in zip(turned, kernels, strict=True)]
            torch._foreach_add_(kernels, turned, alpha=-MUON_LR * factor)
            model.zero_grad()
    seconds = time.perf_counter() - start
    return model.to(memory_format=torch.contiguous_format).eval(), seconds


def plain(folder: str, epochs: int, seed: int) -> Iterator[nn.Module]:
    """Train the record's network as tutorials do; give the network after each epoch."""
    torch.manual_seed(seed)
    model = network()
    data = FashionMNIST(folder, transform=Compose([RandomHorizontalFlip(), ToTensor()]))
    loader = DataLoader(data, batch_size=64, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        yield model


#: An epoch with the package as it was: its own ``fit``, its own network.
EARLIER_EPOCH = """
import torch
from d2lite.data import LabelledImages, fashion_mnist
from d2lite.nets.{module} import {name}
from d2lite.train import fit
torch.set_num_threads({threads})
train, _ = fashion_mnist(full=True, root={root!r})
print(fit({name}(), train, epochs=1, lr=0.3, label_smoothing=0.1, flip=True, shift={shift},
          bfloat16=True).seconds)
"""


def earlier_epoch(tree: str, moved: bool, name: str = "small_vgg") -> float:
    """Take the time of an epoch of e0feac9, in a process of its own, where that package lies."""
    module = name.removeprefix("small_").lower()
    script = EARLIER_EPOCH.format(
        module=module, name=name, threads=THREADS, root=ROOT, shift=int(moved)
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tree, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def take_time() -> None:
    """Let the ways take turns at an epoch, and write what all of theirs take, if that is known."""
    train, _ = fashion_mnist(full=True, root=ROOT)
    took: dict[str, list[float]] = {}
    runs = read()
    known = {way for way, _ in runs}
    aims = {aim: moved for aim, (_, moved) in RECORD.items() if f"record, to {aim} %" in known}
    with TemporaryDirectory() as folder:
        unpack(folder)
        for _ in range(ROUNDS):
            for aim, moved in aims.items():
                _, seconds = learn(network, train, 1, moved, seed=0)
                took.setdefault(f"record, to {aim} %", []).append(seconds)
                took.setdefault(f"earlier recipe, to {aim} %", []).append(
                    earlier_epoch(folder, moved)
                )
            start = time.perf_counter()
            next(plain(folder, 1, seed=0))
            took.setdefault("plain script, to 93 %", []).append(time.perf_counter() - start)
            print({way: round(seconds[-1], 1) for way, seconds in took.items()}, flush=True)
    rows = []
    for way, seconds_of_epoch in took.items():
        accuracy = [runs[run][1] for run in runs if run[0] == way]
        epochs = [runs[run][0] for run in runs if run[0] == way]
        if way.startswith("earlier"):
            epochs = [EARLIER[aim] for aim in RECORD if f"{aim} %" in way]
        seconds = median(seconds_of_epoch)
        rows.append([
            way, f"{median(epochs):g}" if epochs else "–",
            median_and_range(accuracy, digits=1) if accuracy else "–",
            f"{seconds:.1f}", f"{median(epochs) * seconds:.0f}" if epochs else "–",
        ])  # fmt: skip
    head = ["Way", "Epochs", "Accuracy (%)", "Seconds an epoch", "Seconds"]
    save("speedrun", head, rows)


def measure_accuracy(wanted: list[str]) -> None:
    """Make the runs that are missing."""
    runs = read()
    train, test = fashion_mnist(full=True, root=ROOT)
    with TemporaryDirectory() as folder:
        unpack(folder)
        for name, seed in product(wanted, range(SEEDS)):
            if name == "plain" and seed >= PLAIN_SEEDS:
                continue
            way = f"record, to {name} %" if name != "plain" else "plain script, to 93 %"
            if (way, seed) in runs:
                continue
            if name == "plain":
                accuracies = [0.0]
                for model in plain(folder, PLAIN_EPOCHS, seed):
                    accuracies.append(100 * evaluate(model, test))
                    if accuracies[-1] >= 93:  # which flatters it: the test images say when
                        break
                epochs, accuracy = len(accuracies) - 1, max(accuracies)
            else:
                epochs, moved = RECORD[int(name)]
                model, _ = learn(network, train, epochs, moved, seed)
                accuracy = 100 * evaluate(model, test)
            row = way, seed, epochs, round(accuracy, 2)
            print(*row, sep="\t", flush=True)
            with open(RUNS, "a", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerow(row)


def unpack(folder: str) -> None:
    """Put the package as it was, and the images as torchvision wants them, into a folder."""
    archive = subprocess.run(
        ["git", "archive", COMMIT, "d2lite"], cwd=FOLDER.parent, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
    raw = Path(folder, "FashionMNIST", "raw")
    raw.mkdir(parents=True)
    for file in Path(ROOT).glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))


def read() -> dict[tuple[str, int], tuple[float, float]]:
    """Read the runs that were made before."""
    if not RUNS.exists():
        RUNS.write_text(",".join(HEAD) + "\n", encoding="utf-8")
    with open(RUNS, newline="", encoding="utf-8") as stream:
        return {
            (row["way"], int(row["seed"])): (float(row["epochs"]), float(row["accuracy"]))
            for row in csv.DictReader(stream)
        }


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", THREADS)))
    match sys.argv[1:]:
        case ["accuracy", *wanted]:
            measure_accuracy(wanted or ["93", "94", "plain"])
        case ["time"]:
            take_time()
        case _:
            sys.exit(__doc__)

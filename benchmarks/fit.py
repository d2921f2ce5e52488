"""How much faster is ``fit`` than the ordinary pipeline? LeNet, the same epochs, side by side.

    python benchmarks/fit.py

Ordinary: torchvision's FashionMNIST and transforms, a DataLoader with 0 and with 2 workers, and
PyTorch's SGD in a plain loop. All take flips, batches of 128 and Nesterov's momentum. The
ways alternate, so that whatever else the machine does falls on all of them.
"""

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import Compose, RandomHorizontalFlip, ToTensor

from d2lite.data import fashion_mnist
from d2lite.data.augment import flip
from d2lite.nets.lenet import LeNet
from d2lite.train import evaluate, fit
from results import ROOT, THREADS, save

EPOCHS, ROUNDS, LR = 1, 3, 0.05


def ours(bfloat16: bool) -> tuple[float, LeNet]:
    """Train with ``fit``."""
    model = LeNet()
    history = fit(model, TRAIN, epochs=EPOCHS, lr=LR, augment=flip, bfloat16=bfloat16)
    return history.seconds, model


def ordinary(folder: str, workers: int) -> tuple[float, LeNet]:
    """Train as most tutorials do, with the same learning rates."""
    model = LeNet()
    data = FashionMNIST(folder, transform=Compose([RandomHorizontalFlip(), ToTensor()]))
    loader = DataLoader(data, batch_size=128, shuffle=True, num_workers=workers)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LR, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    steps = EPOCHS * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.2 * steps), (steps - step) / (0.8 * steps))
    )
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            schedule.step()
    return time.perf_counter() - start, model.eval()


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    TRAIN, TEST = fashion_mnist(full=True, root=ROOT)
    with TemporaryDirectory() as folder:
        raw = Path(folder, "FashionMNIST", "raw")
        raw.mkdir(parents=True)
        for file in Path(ROOT).glob("*.gz"):
            (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        ways: dict[str, Callable[[], tuple[float, LeNet]]] = {
            "fit, bfloat16": lambda: ours(bfloat16=True),
            "fit": lambda: ours(bfloat16=False),
            "DataLoader, 0 workers": lambda: ordinary(folder, workers=0),
            "DataLoader, 2 workers": lambda: ordinary(folder, workers=2),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        accuracy: dict[str, list[float]] = {way: [] for way in ways}
        for seed in range(ROUNDS):
            for way, train in ways.items():
                torch.manual_seed(seed)
                took, model = train()
                seconds[way].append(took)
                accuracy[way].append(100 * evaluate(model, TEST))
    best = {way: median(took) for way, took in seconds.items()}
    save(
        "fit",
        ["Way", "Seconds an epoch", "Times fit's", "Accuracy (%)"],
        [
            [
                way,
                f"{took / EPOCHS:.1f}",
                f"{took / best['fit']:.2f}",
                f"{median(accuracy[way]):.1f}",
            ]
            for way, took in best.items()
        ],
    )

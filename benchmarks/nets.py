"""How well, and how fast, do the small networks learn Fashion-MNIST?

    python benchmarks/nets.py                # every network, every budget, three seeds
    python benchmarks/nets.py VGG ResNet     # these only

Trained on the first 10,000 or on all 60,000 training images, tested on the 10,000 test images once,
at the end. A run that ``nets-runs.csv`` has already is not repeated: delete its line to do so.
"""

import csv
import sys
from collections.abc import Callable
from itertools import product
from statistics import median

import torch
from torch import nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.nets.alexnet import small_alexnet
from d2lite.nets.densenet import small_densenet
from d2lite.nets.googlenet import small_googlenet
from d2lite.nets.lenet import LeNet
from d2lite.nets.nin import small_nin
from d2lite.nets.resnet import small_resnet
from d2lite.nets.vgg import small_vgg
from d2lite.shapes import trace
from d2lite.train import evaluate, fit
from results import FOLDER, ROOT, THREADS, save

NETS: dict[str, Callable[[], nn.Module]] = {
    "LeNet": LeNet,
    "AlexNet": small_alexnet,
    "VGG": small_vgg,
    "NiN": small_nin,
    "GoogLeNet": small_googlenet,
    "ResNet": small_resnet,
    "DenseNet": small_densenet,
}
#: Training images, and the seconds that a training may take.
BUDGETS = (10_000, 15), (60_000, 60), (60_000, 180)

#: The accuracy that we aim at in each budget, in per cent.
TARGETS = {
    "LeNet": (88.5, 91.5, None),
    "VGG": (91.0, 93.3, 94.0),
    "ResNet": (91.0, 93.3, 94.0),
} | {name: (90.0, 92.8, 93.5) for name in ("AlexNet", "NiN", "GoogLeNet", "DenseNet")}

#: Epochs that fit in each budget.
EPOCHS: dict[str, tuple[int, int, int | None]] = {
    "LeNet": (30, 20, None),
    "AlexNet": (10, 7, 21),
    "VGG": (9, 6, 18),
    "NiN": (11, 7, 22),
    "GoogLeNet": (8, 6, 17),
    "ResNet": (8, 6, 17),
    "DenseNet": (8, 5, 16),
}
SEEDS = 3
RUNS = FOLDER / "nets-runs.csv"
HEAD = ["net", "images", "limit", "epochs", "seed", "accuracy", "seconds"]
Run = tuple[str, int, int, int | None, int]


def main(names: list[str]) -> None:
    """Make the runs that are missing, then the table of all."""
    torch.set_num_threads(THREADS)
    done = read()
    full, test = fashion_mnist(full=True, root=ROOT)
    small, _ = fashion_mnist()
    for budget, (images, limit) in enumerate(BUDGETS):
        for name, seed in product(names, range(SEEDS)):
            epochs = EPOCHS[name][budget]
            run = name, images, limit, epochs, seed
            if epochs and run not in done:
                done[run] = measure(run, small if images == len(small) else full, test)
                with open(RUNS, "a", newline="", encoding="utf-8") as stream:
                    csv.writer(stream, lineterminator="\n").writerow([*run, *done[run]])
                print(*run, *done[run], flush=True)
    summarize(done)


def measure(run: Run, train: LabelledImages, test: LabelledImages) -> tuple[float, float]:
    """Train once; return the accuracy in per cent, and the seconds that training took."""
    name, images, limit, epochs, seed = run
    torch.manual_seed(seed)
    model = NETS[name]()
    history = fit(
        model, train, epochs=epochs, lr=0.1 if name == "LeNet" else 0.3, label_smoothing=0.1,
        weight_decay=WEIGHT_DECAY[images], flip=True, shift=int(limit == 180), bfloat16=True,
        seed=seed,
    )  # fmt: skip
    return round(100 * evaluate(model, test), 2), round(history.seconds, 1)


#: Fewer images need a harder pull.
WEIGHT_DECAY = {10_000: 2e-3, 60_000: 5e-4}


def read() -> dict[Run, tuple[float, float]]:
    """Read the runs that were made before."""
    if not RUNS.exists():
        RUNS.write_text(",".join(HEAD) + "\n", encoding="utf-8")
    with open(RUNS, newline="", encoding="utf-8") as stream:
        return {
            (row["net"], *(int(row[key]) for key in HEAD[1:5])): (
                float(row["accuracy"]),
                float(row["seconds"]),
            )
            for row in csv.DictReader(stream)
        }


def summarize(runs: dict[Run, tuple[float, float]]) -> None:
    """Write the networks' sizes, and for each budget the median and the range over the seeds."""
    sizes = []
    for name, make in NETS.items():
        layers = trace(make(), (1, 28, 28))
        work = f"{layers.total_multiply_adds / 1e6:.1f} M"
        sizes.append([name, f"{layers.total_parameters:,}", work])
    save("nets", ["Network", "Parameters", "Multiply-adds"], sizes)
    for budget, (images, limit) in enumerate(BUDGETS):
        rows = []
        for name in NETS:
            chosen = name, images, limit, EPOCHS[name][budget]
            results = [result for run, result in runs.items() if run[:4] == chosen]
            if len(results) >= SEEDS:
                accuracies, seconds = zip(*results, strict=True)
                spread = f"({min(accuracies):.1f}–{max(accuracies):.1f})"
                shown = f"{median(accuracies):.1f} {spread}", f"{median(seconds):.0f}"
                rows.append([name, *shown, TARGETS[name][budget] or "–"])
        head = ["Network", "Accuracy (%)", "Seconds", "Aim (%)"]
        if rows:
            save(f"nets-{images}-in-{limit}", head, rows)


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETS))

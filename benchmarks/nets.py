"""How well, and how fast, do the small networks learn Fashion-MNIST?

    python benchmarks/nets.py                # every network, every budget, three seeds
    python benchmarks/nets.py VGG ResNet     # these only

Trained on the first 10,000 or on all 60,000 training images, tested on the 10,000 test images once,
at the end; and on the training images that were held out, if any. A run that ``nets-runs.csv`` has
already is not repeated: delete its line to do so. Two go on at a time, with one thread each; the
networks' seconds, with both, are those of ``epochs.py``.
"""

import csv
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from multiprocessing import Pool
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from d2lite.data import fashion_mnist
from d2lite.data.augment import flip, shift
from d2lite.data.small_nets import PACKAGED, pack
from d2lite.losses import accuracy, classification
from d2lite.nets.alexnet import small_alexnet
from d2lite.nets.densenet import small_densenet
from d2lite.nets.googlenet import small_googlenet
from d2lite.nets.lenet import LeNet
from d2lite.nets.nin import small_nin
from d2lite.nets.resnet import small_resnet
from d2lite.nets.vgg import small_vgg
from d2lite.plot import median_and_range
from d2lite.trace import trace
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
    "LeNet": (40, 26, None),
    "AlexNet": (13, 8, 26),
    "VGG": (10, 6, 20),
    "NiN": (14, 9, 28),
    "GoogLeNet": (10, 7, 21),
    "ResNet": (8, 6, 17),
    "DenseNet": (7, 5, 15),
}
SEEDS = 3
RUNS = FOLDER / "nets-runs.csv"
PREDICTIONS = FOLDER.parent / "_build" / "predictions"
HEAD = ["net", "images", "limit", "epochs", "seed", "accuracy", "held_out"]
Run = tuple[str, int, int, int | None, int]
Result = tuple[float, float | None]


def main(names: list[str]) -> None:
    """Make the runs that are missing, then the tables of all."""
    os.environ["TQDM_DISABLE"] = "1"  # fit's bars: two at once cannot be read
    done = read()
    PREDICTIONS.mkdir(parents=True, exist_ok=True)
    wanted = [
        (name, *budget, epochs, seed)
        for (i, budget), seed, name in product(enumerate(BUDGETS), range(SEEDS), names)
        if (epochs := EPOCHS[name][i])
    ]
    missing = [run for run in wanted if run not in done]
    with Pool(THREADS, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:  # Ctrl-C ends all
        for run, result in tqdm(
            pool.imap_unordered(measure, missing), total=len(missing), unit="run"
        ):
            done[run] = result
            with open(RUNS, "a", newline="", encoding="utf-8") as stream:
                csv.writer(stream, lineterminator="\n").writerow([*run, *result])
    summarize(done)


def flip_and_shift(*batch: Tensor) -> tuple[Tensor, ...]:
    """Mirror images, and move them by a pixel at most."""
    return shift(*flip(*batch), pixels=1)


def measure(run: Run) -> tuple[Run, Result]:
    """Train once; return both accuracies in per cent, and keep what the network predicts."""
    torch.set_num_threads(1)
    name, images, limit, epochs, seed = run
    full, test = fashion_mnist(full=True, root=ROOT)
    torch.manual_seed(seed)
    model = NETS[name]()
    fit(
        model, full[:images], epochs=epochs, lr=0.1 if name == "LeNet" else 0.3,
        loss=partial(classification, label_smoothing=0.1), weight_decay=WEIGHT_DECAY[images],
        augment=flip_and_shift if limit == 180 else flip, bfloat16=True, seed=seed,
    )  # fmt: skip
    with torch.no_grad():
        probabilities = torch.cat([model(batch).softmax(1) for batch in test.images.split(500)])
    torch.save(probabilities, PREDICTIONS / f"{name}-{images}-{limit}-{seed}.pt")
    others = full[images:]
    held_out = round(100 * evaluate(model, others), 2) if len(others) else None
    return run, (round(100 * accuracy(probabilities, test.labels), 2), held_out)


#: Fewer images need a harder pull.
WEIGHT_DECAY = {10_000: 2e-3, 60_000: 5e-4}


def read() -> dict[Run, Result]:
    """Read the runs that were made before."""
    if not RUNS.exists():
        RUNS.write_text(",".join(HEAD) + "\n", encoding="utf-8")
    with open(RUNS, newline="", encoding="utf-8") as stream:
        return {
            (row["net"], *(int(row[key]) for key in HEAD[1:5])): (
                float(row["accuracy"]),
                float(row["held_out"]) if row["held_out"] else None,
            )
            for row in csv.DictReader(stream)
        }


def summarize(runs: dict[Run, Result]) -> None:
    """Write the networks' sizes; for each budget the median and the range; what they predict."""
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
                tested, held_out = zip(*results, strict=True)
                row = {
                    "Network": name,
                    "Accuracy (%)": median_and_range(tested, digits=1),
                    "Held out (%)": f"{median(held_out):.1f}" if None not in held_out else None,
                    "Seconds": f"{training_seconds(name, budget):.0f}",
                    "Aim (%)": TARGETS[name][budget] or "–",
                }
                rows.append({key: value for key, value in row.items() if value is not None})
        if rows:
            save(f"nets-{images}-in-{limit}", rows[0], [row.values() for row in rows])
    keep_predictions(1)


def training_seconds(name: str, budget: int) -> float:
    """Return what the epochs of a budget take, by ``epochs.csv``."""
    with open(FOLDER / "epochs.csv", newline="", encoding="utf-8") as stream:
        epoch = {row["Network"]: float(row["Seconds"]) for row in csv.DictReader(stream)}
    return epoch[name] * EPOCHS[name][budget] * BUDGETS[budget][0] / 60_000


def keep_predictions(budget: int) -> None:
    """Pack what all networks of a budget predict into the file that ships with d2lite."""
    images, limit = BUDGETS[budget]
    files = [[PREDICTIONS / f"{name}-{images}-{limit}-{seed}.pt" for seed in range(SEEDS)]
             for name in NETS]  # fmt: skip
    if all(file.exists() for row in files for file in row):
        probabilities = torch.stack([torch.stack([torch.load(f) for f in row]) for row in files])
        np.savez_compressed(
            PACKAGED,
            names=np.array(list(NETS)),
            epochs=np.array([EPOCHS[name][budget] for name in NETS]),
            seconds=np.array([round(training_seconds(name, budget), 1) for name in NETS]),
            probabilities=pack(probabilities).numpy(),
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETS))

"""Do the seven small networks learn as much in 0.7 times the seconds, by the loop of the record?

    python benchmarks/speedrun_nets.py time        # first, on a machine that does nothing else
    python benchmarks/speedrun_nets.py accuracy

Beside the recipe of the one-minute table, which is ``fit`` as it was at commit e0feac9: there
60,000 images, mirrored, in bfloat16, for as many epochs as took a minute. The networks are the
same, and so are the rate, label smoothing and weight decay; batches have 256 images, Muon turns the
kernels of hidden convolutions, and from the second epoch on the 30 % easiest images are left out.
Nothing was tuned for single networks. The two ways take turns at an epoch; then the loop gets as
many halves of an epoch as fit into 0.7 times the earlier recipe's seconds. Three seeds.
"""

import csv
import os
import sys
from statistics import median
from tempfile import TemporaryDirectory

import torch

from d2lite.data import fashion_mnist
from d2lite.plot import median_and_range
from d2lite.train import evaluate
from nets import EPOCHS, NETS
from nets import read as earlier_runs
from results import FOLDER, ROOT, THREADS, save
from speedrun import LR, earlier_epoch, learn, unpack

ROUNDS, SEEDS, SHARE = 3, 3, 0.7
MINUTE = 60_000, 60  # images, seconds
TIMES = FOLDER / "speedrun-nets-seconds.csv"


def take_time() -> None:
    """Let both ways and all networks take turns at an epoch."""
    train, _ = fashion_mnist(full=True, root=ROOT)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in NETS}
    with TemporaryDirectory() as folder:
        unpack(folder)
        for _ in range(ROUNDS):
            for name, make in NETS.items():
                earlier = earlier_epoch(folder, False, make.__name__)
                took[name].append((earlier, learn(make, train, 1, False, seed=0)[1]))
                print(name, *(f"{seconds:.1f}" for seconds in took[name][-1]), flush=True)
    rows = [[name, *map(median, zip(*times, strict=True))] for name, times in took.items()]
    rows = [[name, f"{earlier:.2f}", f"{now:.2f}"] for name, earlier, now in rows]
    save("speedrun-nets-seconds", ["Network", "Earlier", "Now"], rows)


def measure_accuracy() -> None:
    """Train each network for the share of the earlier recipe's seconds, and write the table."""
    train, test = fashion_mnist(full=True, root=ROOT)
    with open(TIMES, newline="", encoding="utf-8") as stream:
        seconds = {
            r["Network"]: (float(r["Earlier"]), float(r["Now"])) for r in csv.DictReader(stream)
        }
    known, rows = earlier_runs(), []
    for name, make in NETS.items():
        (earlier, now), before = seconds[name], EPOCHS[name][1]
        epochs = int(2 * SHARE * before * earlier / now) / 2
        found = []
        for seed in range(SEEDS):
            model, _ = learn(make, train, epochs, False, seed, lr=0.1 if name == "LeNet" else LR)
            found.append(100 * evaluate(model, test))
            print(name, epochs, seed, round(found[-1], 2), flush=True)
        was = [run[0] for key, run in known.items() if key[:4] == (name, *MINUTE, before)]
        rows.append([
            name, before, median_and_range(was, digits=1),
            f"{epochs:g}", median_and_range(found, digits=1),
            f"{epochs * now / (before * earlier):.2f}",
        ])  # fmt: skip
    head = ["Network", "Epochs of fit", "right (%)", "Epochs of the loop", "right then (%)"]
    save("speedrun-nets", [*head, "Seconds, ratio"], rows)


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", THREADS)))
    match sys.argv[1:]:
        case ["time"]:
            take_time()
        case ["accuracy"]:
            measure_accuracy()
        case _:
            sys.exit(__doc__)

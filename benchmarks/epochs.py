"""How long does each small network take for an epoch over 60,000 images?

    python benchmarks/epochs.py

They take turns, so that whatever else the machine does falls on all of them; the median counts.
"""

from statistics import median

import torch

from d2lite.data import fashion_mnist
from d2lite.data.augment import flip
from d2lite.train import fit
from nets import NETS
from results import ROOT, THREADS, save

ROUNDS = 3

if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    train, _ = fashion_mnist(full=True, root=ROOT)
    took: dict[str, list[float]] = {name: [] for name in NETS}
    for round_ in range(ROUNDS):
        for name, make in NETS.items():
            if round_ == 0:
                fit(
                    make(), train[:5000], epochs=1, augment=flip, bfloat16=True
                )  # what happens once
            history = fit(make(), train, epochs=1, augment=flip, bfloat16=True)
            took[name].append(history.seconds)
    rows = [
        [name, f"{median(times):.2f}", f"{min(times):.2f}–{max(times):.2f}"]
        for name, times in took.items()
    ]
    save("epochs", ["Network", "Seconds", "Range"], rows)

"""How far do two runs with the same seed agree?

    python benchmarks/reproduce.py

LeNet, 2 epochs of 10,000 images, twice in one process.
"""

import torch
from torch import Tensor

from d2lite.data import fashion_mnist
from d2lite.data.augment import flip
from d2lite.nets.lenet import LeNet
from d2lite.train import evaluate, fit
from results import save


def run(threads: int, bfloat16: bool) -> tuple[Tensor, float]:
    """Train once; return all weights, and the accuracy in per cent."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = LeNet()
    fit(model, TRAIN, epochs=2, augment=flip, bfloat16=bfloat16)
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return weights, 100 * evaluate(model, TEST)


if __name__ == "__main__":
    TRAIN, TEST = fashion_mnist()
    rows = []
    for bfloat16 in (False, True):
        for threads in ((1, 1), (2, 2), (1, 2)):
            (first, accuracy), (second, other) = (run(n, bfloat16) for n in threads)
            difference = (first - second).abs().max().item()
            rows.append(
                [
                    "bfloat16" if bfloat16 else "float32",
                    f"{threads[0]} and {threads[1]}",
                    "none" if difference == 0 else f"{difference:.1g}",
                    f"{accuracy:.2f}, {other:.2f}",
                ]
            )
    save("reproduce", ["Type", "Cores", "Largest difference", "Accuracies (%)"], rows)

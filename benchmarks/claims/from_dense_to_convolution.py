"""Does the edge of convolutions last? The long run behind the chapter on dense and convolution.

    python benchmarks/claims/from_dense_to_convolution.py    # writes the .csv beside it; 2 minutes

The chapter's two networks of equal size. First for 10 epochs instead of 3, at three rates, on the
garments as they are and with their pixels scrambled; then as long as in the chapter (471 steps),
with fewer training images. One row for each network.
"""

from collections.abc import Iterator

import torch
from table import write_table
from torch import Tensor, nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.train import evaluate, fit

HEAD = ["Network", "Pixels", "Images", "Epochs", "Rate", "Seed", "Accuracy, %"]


def network(name: str) -> nn.Sequential:
    """Build one of the two, with 12,730 and 12,656 parameters."""
    if name == "dense":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    first = nn.Conv2d(1, 8, kernel_size=5, stride=2, padding=2)
    second = nn.Conv2d(8, 18, kernel_size=5, stride=2, padding=2)
    layers = [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(18 * 7 * 7, 10)]
    return nn.Sequential(*layers)


def scrambled(data: LabelledImages) -> LabelledImages:
    """Give the pixels another order, the same for every image."""
    order = torch.randperm(784, generator=torch.Generator().manual_seed(0))
    images: Tensor = data.images.flatten(-2)[..., order].reshape(data.images.shape)
    return LabelledImages(images, data.labels, data.classes)


def settings() -> Iterator[tuple[str, str, int, int, float, int]]:
    """Name all runs: network, pixels, images, epochs, rate, seed."""
    for name in ("dense", "convolutions"):
        for pixels in ("as they are", "scrambled"):
            for rate in (0.03, 0.1, 0.3):
                yield name, pixels, 10_000, 10, rate, 0
        for images in (300, 1_000, 3_000):
            for seed in range(3):
                yield name, "as they are", images, 30_000 // images, 0.1, seed


def all_rows() -> Iterator[list]:
    """Train them all."""
    sets = {"as they are": fashion_mnist()}
    sets["scrambled"] = tuple(map(scrambled, sets["as they are"]))
    for name, pixels, images, epochs, rate, seed in settings():
        train, test = sets[pixels]
        torch.manual_seed(seed)
        model = network(name)
        fit(model, train[:images], epochs=epochs, lr=rate, batch_size=64, seed=seed)
        yield [name, pixels, images, epochs, rate, seed, f"{100 * evaluate(model, test):.1f}"]


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

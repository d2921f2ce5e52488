"""Does a network's answer stay when the picture moves? The long run behind the chapter on pooling.

    python benchmarks/claims/pooling.py    # writes pooling.csv beside it; about 17 CPU-minutes

Networks that differ only in how they halve, trained as the chapter does, but for 10 epochs instead
of 2 and with five seeds; then, with three, the controls: other filters, and zeros as a border, near
and far. Then other rates: at 0.3 most networks stop learning; at 0.03 they need three times the
epochs. And max pooling stopped early, when it is no more accurate than the others. One row for each
network: its accuracy, and the share of 2,000 test images that get the same class at two places, 1
to 4 pixels apart along the diagonal.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import LabelledImages, fashion_mnist
from d2lite.train import fit, predict

HEAD = ["Halved by", "Padding", "Frame", "Images", "Epochs", "Rate", "Seed", "Accuracy, %"]
HEAD += [f"Same at {pixels} px, %" for pixels in (1, 2, 3, 4)]
PLACES = [(0, 1), (-1, 1), (-1, 2), (-2, 2)]


class MaxAtEveryPixel(nn.Module):
    """The largest of 2 × 2 pixels, in steps of one; round in circles."""

    def forward(self, X: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        for axis in (-2, -1):
            X = torch.maximum(X, X.roll(-1, axis))
        return X


class BlurPool(nn.Module):
    """Weights (1, 2, 1)/4 along each axis, round in circles, in steps of two."""

    def forward(self, X: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H/2, W/2)."""
        kernel = torch.tensor([1.0, 2, 1]) / 4
        weight = torch.outer(kernel, kernel).expand(X.shape[1], 1, 3, 3)
        X = F.pad(X, (1, 1, 1, 1), mode="circular")
        return F.conv2d(X, weight, stride=2, groups=X.shape[1])


SHRINKERS: dict[str, Callable[[], nn.Module]] = {
    "max": lambda: nn.MaxPool2d(2),
    "stride": nn.Identity,
    "average": lambda: nn.AvgPool2d(2),
    "blur": BlurPool,
    "max, average": lambda: nn.Sequential(MaxAtEveryPixel(), nn.AvgPool2d(2)),
    "max, blur": lambda: nn.Sequential(MaxAtEveryPixel(), BlurPool()),
}


def network(shrink: str, border: str) -> nn.Sequential:
    """Build the chapter's network: 8, 16, 32 channels, two halvings, a global average."""
    layers: list[nn.Module] = []
    channels = 1
    for width in (8, 16, 32):
        halve = width < 32
        stride = 2 if halve and shrink == "stride" else 1
        conv = nn.Conv2d(channels, width, 3, stride, padding=1, padding_mode=border)
        nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.ReLU()]
        if halve:
            layers.append(SHRINKERS[shrink]())
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def framed(images: Tensor, frame: int, offset: int = 0) -> Tensor:
    """Put images into a black frame, moved down and to the right."""
    before, after = frame + offset, frame - offset
    return F.pad(images, (before, after, before, after))


def settings() -> Iterator[tuple[str, str, int, int, int, float, int]]:
    """How each network is made and trained: what stands before the accuracy in a row."""
    for seed in range(5):
        for shrink in ("max", "stride", "average", "max, blur"):
            yield shrink, "circular", 2, 2000, 10, 0.1, seed
    for seed in range(3):
        for shrink in ("blur", "max, average"):
            yield shrink, "circular", 2, 2000, 10, 0.1, seed
        for frame in (2, 10):
            for shrink in ("max", "average"):
                yield shrink, "zeros", frame, 2000, 10, 0.1, seed
    for epochs, rate in ((10, 0.03), (10, 0.3), (30, 0.03)):
        for seed in range(3):
            for shrink in ("max", "stride", "average", "max, blur"):
                yield shrink, "circular", 2, 2000, epochs, rate, seed
    for seed in range(5):
        yield "max", "circular", 2, 2000, 7, 0.1, seed


def run(
    shrink: str, border: str, frame: int, images: int, epochs: int, rate: float, seed: int
) -> list[float]:
    """Train one network; its accuracy and consistencies, in percent."""
    train, test = fashion_mnist()
    lesson = LabelledImages(
        framed(train.images[:images], frame), train.labels[:images], train.classes
    )
    torch.manual_seed(seed)
    model = network(shrink, border)
    fit(model, lesson, epochs=epochs, batch_size=16, lr=rate, seed=seed)
    shown = test[:2000]
    named = {o: predict(model, framed(shown.images, frame, o)) for o in range(-2, 3)}
    right = named[0] == shown.labels
    same = [named[a] == named[b] for a, b in PLACES]
    return [round(100 * share.double().mean().item(), 2) for share in (right, *same)]


if __name__ == "__main__":
    write_table(__file__, HEAD, ([*setting, *run(*setting)] for setting in settings()))

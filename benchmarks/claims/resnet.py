"""Start or sum: what does a shortcut change? The long run behind the chapter on ResNet.

    python benchmarks/claims/resnet.py    # writes resnet.csv beside it; about 12 CPU-minutes

Garments of 14 × 14 pixels: 1,000 to learn from, in batches of 32, with Nesterov's momentum of 0.9,
weight decay, and a rate that rises over the first fifth of the steps and then falls to 0. The
networks have a convolution, a max pooling, a stage of 8 channels on 7 × 7 and one of 16 channels on
4 × 4 with n blocks each, and a linear layer: 4n + 2 layers. They differ in their blocks, and in
where they start. "From the identity": each block at first hands on what it gets, by γ = 0 behind
its path where there is a shortcut, and by kernels with a single 1 and matching γ and β where there
is none. So the plain and the residual one start as the same function. One row for each network: its
loss in training, over the last 30 steps; its errors on the 1,000, on 1,000 others to choose by, and
on 2,000 to test; after the long runs the accuracy with one block left out and with two neighbors
swapped, as the median over the places, on 250 others; and, at its start, how many times as large
the gradient of a kernel is, divided by the kernel's length, in its first four layers as in its last
four (where γ = 0 leaves a gradient at all).
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.nets.resnet import Residual, ResNet, basic_block, basic_path, conv_bn
from d2lite.schedules import triangular
from d2lite.side_by_side import SideBySide, _answer, evaluate_all, fit_all, orders

HEAD = ["Layers", "Network", "Steps", "Rate", "Seed", "Loss", "Training error, %"]
HEAD += ["Chosen by, %", "Test error, %", "One out: right, %", "Swapped: right, %", "Gradient"]
IMAGES, BATCH, WIDTH = 1000, 32, 8
train, test = fashion_mnist()
pixels, new = (F.avg_pool2d(data.images, 2)[None] for data in (train, test))
labels, new_labels = train.labels[None], test.labels[None]


class Plain(Residual):
    """The block without its sum."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x to relu(F(x))."""
        return torch.relu(self.path(x))


class PreActivation(Residual):
    """The block without a ReLU behind its sum."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x to F(x) + x."""
        return self.path(x) + self.shortcut(x)


def plain_block(in_channels: int, out_channels: int, stride: int = 1) -> Plain:
    """Two convolutions, and no shortcut."""
    return Plain(basic_path(in_channels, out_channels, stride), nn.Identity())


def pre_activation_block(in_channels: int, out_channels: int, stride: int = 1) -> PreActivation:
    """Two convolutions, each behind its normalization and its ReLU, and a shortcut past them."""
    path = nn.Sequential(
        nn.BatchNorm2d(in_channels), nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels), nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
    )  # fmt: skip
    if in_channels == out_channels and stride == 1:
        return PreActivation(path, nn.Identity())
    return PreActivation(path, nn.Conv2d(in_channels, out_channels, 1, stride, bias=False))


def network(depth: int, block: Callable[..., nn.Module]) -> ResNet:
    """Build one, from its ordinary random start."""
    stem = nn.Sequential(*conv_bn(1, WIDTH, 3), nn.ReLU(), nn.MaxPool2d(2))
    model = ResNet(stem, block, [WIDTH, WIDTH, 2 * WIDTH], [(depth - 2) // 4] * 2, 10)
    if block is pre_activation_block:
        model.stages.append(nn.Sequential(nn.BatchNorm2d(2 * WIDTH), nn.ReLU()))
    return model


def silent(model: ResNet) -> ResNet:
    """Let each path begin at zero: the scale of its last normalization, or its last kernels."""
    for block in model.modules():
        if isinstance(block, Residual):
            nn.init.zeros_(block.path[-1].weight)
    return model


@torch.no_grad()
def plain_from_the_identity(depth: int, seed: int) -> ResNet:
    """Build the plain network that starts as the same function as the silent residual one."""
    torch.manual_seed(seed)
    twin = silent(network(depth, basic_block))
    model = network(depth, plain_block)
    model.stem.load_state_dict(twin.stem.state_dict())
    model.fc.load_state_dict(twin.fc.state_dict())
    images = pixels[0, 5000:5500]
    x = model.stem(images)
    for block, other in zip(blocks(model), blocks(twin), strict=True):
        first, first_norm, _, second, second_norm = block.path
        if isinstance(other.shortcut, nn.Identity):
            hand_on(first, first_norm, x)
        else:  # the projection of the shortcut, in the middle of a kernel of 3 × 3
            first.weight.zero_()[:, :, 1:2, 1:2] = other.shortcut[0].weight
        hand_on(second, second_norm, torch.relu(first_norm(first(x))))
        x = block(x)
    torch.testing.assert_close(model(images), twin(images), atol=1e-3, rtol=1e-3)
    return model


def hand_on(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor) -> None:
    """Make a convolution and its normalization the identity, for maps x ≥ 0."""
    nn.init.dirac_(convolution.weight)
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean)


def ordinary(block: Callable[..., nn.Module]) -> Callable[[int, int], ResNet]:
    """Make a maker of networks from a depth and a seed."""

    def make(depth: int, seed: int) -> ResNet:
        torch.manual_seed(seed)
        return network(depth, block)

    return make


NETWORKS: dict[str, Callable[[int, int], ResNet]] = {
    "plain": ordinary(plain_block),
    "plain, from the identity": plain_from_the_identity,
    "residual": ordinary(basic_block),
    "residual, from the identity": lambda *its: silent(ordinary(basic_block)(*its)),
    "pre-activation": ordinary(pre_activation_block),
}
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
#: With which 200 steps end at the least training error: these two, to see whether they catch up.
BEST = {"plain": 0.1, "plain, from the identity": 0.01}


class Towers(SideBySide):
    """The same, in half of the time: block by block, all networks in each call."""

    def forward(self, x: Tensor) -> Tensor:
        """Answer for each network: (R or 1, N, 1, 14, 14) → (R, N, 10)."""
        x = _answer(self.form.stem, x.expand(len(self), *x.shape[1:]))
        for block in (block for stage in self.form.stages for block in stage):
            if isinstance(block, Residual):
                path, shortcut = _answer(block.path, x), _answer(block.shortcut, x)
                x = path if isinstance(block, Plain) else path + shortcut
                x = x if isinstance(block, PreActivation) else torch.relu(x)
            else:
                x = _answer(block, x)
        return _answer(self.form.fc, x.mean((3, 4)))


def blocks(model: ResNet) -> list[Any]:
    """List its blocks, from the first to the last."""
    return [block for block in model.modules() if isinstance(block, Residual)]


def lengths(tensor: Tensor) -> Tensor:
    """Of each network's: (R, out, in, k, k) → (R,)."""
    return torch.linalg.vector_norm(tensor.detach().flatten(1), dim=1)


def kernels(model: nn.Module) -> list[nn.Parameter]:
    """List the stacked kernels of 3 × 3, from the first layer to the last."""
    return [p for p in model.parameters() if p.ndim == 5 and p.shape[-1] == 3]


def gradient_ratio(networks: SideBySide) -> Tensor:
    """Of each network, on 100 images: gradient over length, first four layers over last four."""
    networks.train()
    scores, truth = networks(pixels[:, :100]), labels[:, :100].expand(len(networks), -1)
    F.cross_entropy(scores.flatten(0, 1), truth.flatten(), reduction="sum").backward()
    turns = torch.stack([lengths(p.grad) / lengths(p) for p in kernels(networks)])
    networks.zero_grad()
    return turns[:4].log().mean(0).sub(turns[-4:].log().mean(0)).exp()


def without(networks: SideBySide) -> tuple[Tensor, Tensor]:
    """Accuracies with a block left out, and with two swapped: medians over the places."""

    def right() -> Tensor:
        return evaluate_all(networks, pixels[:, 5000:5250], labels[:, 5000:5250])

    left_out, swapped = [], []
    for stage in list(networks.form.stages)[:2]:
        places = range(0 if stage is networks.form.stages[0] else 1, len(stage))
        for i in places:
            block, stage[i] = stage[i], nn.Identity()
            left_out.append(right())
            stage[i] = block
        for i, j in pairwise(places):
            stage[i], stage[j] = stage[j], stage[i]
            swapped.append(right())
            stage[i], stage[j] = stage[j], stage[i]
    return torch.stack(left_out).median(0).values, torch.stack(swapped).median(0).values


def run(depth: int, name: str, steps: int, rates: tuple[float, ...], seeds: int) -> Iterator[list]:
    """Train one kind of network at all rates, some seeds each; a row for each."""
    settings = [(rate, seed) for rate in rates for seed in range(seeds)]
    networks = Towers([NETWORKS[name](depth, seed) for _, seed in settings])
    ratio = gradient_ratio(networks)
    order = orders(IMAGES, BATCH, steps, [seed for _, seed in settings])
    batches = ((pixels[0, i], train.labels[i]) for i in order)
    recipe = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    schedule = triangular(steps, 0.2)
    lr = [rate for rate, _ in settings]
    losses = fit_all(networks, batches, lr=lr, schedule=schedule, **recipe)[-30:].mean(0)
    parts = (pixels[:, :IMAGES], labels[:, :IMAGES]), (pixels[:, 9000:], labels[:, 9000:])
    errors = [1 - evaluate_all(networks, *data) for data in (*parts, (new, new_labels))]
    columns = [losses, *(100 * error for error in errors)]
    nan = torch.full_like(ratio, torch.nan)  # not measured in the short runs
    columns += [100 * right for right in (without(networks) if steps > 200 else (nan, nan))]
    columns.append(ratio)
    for (rate, seed), *row in zip(settings, *(c.tolist() for c in columns), strict=True):
        yield [depth, name, steps, rate, seed, *(f"{value:.4g}" for value in row)]


def everything() -> Iterator[list]:
    """Train all: briefly at five rates, then longer at the best."""
    for name in NETWORKS:
        yield from run(34, name, 200, RATES, 3)
    for name, rate in BEST.items():
        yield from run(34, name, 600, (rate,), 5)
    for name in BEST:  # below the lowest
        yield from run(34, name, 200, (0.003,), 3)
    yield from run(34, "residual", 600, (0.03,), 3)
    for steps in (1800, 3600):
        yield from run(34, "plain", steps, (0.1,), 3)


if __name__ == "__main__":
    write_table(__file__, HEAD, everything())

"""Where does a network train, and why? The long run behind the chapter on batch normalization.

    python benchmarks/claims/batch_norm.py    # writes batch_norm.csv beside it; about 8 CPU-minutes

Networks of 3 and of 12 convolutions on garments of 14 × 14 pixels: 2,000 to learn from, 300 steps
of 32, at seven rates, by plain gradient descent and by Adam. They differ in what stands behind
their convolutions, or in how they start; "pinned" means that each kernel gets its first length
back after each step. One row for each network: its loss in training, over the last 30 steps; its
accuracy on 1,000 images to choose by and on 2,000 to test, with the running statistics and with
statistics of 1,000 images for the last weights; and, as means over eight moments in training,

- how far the mean of the last ReLU before the last convolution moves in a step, in deviations;
- how much the gradient of the loss of 100 images changes along one step of plain descent at this
  rate, as a share of its own length;
- and the loss that this step gains, as a share of what the gradient promises.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.norm import fold
from d2lite.optim import SGD, Adam
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Convolutions", "Optimizer", "Network", "Rate", "Seed", "Loss", "Chosen by, %", "Test, %"]
HEAD += ["Recomputed, %", "Movement", "Gradient changes by", "Gain of the promised"]
RATES = {"SGD": (0.01, 0.03, 0.1, 0.3, 1, 3, 10)}
RATES["Adam"] = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
SEEDS, STEPS, BATCH = 5, 300, 32
MOMENTS = (4, 20, 50, 90, 140, 190, 240, 290)
train, test = fashion_mnist()
pixels, new = (F.avg_pool2d(data.images, 2)[None] for data in (train, test))
labels, new_labels = train.labels[None], test.labels[None]


class Shake(nn.Module):
    """In training, scale and shift each channel at random, at each step anew: (N, C, H, W)."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.register_buffer("strength", torch.tensor(strength))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by 1 − s to 1 + s and add −s to s; nothing in evaluation."""
        if not self.training:
            return x
        scale, shift = self.strength * (2 * torch.rand(2, x.shape[1], 1, 1) - 1)
        return x * (1 + scale) + shift


def network(depth: int, behind: Callable[[int], list[nn.Module]]) -> nn.Sequential:
    """Build one: 16, 32 and 64 channels, or twelve times 16; a global average; ten scores."""
    layers: list[nn.Module] = []
    channels = 1
    for i, width in enumerate((16, 32, 64) if depth == 3 else [16] * depth):
        stride = 2 if i < (3 if depth == 3 else 2) else 1
        layers += [nn.Conv2d(channels, width, 3, stride, padding=1), *behind(width)]
        channels = width
    side = 2 if depth == 3 else 4
    return nn.Sequential(*layers, nn.AvgPool2d(side), nn.Flatten(), nn.Linear(channels, 10))


def plain(depth: int) -> nn.Sequential:
    """Nothing but ReLU behind a convolution, and PyTorch's own start."""
    return network(depth, lambda width: [nn.ReLU()])


def he(depth: int) -> nn.Sequential:
    """The same with He's start."""
    model = plain(depth)
    for layer in model:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def normalized(depth: int) -> nn.Sequential:
    """Batch normalization between convolution and ReLU."""
    return network(depth, lambda width: [nn.BatchNorm2d(width), nn.ReLU()])


def after(depth: int) -> nn.Sequential:
    """Batch normalization behind the ReLU."""
    return network(depth, lambda width: [nn.ReLU(), nn.BatchNorm2d(width)])


@torch.no_grad()
def once(depth: int) -> nn.Sequential:
    """Normalized by 1,000 images before training, and folded: no normalization from then on."""
    model = normalized(depth)
    for layer in norms(model):
        layer.momentum = None
    model(pixels[0, :1000])
    model.eval()
    layers: list[nn.Module] = []
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            layers.append(fold(layers.pop(), layer))
        else:
            layers.append(layer)
    return nn.Sequential(*layers).train()


def shaken(strength: float, depth: int) -> nn.Sequential:
    """Batch normalization, and behind it a random scale and shift."""
    return network(depth, lambda width: [nn.BatchNorm2d(width), Shake(strength), nn.ReLU()])


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """Find its batch normalizations."""
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


def lengths(weight: Tensor) -> Tensor:
    """Of each kernel of each network: (R, out, in, k, k) → (R, out, 1, 1, 1)."""
    return torch.linalg.vector_norm(weight.detach(), dim=(2, 3, 4), keepdim=True)


NETWORKS: dict[str, Callable[[int], nn.Sequential]] = {
    "PyTorch's start": plain,
    "He's start": he,
    "normalized once": once,
    "batch norm": normalized,
    "batch norm, pinned": normalized,
    "batch norm after ReLU": after,
    "shaken by 0.2": partial(shaken, 0.2),
    "shaken by 0.5": partial(shaken, 0.5),
}


class Watch:
    """Measures movement, and smoothness along the gradient, at some moments of the training."""

    def __init__(self, networks: SideBySide, rates: Tensor, pinned: bool) -> None:
        self.networks, self.rates = networks, rates
        self.kernels = [w for w in networks.parameters() if w.ndim == 5 and pinned]
        self.first = [lengths(w) for w in self.kernels]
        self.movement: list[Tensor] = []
        self.changes: list[Tensor] = []
        self.gains: list[Tensor] = []
        self.inputs = self.before = torch.empty(0)
        layers = list(networks.form)
        last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
        relus = [layer for layer in layers[:last] if isinstance(layer, nn.ReLU)]
        relus[-1].register_forward_hook(self.keep)

    def keep(self, layer: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
        """Keep what leaves the ReLU."""
        self.inputs = output

    def __call__(self, step: int) -> None:
        """Measure after these steps; the running statistics stay as they are."""
        for weight, first in zip(self.kernels, self.first, strict=True):
            weight *= first / lengths(weight)
        if step not in MOMENTS and step - 1 not in MOMENTS:
            return
        layers = norms(self.networks)
        for layer in layers:
            layer.momentum = 0.0
        self.networks(pixels[:, 9000:9100])
        means = self.inputs.mean((1, 3, 4))
        if step in MOMENTS:
            self.before = means
            self.smoothness()
        else:
            deviations = self.inputs.std((1, 3, 4)) + 1e-6
            self.movement.append(((means - self.before).abs() / deviations).median(1).values)
        for layer in layers:
            layer.momentum = 0.1

    @torch.enable_grad()
    def loss_and_gradients(self) -> tuple[Tensor, list[Tensor]]:
        """Of each network, on the first 100 images."""
        scores, truth = self.networks(pixels[:, :100]), labels[:, :100].expand(len(self.rates), -1)
        each = F.cross_entropy(scores.flatten(0, 1), truth.flatten(), reduction="none")
        losses = each.view(len(self.rates), -1).mean(1)
        gradients = torch.autograd.grad(losses.sum(), list(self.networks.parameters()))
        return losses.detach(), list(gradients)

    def smoothness(self) -> None:
        """Walk one step of plain descent along the gradient, look, and go back."""
        loss, g = self.loss_and_gradients()
        weights = list(self.networks.parameters())
        kept = [w.clone() for w in weights]
        for w, own in zip(weights, g, strict=True):
            w -= self.rates.view(-1, *[1] * (w.ndim - 1)) * own
        after, h = self.loss_and_gradients()
        for w, old in zip(weights, kept, strict=True):
            w.copy_(old)
        square = sum(own.square().flatten(1).sum(1) for own in g)
        change = sum((b - a).square().flatten(1).sum(1) for a, b in zip(g, h, strict=True))
        self.changes.append((change / square).sqrt())
        self.gains.append((loss - after) / (self.rates * square))


def settings() -> Iterator[tuple[int, str, str]]:
    """Name all groups of networks that are trained side by side: depth, optimizer, network."""
    for depth in (3, 12):
        for name in list(NETWORKS)[: 6 if depth == 3 else 8]:
            if depth == 12 and name == "batch norm, pinned":
                continue
            yield depth, "SGD", name
        for name in ("He's start", "normalized once", "batch norm"):
            yield depth, "Adam", name


def run(depth: int, optimizer: str, name: str) -> Iterator[list]:
    """Train one kind of network at all rates, five seeds each; a row for each."""
    models, rates, seeds = [], [], []
    for rate in RATES[optimizer]:
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            models.append(NETWORKS[name](depth))
            rates.append(float(rate))
            seeds.append(seed)
    networks = SideBySide(models)
    watch = Watch(networks, torch.tensor(rates), name.endswith("pinned"))
    batches = ((pixels[0, i], train.labels[i]) for i in orders(2000, BATCH, STEPS, seeds))
    rule = {"SGD": SGD, "Adam": Adam}[optimizer]
    losses = fit_all(networks, batches, rule, lr=rates, watch=watch)[-30:].mean(0)
    chosen_by = evaluate_all(networks, pixels[:, 8000:9000], labels[:, 8000:9000])
    tested = recomputed = evaluate_all(networks, new[:, :2000], new_labels[:, :2000])
    if layers := norms(networks):
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        with torch.no_grad():
            networks.train()(pixels[:, :1000])
        recomputed = evaluate_all(networks.eval(), new[:, :2000], new_labels[:, :2000])
    measured = (torch.stack(m).mean(0) for m in (watch.movement, watch.changes, watch.gains))
    columns = [losses, 100 * chosen_by, 100 * tested, 100 * recomputed, *measured]
    for rate, seed, *row in zip(rates, seeds, *(c.tolist() for c in columns), strict=True):
        yield [depth, optimizer, name, rate, seed, *(f"{value:.4g}" for value in row)]


if __name__ == "__main__":
    write_table(__file__, HEAD, (row for setting in settings() for row in run(*setting)))

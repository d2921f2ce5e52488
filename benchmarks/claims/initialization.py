"""Which start lets a deep network learn? The long run behind the chapter on initialization.

    python benchmarks/claims/initialization.py    # writes initialization.csv beside it

About 6 CPU-minutes. Garments of 14 × 14 pixels, standardized, batches of 50, layers of 32 units.
A network learns from 8,000 garments. For each setting every rate of the grid is tried with two
seeds, on 2,000 garments more; then five other seeds learn at the best rate and are tested on 2,000
test garments. For the scale of the pixels five seeds are tested at every rate, since the range of
rates that work is the answer. One row for each network.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders

HEAD = ["Question", "Network", "Hidden layers", "Batch norm", "Start", "Optimizer", "Steps", "Rate"]
HEAD += ["Seed", "Validation, %", "Test, %"]
WIDTH, BATCH = 32, 50
ADAM = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
SGD = [3e-4, 1e-3, 3e-3, 1e-2, 3e-2]
HIGHER = [*ADAM[1:], 3e-2]  # for ten hidden layers at most


class QuickAdam(Adam):
    """The same in place, which is faster for large stacks."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        if "m" not in state:
            state["m"], state["v"] = torch.zeros_like(w), torch.zeros_like(w)
        beta1, beta2 = group["betas"]
        m = state["m"].lerp_(g, 1 - beta1)
        v = state["v"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        root = (v / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        lr = torch.as_tensor(group["lr"] / (1 - beta1 ** state["step"]), dtype=w.dtype)
        w.sub_(root.reciprocal_().mul_(m).mul_(lr))


class Residual(nn.Module):
    """Adds what two layers make of x to x."""

    def __init__(self) -> None:
        super().__init__()
        first, last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.branch = nn.Sequential(first, nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(N, units) → (N, units)."""
        return x + self.branch(x)


def normed(norm: bool) -> list[nn.Module]:
    """Batch normalization of (N, units); as maps of one pixel, which is faster side by side."""
    maps = nn.Unflatten(1, (WIDTH, 1, 1)), nn.BatchNorm2d(WIDTH), nn.Flatten()
    return list(maps) if norm else []


def plain(hidden: int, norm: bool = False, f: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Build a chain of layers."""
    sizes = [196] + hidden * [WIDTH]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), *normed(norm), f()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


STARTS: dict[str, Callable[[Tensor], Any]] = {
    "0.01": lambda weight: nn.init.normal_(weight, std=0.01),
    "PyTorch": lambda weight: None,
    "Xavier": nn.init.xavier_normal_,
    "He": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "He, doubled": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu").mul_(2**0.5),
    "orthogonal": nn.init.orthogonal_,
}


@torch.no_grad()
def started(model: nn.Module, start: str) -> nn.Module:
    """Draw all linear layers anew; biases are 0, except PyTorch's own."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and start != "PyTorch":
            STARTS[start](layer.weight)
            nn.init.zeros_(layer.bias)
    return model


@torch.no_grad()
def mirrored(model: nn.Sequential) -> nn.Sequential:
    """Draw orthogonal layers of pairs of units, w and −w, that the next layer subtracts."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    for number, layer in enumerate(layers):
        rows, columns = layer.weight.shape
        rows //= 1 + (number < len(layers) - 1)
        columns //= 1 + (number > 0)
        W = nn.init.orthogonal_(torch.empty(rows, columns))
        W = torch.cat([W, -W], 1) if number > 0 else W
        layer.weight.copy_(torch.cat([W, -W]) if number < len(layers) - 1 else W)
        nn.init.zeros_(layer.bias)
    return model


@torch.no_grad()
def stack(start: str, blocks: int = 15) -> nn.Sequential:
    """Build a residual stack from He's weights; ``start`` says what the branches' last layer is."""
    layers = [nn.Linear(196, WIDTH), *(Residual() for _ in range(blocks)), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    started(model, "He")
    for block in model:
        if isinstance(block, Residual):
            last = block.branch[-1]
            last.weight.mul_({"He": 1.0, "He, scaled": blocks**-0.5, "zero": 0.0}[start])
    return model


def linear(hidden: int) -> nn.Sequential:
    """Build a chain of layers without anything between them."""
    return plain(hidden, f=nn.Identity)


def seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Make it from a seed."""
    torch.manual_seed(seed)
    return make()


@torch.no_grad()
def with_gain(model: nn.Module, gain: float) -> nn.Module:
    """Draw all linear layers of a model anew, from a normal distribution of variance gain² / n."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.normal_(0, gain / layer.in_features**0.5)
            nn.init.zeros_(layer.bias)
    return copy.deepcopy(model)


def garments(scale: str = "standardized") -> list[tuple[Tensor, Tensor]]:
    """Load images, (N, 196), and labels: to learn from, to choose by, and to test."""
    train, test = fashion_mnist()
    x, x_test = (F.avg_pool2d(data.images, 2).flatten(1) for data in (train, test[:2000]))
    shift, factor = {
        "standardized": (x[:8000].mean(), 1 / x[:8000].std()),
        "0 to 1": (0, 1),
        "0 to 255": (0, 255),
        "0 to 1, centered": (x[:8000].mean(), 1),
    }[scale]
    x, x_test = (x - shift) * factor, (x_test - shift) * factor
    y = train.labels
    return [(x[:8000], y[:8000]), (x[8000:], y[8000:]), (x_test, test.labels[:2000])]


Row = tuple[int, float, float, float]  # steps, rate, validation, test


def learn(
    models: list[nn.Module], rates: list[float], seeds: list[int], rule: str, lengths: list[int],
    scale: str = "standardized",
) -> Iterator[tuple[int, int, float, float]]:  # fmt: skip
    """Train side by side; after each length: (steps, place in the list, accuracies in percent)."""
    (x, y), *others = garments(scale)
    networks = SideBySide(models)
    batches = ((x[i], y[i]) for i in orders(len(x), BATCH, max(lengths), seeds))
    found = []

    def watch(steps: int) -> None:
        if steps in lengths:
            pairs = [100 * evaluate_all(networks, a[None], b[None]) for a, b in others]
            found.extend((steps, i, *map(float, p)) for i, p in enumerate(zip(*pairs, strict=True)))

    settings = {"momentum": 0.9} if rule == "SGD" else {"optimizer": QuickAdam}
    fit_all(networks, batches, lr=rates, watch=watch, **settings)
    yield from found


Labels = tuple[Any, ...]  # network, hidden layers, batch norm, start
Networks = dict[Labels, Callable[[], nn.Module]]  # of one form


def chosen_and_tested(
    networks: Networks, rule: str, lengths: list[int], grid: list[float]
) -> Iterator[list[Any]]:
    """Choose a rate for each network and length by two seeds, then test five others at it."""
    tried = [(name, rate, seed) for name in networks for rate in grid for seed in (0, 1)]
    rates, seeds = [rate for _, rate, _ in tried], [seed for *_, seed in tried]
    made = [seeded(networks[name], seed) for name, _, seed in tried]
    rows = list(learn(made, rates, seeds, rule, lengths))
    for steps in lengths:
        validated: dict[tuple[Labels, float], list[float]] = {}
        for done, i, validation, _ in rows:
            if done == steps:
                name, rate, seed = tried[i]
                validated.setdefault((name, rate), []).append(validation)
                yield [*name, rule, steps, rate, seed, round(validation, 2), ""]
        best = {name: max(grid, key=lambda r: sum(validated[name, r])) for name in networks}
        final = [(name, best[name], seed) for name in networks for seed in range(2, 7)]
        rates, seeds = [rate for _, rate, _ in final], [seed for *_, seed in final]
        made = [seeded(networks[name], seed) for name, _, seed in final]
        for _, i, *both in learn(made, rates, seeds, rule, [steps]):
            yield [*final[i][0], rule, steps, rates[i], seeds[i], *(round(x, 2) for x in both)]


def every_rate(
    networks: Networks, rule: str, steps: int, grid: list[float], scale: str
) -> Iterator[list[Any]]:
    """Test five seeds at every rate."""
    tried = [(name, rate, seed) for name in networks for rate in grid for seed in range(5)]
    rates, seeds = [rate for _, rate, _ in tried], [seed for *_, seed in tried]
    made = [seeded(networks[name], seed) for name, _, seed in tried]
    for _, i, *both in learn(made, rates, seeds, rule, [steps], scale):
        yield [*tried[i][0], rule, steps, rates[i], seeds[i], *(round(x, 2) for x in both)]


Run = Callable[[], Iterator[list[Any]]]


def depths() -> Iterator[tuple[str, Run]]:
    """Five starts at three depths; with ten hidden layers, with batch normalization as well."""
    for hidden, norm in ((2, False), (10, False), (10, True), (30, False)):
        networks: Networks = {
            ("plain", hidden, norm, start): partial(
                lambda h, n, s: started(plain(h, n), s), hidden, norm, start
            )
            for start in list(STARTS)[:5]
        }
        grid = HIGHER if hidden <= 10 else ADAM
        name = f"depth {hidden} {norm} Adam"
        yield name, partial(chosen_and_tested, networks, "Adam", [300], grid)


def rivals() -> Iterator[tuple[str, Run]]:
    """The repaired start against what it might only be: linear."""
    forms: list[Networks] = [
        {("one linear layer", 0, False, "He"): lambda: started(plain(0), "He")},
        {("linear", 30, False, "orthogonal"): lambda: started(linear(30), "orthogonal")},
        {
            ("plain", 30, False, "He"): lambda: started(plain(30), "He"),
            ("plain", 30, False, "mirrored"): lambda: mirrored(plain(30)),
        },
        {("plain", 2, False, "He"): lambda: started(plain(2), "He")},
    ]
    for networks in forms:
        for rule, grid, lengths in (("SGD", SGD, [300]), ("Adam", ADAM, [300, 2000])):
            name = f"rivals {next(iter(networks))} {rule}"
            if rule == "SGD" and next(iter(networks))[1] <= 2:
                grid = [10 * rate for rate in SGD]
            yield name, partial(chosen_and_tested, networks, rule, lengths, grid)


def residuals() -> Iterator[tuple[str, Run]]:
    """A residual stack with its branches' last layers at zero, and not."""
    networks: Networks = {
        ("15 branches", 30, False, start): partial(stack, start)
        for start in ("He", "He, scaled", "zero")
    }
    yield "residual", partial(chosen_and_tested, networks, "Adam", [300], ADAM)


def gains() -> Iterator[tuple[str, Run]]:
    """GELU and SiLU from weights of ReLU's gain, and of their own."""
    functions = {"GELU": (nn.GELU, 1.534), "SiLU": (nn.SiLU, 1.677)}  # 1/√E[f(z)²]
    for hidden in (10, 30):
        for name, (f, own) in functions.items():
            networks: Networks = {
                (name, hidden, False, start): partial(with_gain, plain(hidden, f=f), gain)
                for start, gain in (("ReLU's gain", 2**0.5), ("its own gain", own))
            }
            yield f"gain {hidden} {name}", partial(chosen_and_tested, networks, "Adam", [300], ADAM)


def scales() -> Iterator[tuple[str, Run]]:
    """Two hidden layers, on pixels of several scales."""
    for scale in ("0 to 255", "0 to 1", "0 to 1, centered", "standardized"):
        networks: Networks = {(scale, 2, False, "He"): lambda: started(plain(2), "He")}
        for rule in ("SGD", "Adam"):
            grid = [10 ** (k / 2) for k in range(-14, 1)]
            yield f"scale {scale} {rule}", partial(every_rate, networks, rule, 300, grid, scale)


RUNS: dict[str, Run] = {
    name: run for part in (rivals, residuals, depths, scales, gains) for name, run in part()
}

if __name__ == "__main__":
    # the seventh entry of a row is the rate
    write_table(
        __file__,
        HEAD,
        (
            [name.split()[0], *row[:6], f"{row[6]:.3g}", *row[7:]]
            for name, run in RUNS.items()
            for row in run()
        ),
    )

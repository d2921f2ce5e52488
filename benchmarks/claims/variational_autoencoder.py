"""Variational autoencoders: two gradients, how many dimensions are used, collapse, dull rivals.

    python benchmarks/claims/variational_autoencoder.py    # writes a .csv beside it; CPU-minutes: 6

Garments of 14 × 14. Encoder and decoder have one hidden layer of 64; 8,000 garments are learned
from, in batches of 50, by Adam; the rate stands and falls to 0 in the last fifth of the steps.
Except in ``generators``, pixels are made black or white at ½, so that the bound is one of a
probability. Each arm has its own rate, chosen with seed 100 on 1,000 garments that nobody learns
from (*Choosing*; these rows have no test); all else is measured on 1,000 test garments, in nats.
*Bound* is *Reconstruction* plus *KL*, minus the ELBO.

- ``noise``: variance of the encoder's gradient over its squared mean, for one batch and 100 draws,
  of the same network at the start and after 500 steps of the reparametrized gradient.
- ``gradients``: the same network trained by each of them. *4* draws four points for each image, and
  *own 4* takes the other three as a baseline, *batch* the other images; *none* trains no encoder.
- ``dimensions`` and ``beta``: one setting varies. *Active* counts dimensions whose mean varies by
  more than 0.01 over the garments; *Tight* are minus the importance-weighted bounds of 50 and 500
  points on 200 of them, *Own* is minus the ELBO there after 200 steps on each garment's own
  Gaussian, *Bound there* minus the encoder's.
- ``collapse``: *Setting* is the share of steps over which the divergence fades in, or the rate
  rises; or the free bits (in nats) of each dimension. A decoder that *sees* is also given all
  pixels before the one that it predicts (a masked network with a hidden layer of 128).
- ``generators``: gray garments; 2,000 samples against as many test garments: *Frechet* is the
  distance of two Gaussians of a classifier's features, *Nearest* the mean distance of pixels to the
  nearest garment learned from; *unseen garments* are those of *Setting*, real ones; *rebuilt*
  are held-out garments, encoded and decoded by what the arm of *Setting* uses. Networks choose
  among 8, 16 and 32 dimensions and two rates, a VAE among three β as well.

One row for each network; in ``noise`` and ``generators``, for each network and way; the rivals of
``generators`` that are no networks have theirs too.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import torch
from table import write_table
from torch import Tensor, nn
from torch.nn import functional as F

from d2lite.data import fashion_mnist
from d2lite.fidelity import frechet_distance
from d2lite.nets.vae import gaussian_kl
from d2lite.optim import Adam
from d2lite.side_by_side import orders
from d2lite.train import fit

RATES, SEEDS, STEPS, HIDDEN = [0.001, 0.003, 0.01, 0.03], range(5), 800, 64
HEAD = ["Experiment", "Arm", "Dimensions", "Beta", "Setting", "Steps", "Rate", "Seed", "Choosing"]
HEAD += ["Bound", "Reconstruction", "KL", "Active", "Bound there", "Tight 50", "Tight 500", "Own"]
HEAD += ["Start", "Trained", "Frechet", "Nearest", "KL of each"]

TRAIN, TEST = fashion_mnist()
GRAY = {
    "learn": F.avg_pool2d(TRAIN.images[:8000], 2).flatten(1),
    "choose": F.avg_pool2d(TRAIN.images[8000:], 2).flatten(1),
    "test": F.avg_pool2d(TEST.images[:2000], 2).flatten(1),
}
SHARP = {name: (images > 0.5).float() for name, images in GRAY.items()}
ORDER = torch.linspace(0, 194.99, 128).long()  # the last pixel that each masked unit sees
SEES = (torch.arange(196)[:, None] <= ORDER).float()
SHOWS = (ORDER[:, None] < torch.arange(196)).float()


class Stack:
    """R networks of one form: encoder, decoder and, if asked, what sees the pixels before."""

    def __init__(self, dimensions: int, seeds: Sequence[int], sees: bool = False) -> None:
        forms = {"a": (196, HIDDEN), "b": (HIDDEN, 2 * dimensions)}
        forms |= {"c": (dimensions, HIDDEN), "d": (HIDDEN, 196)}
        forms |= {"e": (196, 128), "f": (dimensions, 128), "g": (128, 196)} if sees else {}
        each = []
        for seed in seeds:
            torch.manual_seed(seed)
            each.append({name: nn.Linear(*sizes) for name, sizes in forms.items()})
        self.weights = {
            name: (
                torch.stack([own[name].weight.detach().T for own in each]).requires_grad_(),
                torch.stack([own[name].bias.detach()[None] for own in each]).requires_grad_(),
            )
            for name in forms
        }

    def layer(self, name: str, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply one layer of each network."""
        weight, bias = self.weights[name]
        return torch.baddbmm(bias, x, weight if mask is None else weight * mask)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(R, N, 196) → means and log variances, (R, N, D)."""
        mean, log_var = self.layer("b", self.layer("a", x).relu()).chunk(2, 2)
        return mean, log_var

    def decode(self, z: Tensor, x: Tensor) -> Tensor:
        """(R, N, D) → logits (R, N, 196)."""
        logits = self.layer("d", self.layer("c", z).relu())
        if "e" in self.weights:
            hidden = (self.layer("e", x, SEES) + self.layer("f", z)).relu()
            logits = logits + self.layer("g", hidden, SHOWS)
        return logits

    def parameters(self, names: str) -> list[Tensor]:
        """Weights and biases of the named layers, those that it has."""
        return [p for name in names if name in self.weights for p in self.weights[name]]

    def one(self, r: int, times: int = 1) -> "Stack":
        """Copy network r."""
        copied = object.__new__(Stack)
        copied.weights = {
            name: tuple(p.detach()[r : r + 1].repeat(times, 1, 1).requires_grad_() for p in pair)
            for name, pair in self.weights.items()
        }
        return copied


def cost(logits: Tensor, x: Tensor) -> Tensor:
    """Minus the log likelihood of each image: (R, N)."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(2)


def draw(mean: Tensor, log_var: Tensor) -> Tensor:
    """Draw points that gradients go through."""
    return mean + (log_var / 2).exp() * torch.randn_like(mean)


def log_q(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Without the constant, which has no gradient: (R, N)."""
    return -0.5 * ((z - mean) ** 2 / log_var.exp() + log_var).sum(2)


def reconstruction(stack: Stack, x: Tensor, way: str) -> tuple[Tensor, Tensor]:
    """Costs (R, N) whose gradient is one way's, and the divergences (R, N, D)."""
    if way.endswith(" 4"):
        x = x.repeat(1, 4, 1)
    mean, log_var = stack.encode(x)
    kl = gaussian_kl(mean, log_var)
    if way == "plain":
        return cost(stack.decode(mean, x), x), 0 * kl
    z = draw(mean, log_var)
    if way.startswith("path"):
        return cost(stack.decode(z, x), x), kl
    z = z.detach()
    costs = cost(stack.decode(z, x), x)
    if way == "none":
        return costs, kl
    found, count = costs.detach(), costs.shape[1]
    if way == "score":
        baseline = torch.zeros_like(found)
    elif way == "batch":  # the mean of the other images
        baseline = (found.sum(1, keepdim=True) - found) / (count - 1)
    else:  # the mean of the image's other points
        four = found.unflatten(1, (4, -1))
        baseline = ((four.sum(1, keepdim=True) - four) / 3).flatten(1)
    signal = (found - baseline) * log_q(z, mean, log_var)
    return costs + signal - signal.detach(), kl


class InPlace(Adam):
    """Adam, with a rate for each network."""

    def _update(self, w: Tensor, g: Tensor, state: dict, group: dict) -> None:
        if "m" not in state:
            state["m"], state["v"] = torch.zeros_like(w), torch.zeros_like(w)
        state["m"].mul_(0.9).add_(g, alpha=0.1)
        state["v"].mul_(0.999).addcmul_(g, g, value=0.001)
        t = state["step"]
        root = (state["v"] / (1 - 0.999**t)).sqrt_().add_(1e-8)
        w.sub_(group["lr"] * (state["m"] / root) / (1 - 0.9**t))


def train(
    dimensions: int, runs: Sequence[tuple[float, int]], beta: float = 1.0, way: str = "path",
    steps: int = STEPS, fade: float = 0.0, warm: float = 0.0, free: float = 0.0, sees: bool = False,
    images: Tensor = SHARP["learn"],
) -> Stack:  # fmt: skip
    """Train a network for each rate and seed."""
    stack = Stack(dimensions, [seed for _, seed in runs], sees)
    rates = torch.tensor([rate for rate, _ in runs]).view(-1, 1, 1)
    descent = InPlace(stack.parameters("abcdefg"))
    torch.manual_seed(0)
    for step, i in enumerate(orders(len(images), 50, steps, [seed for _, seed in runs])):
        costs, kl = reconstruction(stack, images[i], way)
        each = kl.mean(1)
        if free:
            each = each.clamp(min=free)
        share = beta * (min(1, step / (fade * steps)) if fade else 1)
        loss = (costs.mean(1) + share * each.sum(1)).sum()
        descent.zero_grad()
        loss.backward()
        rise = min(1, (step + 1) / (warm * steps)) if warm else 1
        descent.param_groups[0]["lr"] = rates * min(rise, 5 * (1 - step / steps))
        descent.step()
    return stack


@torch.no_grad()
def bound(stack: Stack, x: Tensor, plain: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Costs and divergences, (R,) and (R, D), from four points an image; and variances of means."""
    x = x.expand(len(stack.weights["a"][0]), *x.shape)
    mean, log_var = stack.encode(x)
    points = [mean] if plain else [draw(mean, log_var) for _ in range(4)]
    costs = torch.stack([cost(stack.decode(z, x), x) for z in points]).mean((0, 2))
    return costs, gaussian_kl(mean, log_var).mean(1), mean.var(1)


@torch.no_grad()
def tight(stack: Stack, x: Tensor) -> tuple[float, float, float]:
    """Minus the ELBO and the importance-weighted bounds of 50 and 500 points, of one network."""
    x = x[None]
    mean, log_var = stack.encode(x)
    weights = []
    for _ in range(500):
        z = draw(mean, log_var)
        prior = -0.5 * (z**2).sum(2)
        weights.append(prior - log_q(z, mean, log_var) - cost(stack.decode(z, x), x))
    each = torch.stack(weights)  # (500, 1, N)
    fifty = each.unflatten(0, (10, 50)).logsumexp(1) - torch.tensor(50.0).log()
    all_points = each.logsumexp(0) - torch.tensor(500.0).log()
    return -each.mean().item(), -fifty.mean().item(), -all_points.mean().item()


def own_gaussians(stack: Stack, x: Tensor) -> float:
    """Minus the ELBO after each image's Gaussian has been fitted to it, decoder unchanged."""
    x = x[None]
    mean, log_var = (t.detach().requires_grad_() for t in stack.encode(x))
    descent = torch.optim.Adam([mean, log_var], lr=0.03)
    for step in range(200):
        for group in descent.param_groups:
            group["lr"] = 0.03 * (1 - step / 200)
        z = torch.cat([draw(mean, log_var) for _ in range(4)], 1)
        some = x.repeat(1, 4, 1)
        loss = cost(stack.decode(z, some), some).sum() / 4 + gaussian_kl(mean, log_var).sum()
        mean.grad, log_var.grad = torch.autograd.grad(loss, (mean, log_var))
        descent.step()
    with torch.no_grad():
        costs = [cost(stack.decode(draw(mean, log_var), x), x).mean().item() for _ in range(100)]
    return sum(costs) / 100 + gaussian_kl(mean, log_var).sum(2).mean().item()


def row(arm: str, dimensions: int, beta: float, setting: object, steps: int, **values) -> list:
    """Set a row without its experiment's name."""
    start = {"Arm": arm, "Dimensions": dimensions, "Beta": beta, "Setting": setting}
    known = start | {"Steps": steps} | {k.replace("_", " "): v for k, v in values.items()}
    return [known.get(name, "") for name in HEAD[1:]]


def arm_rows(
    arm: str, dimensions: int, rates: Sequence[float] = RATES, setting: object = "",
    beta: float = 1.0, steps: int = STEPS, close: bool = False, **how,
) -> Iterator[list]:  # fmt: skip
    """Choose the rate by the loss at the full beta; train and test five seeds."""
    stack = train(dimensions, [(rate, 100) for rate in rates], beta, steps=steps, **how)
    costs, kl, _ = bound(stack, SHARP["choose"][:1000])
    found = [round(value, 2) for value in (costs + beta * kl.sum(1)).tolist()]
    for rate, value in zip(rates, found, strict=True):
        yield row(arm, dimensions, beta, setting, steps, Rate=rate, Seed=100, Choosing=value)
    _, rate = min((value, rate) for value, rate in zip(found, rates, strict=True))
    stack = train(dimensions, [(rate, seed) for seed in SEEDS], beta, steps=steps, **how)
    costs, kl, spread = bound(stack, SHARP["test"][:1000])
    for seed in SEEDS:
        some = SHARP["test"][:200]
        values = dict(zip(["Bound_there", "Tight_50", "Tight_500"], tight(stack.one(seed), some),
                          strict=True)) if close else {}  # fmt: skip
        values |= {"Own": own_gaussians(stack.one(seed), some)} if close else {}
        sizes = sorted(kl[seed].tolist(), reverse=True)
        yield row(
            arm, dimensions, beta, setting, steps, Rate=rate, Seed=seed,
            Bound=round((costs[seed] + kl[seed].sum()).item(), 2),
            Reconstruction=round(costs[seed].item(), 2), KL=round(kl[seed].sum().item(), 2),
            Active=(spread[seed] > 0.01).sum().item(),
            KL_of_each=" ".join(f"{size:.2f}" for size in sizes),
            **{name: round(value, 2) for name, value in values.items()},
        )  # fmt: skip


def noise(stack: Stack, x: Tensor, way: str, mean: Tensor | None) -> tuple[float, Tensor]:
    """Variance of the encoder's gradient over 100 draws, over the squared mean; and the mean."""
    total, squares = 0, 0
    for _ in range(5):
        copies = stack.one(0, 20)
        costs, _ = reconstruction(copies, x.expand(20, *x.shape), way)
        costs.mean(1).sum().backward()
        each = torch.cat([p.grad.flatten(1) for p in copies.parameters("ab")], 1)
        total, squares = total + each.sum(0), squares + (each**2).sum(0)
    variance = (squares / 100 - (total / 100) ** 2).sum().item() * 100 / 99
    mean = total / 100 if mean is None else mean
    return variance / (mean**2).sum().item(), mean


def noise_rows() -> Iterator[list]:
    """Five gradients of one network, at two moments."""
    for dimensions, seed in product((2, 32), SEEDS):
        stacks = [Stack(dimensions, [seed]), train(dimensions, [(0.003, seed)], steps=500)]
        x, ratios = SHARP["learn"][50 * seed : 50 * seed + 50], {}
        for moment, stack in zip(["Start", "Trained"], stacks, strict=True):
            mean = None
            for way in ("path", "path 4", "score", "batch", "own 4"):
                torch.manual_seed(seed)
                ratio, mean = noise(stack, x, way, mean)
                ratios[way, moment] = float(f"{ratio:.3g}")
        for way in ("path", "path 4", "score", "batch", "own 4"):
            yield row(
                way, dimensions, 1.0, "", 500, Rate=0.003, Seed=seed,
                Start=ratios[way, "Start"], Trained=ratios[way, "Trained"],
            )  # fmt: skip


def gradient_rows() -> Iterator[list]:
    """Each gradient trains, at its own rate."""
    for way in ("none", "path", "path 4", "score", "batch", "own 4"):
        yield from arm_rows(way, 8, way=way)


def dimension_rows() -> Iterator[list]:
    """How many dimensions are used?"""
    for dimensions in (2, 4, 8, 16, 32):
        yield from arm_rows("vae", dimensions, RATES[1:], close=dimensions == 32)


def beta_rows() -> Iterator[list]:
    """The divergence counts more or less."""
    for beta in (0.1, 0.3, 1.0, 3.0, 10.0):
        yield from arm_rows("vae", 16, RATES[1:], beta=beta)


def collapse_rows() -> Iterator[list]:
    """What keeps latent dimensions in use, with a plain decoder and beside a strong one."""
    yield from arm_rows("as it is", 32, RATES[1:])
    yield from arm_rows("twice as long", 32, RATES[1:], steps=2 * STEPS)
    for fade in (0.1, 0.3, 0.6):
        yield from arm_rows("fade in", 32, RATES[1:], setting=fade, fade=fade)
    yield from arm_rows("rate rises", 32, RATES[1:], setting=0.3, warm=0.3)
    for free in (0.1, 0.25):
        yield from arm_rows("free nats", 32, RATES[1:], setting=free, free=free)
    yield from arm_rows("sees, no latent", 8, RATES[1:], way="none", sees=True)
    yield from arm_rows("sees, as it is", 8, RATES[1:], sees=True)
    yield from arm_rows("sees, fade in", 8, RATES[1:], setting=0.3, fade=0.3, sees=True)
    yield from arm_rows("sees, free nats", 8, RATES[1:], setting=0.25, free=0.25, sees=True)


def features_of_classifier() -> Callable[[Tensor], Tensor]:
    """Train a small classifier of gray garments; its 32 features before the scores."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 14, 14)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AvgPool2d(3, 2), nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    fit(model, (GRAY["learn"], TRAIN.labels[:8000]), epochs=6)
    return torch.no_grad()(model[:-1])


def gaussian_of(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (F,) and covariance (F, F) of (N, F)."""
    return points.mean(0), points.T.cov()


def from_gaussian(points: Tensor, count: int) -> Tensor:
    """Fit a Gaussian to points, and draw others from it."""
    mean, cov = gaussian_of(points)
    values, vectors = torch.linalg.eigh(cov)
    return mean + torch.randn(count, len(mean)) * values.clamp(min=0).sqrt() @ vectors.T


def from_clusters(points: Tensor, count: int, clusters: int) -> Tensor:
    """Fit a Gaussian to each cluster of k-means, and draw from all by their sizes."""
    centers = points[torch.randperm(len(points))[:clusters]]
    for _ in range(20):
        nearest = torch.cdist(points, centers).argmin(1)
        centers = torch.stack([points[nearest == k].mean(0) for k in range(clusters)])
    sizes = nearest.bincount(minlength=clusters)
    counts = torch.multinomial(sizes.float(), count, replacement=True).bincount(minlength=clusters)
    parts = [from_gaussian(points[nearest == k], int(counts[k])) for k in range(clusters)]
    return torch.cat(parts)


def generator_rows() -> Iterator[list]:
    """Samples of a VAE, and of rivals that nobody calls generative."""
    features, learn = features_of_classifier(), GRAY["learn"]
    real = {name: features(GRAY[name]) for name in ("choose", "test")}
    center = learn.mean(0)
    axes = torch.linalg.svd(learn - center, full_matrices=False)[2]

    def from_nearest(samples: Tensor) -> float:
        return round(torch.cdist(samples, learn).amin(1).mean().item(), 2)

    def judged(samples: Tensor, name: str) -> tuple[float, float]:
        return round(frechet_distance(features(samples), real[name]), 2), from_nearest(samples)

    def pca(rank: int, clusters: int) -> Tensor:
        points = (learn - center) @ axes[:rank].T
        return (center + from_clusters(points, 2000, clusters) @ axes[:rank]).clamp(0, 1)

    @torch.no_grad()
    def codes_of(stack: Stack, arm: str, x: Tensor) -> Tensor:
        mean, log_var = stack.encode(x[None])
        return (mean if arm.startswith("plain") else draw(mean, log_var))[0]

    @torch.no_grad()
    def rebuilt(stack: Stack, arm: str) -> Tensor:
        z = codes_of(stack, arm, GRAY["choose"])
        return stack.decode(z[None], z)[0].sigmoid()

    @torch.no_grad()
    def decoded(stack: Stack, arm: str, dimensions: int) -> Tensor:
        if arm.endswith("prior"):
            z = torch.randn(2000, dimensions)
        else:
            points, many = codes_of(stack, arm, learn), arm.endswith("30 Gaussians")
            z = from_clusters(points, 2000, 30) if many else from_gaussian(points, 2000)
        return stack.decode(z[None], z)[0].sigmoid()

    for seed in SEEDS:
        torch.manual_seed(seed)
        some = learn[torch.randperm(8000)[:2000]]
        yield row("garments", "", "", "", "", Seed=seed, Frechet=judged(some, "test")[0])
    for name in ("choose", "test"):
        yield row("unseen garments", "", "", name, "", Nearest=from_nearest(GRAY[name]))
    for arm, clusters in (("PCA, Gaussian", 1), ("PCA, 30 Gaussians", 30)):
        tries = []
        for rank in (4, 8, 16, 32, 64, 128):
            torch.manual_seed(100)
            tries.append((judged(pca(rank, clusters), "choose")[0], rank))
            yield row(arm, rank, "", "", "", Seed=100, Choosing=tries[-1][0])
        _, rank = min(tries)
        for seed in SEEDS:
            torch.manual_seed(seed)
            distance, near = judged(pca(rank, clusters), "test")
            yield row(arm, rank, "", "", "", Seed=seed, Frechet=distance, Nearest=near)
    kept = (GRAY["choose"] - center) @ axes[:rank].T @ axes[:rank]
    distance, near = judged((center + kept).clamp(0, 1), "test")
    yield row("rebuilt", rank, "", "PCA", "", Frechet=distance, Nearest=near)
    kinds = {
        "plain": ["plain autoencoder, Gaussian", "plain autoencoder, 30 Gaussians"],
        "path": ["VAE, prior", "VAE, Gaussian", "VAE, 30 Gaussians"],
    }  # fmt: skip
    for way, arms in kinds.items():
        tries = {arm: [] for arm in arms}
        for dimensions, beta in product((8, 16, 32), (0.1, 0.3, 1.0) if way == "path" else (0,)):
            runs = [(rate, 100) for rate in (0.003, 0.01)]
            stack = train(dimensions, runs, beta, way, images=learn)
            for r, (rate, _) in enumerate(runs):
                for arm in arms:
                    torch.manual_seed(100)
                    found = judged(decoded(stack.one(r), arm, dimensions), "choose")[0]
                    tries[arm].append((found, dimensions, beta, rate))
                    yield row(arm, dimensions, beta, "", STEPS, Rate=rate, Seed=100, Choosing=found)
        for arm in arms:
            _, dimensions, beta, rate = min(tries[arm])
            stack = train(dimensions, [(rate, seed) for seed in SEEDS], beta, way, images=learn)
            for seed in SEEDS:
                torch.manual_seed(seed)
                distance, near = judged(decoded(stack.one(seed), arm, dimensions), "test")
                yield row(
                    arm, dimensions, beta, "", STEPS, Rate=rate, Seed=seed,
                    Frechet=distance, Nearest=near,
                )  # fmt: skip
                distance, near = judged(rebuilt(stack.one(seed), arm), "test")
                yield row(
                    "rebuilt", dimensions, beta, arm, STEPS, Rate=rate, Seed=seed,
                    Frechet=distance, Nearest=near,
                )  # fmt: skip


EXPERIMENTS = {
    "noise": noise_rows, "gradients": gradient_rows, "dimensions": dimension_rows,
    "beta": beta_rows, "collapse": collapse_rows, "generators": generator_rows,
}  # fmt: skip


def all_rows() -> Iterator[list]:
    """Name the experiment of each row."""
    for name, rows in EXPERIMENTS.items():
        for values in rows():
            yield [name, *values]


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

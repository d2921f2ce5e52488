"""GAN: which loss covers the modes, does a loss tell quality, and what is β₁ worth?

    python benchmarks/claims/gan.py    # writes gan.csv beside it; about 10 CPU-minutes

The long run behind the chapter on GANs. Each arm (a loss, and Adam's β₁) has its own rate, the same
for both networks, chosen with seed 100 (and 101 on the ring) out of three or more;
then other seeds are trained at it. Discriminator and generator take turns, one step each.

- ``ring``: eight Gaussians around a circle of radius 2, standard deviation 0.05; 64 hidden units in
  two layers each; 1,600 steps of 128 points. Seen is ``Off``: half the sum of differences between
  the shares of 4,000 points (in eight modes, and in none: further than 3σ from each) and equal
  eighths; the columns without a number are means of the last three of eight looks. A mode is found
  if it has a quarter of its share.
- ``garments``: pictures halved to 14 × 14, 8,000 to learn from, batches of 64, 480 steps. Seen is
  the Fréchet distance of 1,000 made pictures to 2,000 garments that nobody learned from, by the
  features of a small classifier of the same 8,000; ``Test`` is that of 5,000 to 5,000 test
  garments. ``Off`` is of the ten classes as the classifier tells them; a class is found if it has
  a quarter of its share.

A rate is chosen by the mean of the last three looks. ``D`` and ``G`` are the losses, averaged over
the steps before a look. One row for each pair of networks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.data import fashion_mnist
from d2lite.fidelity import frechet_distance, precision_and_recall
from d2lite.nets.gan import discriminator, generator
from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide
from d2lite.train import fit

LOOKS = 8
HEAD = ["Data", "Loss", "Beta1", "Rate", "Seed", "Found", "Inside", "Off"]
HEAD += ["Test", "Precision", "Recall"]
HEAD += [f"{name} {look}" for name in ("D", "G", "Seen") for look in range(1, LOOKS + 1)]
#: Loss, and Adam's β₁.
ARMS = {
    "ring": [
        ("saturating", 0.5), ("non-saturating", 0.5), ("hinge", 0.5), ("wgan-gp", 0.5),
        ("non-saturating", 0.9),
    ],
    "garments": [
        ("non-saturating", 0.5), ("saturating", 0.5), ("wgan-gp", 0.5), ("non-saturating", 0.9),
    ],
}  # fmt: skip
Scores = Callable[[Tensor], Tensor]

# ---- The losses ----------------------------------------------------------------------------------


def penalty(score: Scores, real: Tensor, made: Tensor, axes: int) -> Tensor:
    """How far a critic's slope between real and made samples is from 1, squared, of each pair.

    ``axes`` are those of a sample, the last ones.
    """
    share = torch.rand(*real.shape[:-axes], *[1] * axes)
    between = (share * real + (1 - share) * made).requires_grad_()
    (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
    return (slope.flatten(-axes).norm(dim=-1) - 1).square()


def of_discriminator(loss: str, score: Scores, real: Tensor, made: Tensor, axes: int) -> Tensor:
    """The discriminator's loss of each pair of samples."""
    r, m = score(real), score(made)
    if loss == "hinge":
        return F.relu(1 - r) + F.relu(1 + m)
    if loss == "wgan-gp":
        return m - r + 10 * penalty(score, real, made, axes)
    return F.softplus(-r) + F.softplus(m)


def of_generator(loss: str, scores: Tensor) -> Tensor:
    """The generator's loss of each made sample."""
    if loss == "saturating":
        return -F.softplus(scores)
    return F.softplus(-scores) if loss == "non-saturating" else -scores


# ---- The game ------------------------------------------------------------------------------------


def play(
    G: nn.Module, D: nn.Module, real: Scores, noise: Callable[[], Tensor], arm: tuple,
    descents: list[Adam], steps: int, look: Callable[[], Tensor],
) -> Tensor:  # fmt: skip
    """Train R pairs side by side: (3, looks, R), the losses of D and of G, and what is seen.

    ``real`` gives a batch of real samples of the made ones' shape, (R, N, …).
    """
    loss, (of_D, of_G) = arm[0], descents
    seen: list[list[Tensor]] = [[], [], []]
    sums = torch.zeros(2, 1)

    def score(samples: Tensor) -> Tensor:
        return D(samples).flatten(1)  # (R, N)

    for step in range(1, steps + 1):
        with torch.no_grad():
            made = G(noise())
        each = of_discriminator(loss, score, real(made), made, made.ndim - 2).mean(1)
        of_D.zero_grad()
        each.sum().backward()
        of_D.step()
        fooled = of_generator(loss, score(G(noise()))).mean(1)
        of_G.zero_grad()
        fooled.sum().backward()
        of_G.step()
        sums = sums + torch.stack([each, fooled]).detach()
        if step % (steps // LOOKS) == 0:
            with torch.no_grad():
                found = [*sums * LOOKS / steps, look()]
            for column, value in zip(seen, found, strict=True):
                column.append(value)
            sums = torch.zeros(2, 1)
    return torch.stack([torch.stack(column) for column in seen])


def adam(D: nn.Module, G: nn.Module, arm: tuple, tried: list[tuple[float, int]]) -> list[Adam]:
    """An optimizer for the discriminators and one for the generators, each pair at its rate."""
    lr = torch.tensor([rate for rate, _ in tried])
    return [
        Adam(
            [{"params": [p], "lr": lr.view(-1, *[1] * (p.ndim - 1))} for p in net.parameters()],
            betas=(arm[1], 0.999),
        )
        for net in (D, G)
    ]


def off(shares: Tensor, kinds: int) -> Tensor:
    """Half the sum of differences from equal shares, (…); a last column is of what is no kind."""
    wanted = torch.zeros(shares.shape[-1])
    wanted[:kinds] = 1 / kinds
    return (shares - wanted).abs().sum(-1) / 2


# ---- A ring of eight Gaussians -------------------------------------------------------------------

SPREAD = 0.05
ANGLES = torch.arange(8) * torch.pi / 4
CENTERS = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # (8, 2)


def ring_shares(points: Tensor) -> Tensor:
    """Which share of the points (R, N, 2) is in each mode, and in none, (R, 9)."""
    nearest, mode = torch.cdist(points, CENTERS.expand(len(points), 8, 2)).min(2)
    mode[nearest > 3 * SPREAD] = 8
    return F.one_hot(mode, 9).float().mean(1)


def points_generator(seed: int) -> nn.Sequential:
    """A generator of points: noise (N, 2) to (N, 2)."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def points_discriminator(seed: int) -> nn.Sequential:
    """Score points (N, 2): (N, 1)."""
    torch.manual_seed(1000 + seed)
    return nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )


def on_ring(arm: tuple, tried: list[tuple[float, int]]) -> list[list[object]]:
    """Train a pair for each rate and seed, side by side: a row each."""
    G = SideBySide([points_generator(seed) for _, seed in tried])
    D = SideBySide([points_discriminator(seed) for _, seed in tried])

    def real(made: Tensor) -> Tensor:
        modes = torch.randint(8, made.shape[:2])
        return CENTERS[modes] + SPREAD * torch.randn(made.shape)

    def noise(count: int = 128) -> Tensor:
        return torch.randn(len(tried), count, 2)

    looked: list[Tensor] = []

    def look() -> Tensor:
        looked.append(ring_shares(G(noise(4000))))
        return off(looked[-1], 8)

    curves = play(G, D, real, noise, arm, adam(D, G, arm, tried), 1600, look)
    shares = torch.stack(looked[-3:])  # (3, R, 9)
    found = (shares[..., :8] >= 1 / 32).sum(-1).float().mean(0)
    columns = [found, 1 - shares[..., 8].mean(0), off(shares, 8).mean(0)]
    return [
        [*tried[r], *(round(c[r].item(), 4) for c in columns), "", "", ""]
        + [round(x, 4) for x in curves[:, :, r].flatten().tolist()]
        for r in range(len(tried))
    ]


# ---- Garments ------------------------------------------------------------------------------------

TRAIN, TEST = fashion_mnist()
PICTURES, TESTS = F.avg_pool2d(TRAIN.images, 2), F.avg_pool2d(TEST.images, 2)


def classifier() -> nn.Sequential:
    """Train the network that judges: its last hidden layer has 32 features."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(288, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    fit(network, (PICTURES[:8000], TRAIN.labels[:8000]), epochs=5)
    return network


@torch.no_grad()
def features(images: Tensor) -> Tensor:
    """(N, 1, 14, 14), from 0 to 1, to (N, 32)."""
    return torch.cat([JUDGE[:-1](part) for part in images.split(500)])


def on_garments(arm: tuple, tried: list[tuple[float, int]]) -> list[list[object]]:
    """Train a pair for each rate and seed, side by side: a row each."""
    normalized = {"batch_norm": arm[0] != "wgan-gp"}

    def make(network: Callable[..., nn.Sequential], seed: int, **settings: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return network(channels=16, size=14, **settings)

    G = SideBySide([make(generator, seed, z_dim=32) for _, seed in tried])
    D = SideBySide([make(discriminator, 1000 + seed, **normalized) for _, seed in tried])

    def real(made: Tensor) -> Tensor:
        return 2 * PICTURES[torch.randint(8000, made.shape[:2])] - 1

    def noise() -> Tensor:
        return torch.randn(len(tried), 64, 32)

    def draw(count: int) -> Tensor:
        """The features of made pictures, (R, count, 32)."""
        G.eval()
        with torch.no_grad():
            made = [G(z)[:, :, 0] for z in torch.randn(count // 500, len(tried), 500, 32)]
        G.train()
        return torch.stack([features((images[:, None] + 1) / 2) for images in torch.cat(made, 1)])

    def look() -> Tensor:
        return torch.tensor([frechet_distance(made, CHOOSING) for made in draw(1000)])

    curves = play(G, D, real, noise, arm, adam(D, G, arm, tried), 480, look)
    rows = []
    for r, made in enumerate(draw(5000)):
        shares = F.one_hot(JUDGE[-1](made).argmax(1), 10).float().mean(0)
        numbers = [(shares >= 1 / 40).sum().item(), "", round(off(shares, 10).item(), 4)]
        numbers.append(round(frechet_distance(made, TESTED[:5000]), 3))
        numbers += [round(x, 4) for x in precision_and_recall(TESTED[5000:7000], made[:2000])]
        rows.append(
            [*tried[r], *numbers, *(round(x, 4) for x in curves[:, :, r].flatten().tolist())]
        )
    return rows


# ---- Choosing a rate -----------------------------------------------------------------------------


def run(data: str, arm: tuple, rates: list[float], seeds: list[int]) -> list[list[object]]:
    """Rows of an arm, at each rate with each seed."""
    tried = [(rate, seed) for rate in rates for seed in seeds]
    torch.manual_seed(seeds[0])
    rows = on_ring(arm, tried) if data == "ring" else on_garments(arm, tried)
    return [[data, *arm, *row] for row in rows]


def best_rate(rows: list[list]) -> float:
    """The rate with the lowest mean of the last looks at the quality; NaN counts as infinite."""
    total: dict[float, float] = defaultdict(float)
    for row in rows:
        total[row[3]] += sum(x if x == x else torch.inf for x in row[-3:])
    return min(total, key=total.__getitem__)


def tuned(data: str, arm: tuple) -> Iterator[list]:
    """Try rates, and further ones while the best is at an edge; then other seeds at it."""
    rates, seeds = [0.001, 0.003, 0.009], [100, 101] if data == "ring" else [100]
    rows = run(data, arm, rates, seeds)
    while (best := best_rate(rows)) in (min(rates), max(rates)) and len(rates) < 6:
        rates.append(round(best / 3 if best == min(rates) else best * 3, 6))
        rows += run(data, arm, rates[-1:], seeds)
    yield from rows
    yield from run(data, arm, [best], list(range(8 if data == "ring" else 5)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    JUDGE = classifier()
    CHOOSING, TESTED = features(PICTURES[8000:]), features(TESTS)
    write_table(
        __file__, HEAD, (row for data, arms in ARMS.items() for a in arms for row in tuned(data, a))
    )

"""GAN: which loss and which momentum cover the modes, and does a loss tell quality?

    python benchmarks/claims/gan.py    # writes gan.csv beside it; about 6 CPU-minutes

The long run behind the chapter on GANs: eight Gaussians around a circle of radius 2, each with a
standard deviation of 0.05; 64 hidden units in both layers of both networks; discriminator and
generator take turns, one step each, 1,600 of 128 points. Each arm (a loss, and Adam's β₁) has its
own rate, the same for both networks, chosen with seeds 100 and 101 out of four or more, none at an
edge; then eight other seeds are trained at it. With three times the steps the same eight seeds
play again: with the non-saturating loss at its rate, with the saturating one at both of its rates
that were nearly tied.

Eight times on the way 4,000 points are made. ``Seen`` is how far off they are: half the sum of
differences between their shares (in eight modes, and in none: further than 3σ from each) and equal
eighths. A rate is chosen by the mean of the last three; ``Off``, ``Found`` (modes with a quarter of
their share) and ``Inside`` (the share of points in a mode) are means of these, too. ``D`` and ``G``
are the losses, averaged over the steps before a look. One row for each pair of networks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide

LOOKS = 8
HEAD = ["Loss", "Beta1", "Rate", "Seed", "Steps", "Found", "Inside", "Off"]
HEAD += [f"{name} {look}" for name in ("D", "G", "Seen") for look in range(1, LOOKS + 1)]
ARMS = [("saturating", 0.5), ("non-saturating", 0.5), ("hinge", 0.5), ("non-saturating", 0.9)]
STEPS = 1600
LONGER = [("saturating", 0.001), ("saturating", 0.003), ("non-saturating", 0.009)]
Scores = Callable[[Tensor], Tensor]

# ---- The losses ----------------------------------------------------------------------------------


def of_discriminator(loss: str, real: Tensor, made: Tensor) -> Tensor:
    """The discriminator's loss of each pair of scores."""
    if loss == "hinge":
        return F.relu(1 - real) + F.relu(1 + made)
    return F.softplus(-real) + F.softplus(made)


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
        each = of_discriminator(loss, score(real(made)), score(made)).mean(1)
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


def on_ring(arm: tuple, tried: list[tuple[float, int]], steps: int) -> list[list[object]]:
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

    curves = play(G, D, real, noise, arm, adam(D, G, arm, tried), steps, look)
    shares = torch.stack(looked[-3:])  # (3, R, 9)
    found = (shares[..., :8] >= 1 / 32).sum(-1).float().mean(0)
    columns = [found, 1 - shares[..., 8].mean(0), off(shares, 8).mean(0)]
    return [
        [*tried[r], steps, *(round(c[r].item(), 4) for c in columns)]
        + [round(x, 4) for x in curves[:, :, r].flatten().tolist()]
        for r in range(len(tried))
    ]


# ---- Choosing a rate -----------------------------------------------------------------------------


def run(arm: tuple, rates: list[float], seeds: list[int], steps: int = STEPS) -> list[list]:
    """Rows of an arm, at each rate with each seed."""
    torch.manual_seed(seeds[0])
    tried = [(rate, seed) for rate in rates for seed in seeds]
    return [[*arm, *row] for row in on_ring(arm, tried, steps)]


def best_rate(rows: list[list]) -> float:
    """The rate with the lowest mean of the last three looks; NaN counts as infinite."""
    total: dict[float, float] = defaultdict(float)
    for row in rows:
        total[row[2]] += sum(x if x == x else torch.inf for x in row[-3:])
    return min(total, key=total.__getitem__)


def tuned(arm: tuple) -> Iterator[list]:
    """Try rates, and further ones while the best is at an edge; then other seeds at it."""
    rates, seeds = [0.001, 0.003, 0.009], [100, 101]
    rows = run(arm, rates, seeds)
    while (best := best_rate(rows)) in (min(rates), max(rates)) and len(rates) < 6:
        rates.append(round(best / 3 if best == min(rates) else best * 3, 6))
        rows += run(arm, rates[-1:], seeds)
    yield from rows
    yield from run(arm, [best], list(range(8)))


def all_rows() -> Iterator[list]:
    """Every arm at its rate, then three of them for three times the steps."""
    for arm in ARMS:
        yield from tuned(arm)
    for loss, rate in LONGER:
        yield from run((loss, 0.5), [rate], list(range(8)), 3 * STEPS)


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

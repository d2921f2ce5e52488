"""Attention: against a fixed context by length, the division by √d, heads, and what weights tell.

    python benchmarks/claims/attention.py    # writes attention.csv beside it; 6 CPU-minutes

The long runs behind the chapter on attention, in three parts. Each arm has its own rate, chosen
from three, and from further ones while the best is at an edge (six at most). One seed chooses; in
the look-up three where nothing is divided, else two up to d = 64. Then five other seeds are trained
at it. One row for each network.

*Copying.* A network reads a string of 2 to 12 digits and writes it again. The encoder is a GRU in
both directions, the decoder a GRU. What the decoder gets of the source at each step: a mean of
the encoder's states, weighted by additive attention (``additive``); the two last states (``fixed``,
of about as many parameters, and ``wide``, of three times as many); the plain mean (``mean``).
``embedded`` attends to digits and places alone, without an encoder's GRU. 600 steps of 32 strings
with Adam, gradients clipped to a norm of 1, the rate falling linearly over the last 30 %;
``fixed`` also three times as long, with a choice of the rate of its own. ``Right 2`` … ``Right 16``
are the shares of 500 strings of this length that are written without a mistake. For strings of 10
digits, with attention, and those digits that are written rightly: how often the largest weight
(``Weight``), the largest gradient of the right digit's log-probability with respect to an embedding
(``Gradient``), and its largest fall, on average over the nine other digits that can be put in a
place (``Occlusion``), are at the place that has the digit; how many places from the digit the
largest weight is most often (``Shift``), and how often (``Shifted``). ``Uniform``: the strings that
are right once the weights are all equal.

*Look-up.* 64 tokens, each with a query and a key of d numbers that are normally distributed at the
start, with a standard deviation of 1. An example shows 16 of the tokens, each with one of 16
values, and asks for one of them; a linear layer makes scores of the weighted mean of the values,
one-hot. Scores of places are dot products (``plain``), divided by √d (``scaled``), times a
learned number that begins with 1 (``learned``), plain from a start d^¼ times smaller (``small``),
or additive with d hidden units. 400 steps of 128 examples with Adam; some also 2,000, with a choice
of the rate of their own. ``Accuracy`` and ``Entropy`` of the weights are of the last look. By this
accuracy the rate is chosen; ``Loss``, a mean over a look every ten steps, splits ties. ``To 95 %``
is the step of the first look with an accuracy of 95 %; ``Lowest`` is the least that the learned
number was at a look.

*Heads.* 8 pairs of a key and a value; asked are the values of 1, 2 or 4 keys. One multi-head
attention of width 64, then a linear layer; 500 steps of 32 examples with Adam. ``hidden``: one
head, then a hidden layer that sees the question as well. ``joint``: the same, each pair a token
with an embedding of its own. For one head and two keys, the mean weight at the place of the key
that is named first, and of the one named second: ``More`` is the larger mean, ``Less`` the other.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.attention import MultiHeadAttention
from d2lite.optim import Adam
from d2lite.side_by_side import SideBySide, fit_all

LENGTHS = range(2, 17, 2)
HEAD = ["Part", "Arm", "Size", "Rate", "Seed", "Steps", "Accuracy", "Loss", "To 95 %", "Entropy"]
HEAD += [f"Right {n}" for n in LENGTHS] + ["Weight", "Gradient", "Occlusion", "Uniform"]
HEAD += ["Shift", "Shifted", "Lowest", "More", "Less"]
Tried = list[tuple[float, int]]


def row(part: str, arm: str, size: int, rate: float, seed: int, steps: int, **found: float) -> list:
    """A row of the table; what a part does not measure stays empty."""
    known = [part, arm, size, rate, seed, steps]
    columns = {name.lower().replace(" ", "_").replace("_%", ""): name for name in HEAD}
    named = {columns[name]: round(float(value), 4) for name, value in found.items()}
    return known + [named.get(name, "") for name in HEAD[len(known) :]]


def adam(parameters: list[Tensor], tried: Tried) -> tuple[Adam, list[Tensor]]:
    """An optimizer of stacked parameters, (R, …), each network at its rate; and the rates."""
    rates = torch.tensor([rate for rate, _ in tried])
    each = [rates.view(-1, *[1] * (p.ndim - 1)) for p in parameters]
    groups = [{"params": [p], "lr": lr} for p, lr in zip(parameters, each, strict=True)]
    return Adam(groups), each


def tuned(
    run: Callable[[Tried], list[list]], rates: list[float], search: list[int], seeds: list[int],
    worth: Callable[[list], float],
) -> Iterator[list]:  # fmt: skip
    """Rows of the search, then of further seeds at the rate that is worth the most on average."""
    rows = run([(rate, seed) for rate in rates for seed in search])
    while True:
        total: dict[float, float] = defaultdict(float)
        for found in rows:
            total[found[3]] += worth(found)
        best = max(total, key=total.__getitem__)
        if best not in (min(total), max(total)) or len(total) >= 6:
            break
        further = round(best / 3 if best == min(total) else best * 3, 6)
        rows += run([(further, seed) for seed in search])
    yield from rows
    yield from run([(best, seed) for seed in seeds])


def value(found: list, name: str) -> float:
    """The number in a column of a row."""
    return found[HEAD.index(name)]


# ---- Copying -------------------------------------------------------------------------------------

DIGITS, EMBED = 10, 16


class Copiers:
    """R encoder–decoders side by side, each tensor of parameters (R, …)."""

    def __init__(self, arm: str, hidden: int, seeds: list[int]) -> None:
        h, c, self.arm, self.hidden = hidden, 2 * hidden, arm, hidden
        shapes = {"source": (DIGITS, EMBED), "target": (DIGITS + 1, EMBED), "start": (c, h)}
        shapes |= {"d_x": (EMBED, 3 * h), "d_c": (c, 3 * h), "d_h": (h, 3 * h), "d_b": (1, 3 * h)}
        shapes |= {"out": (h + c, DIGITS), "out_b": (1, DIGITS)}
        if arm == "embedded":
            shapes |= {"place": (max(LENGTHS), c), "lift": (EMBED, c)}
        else:
            for way in "fb":
                shapes |= {f"{way}_x": (EMBED, 3 * h), f"{way}_h": (h, 3 * h)}
                shapes[f"{way}_b"] = (1, 3 * h)
        if self.attends:
            shapes |= {"W": (h, h), "U": (c, h), "w": (h, 1)}
        stacks: dict[str, list[Tensor]] = {name: [] for name in shapes}
        for seed in seeds:
            source = torch.Generator().manual_seed(seed)
            for name, shape in shapes.items():
                start = torch.randn(shape, generator=source)
                if name not in ("source", "target", "place"):  # as PyTorch's layers, about
                    start = (torch.rand(shape, generator=source) * 2 - 1) / math.sqrt(
                        h if shape[0] == 1 else shape[0]
                    )
                stacks[name].append(start)
        self.p = {name: torch.stack(own).requires_grad_() for name, own in stacks.items()}

    @property
    def attends(self) -> bool:
        """Whether the decoder weights the states."""
        return self.arm in ("additive", "embedded")

    def cell(self, x: Tensor, h: Tensor, name: str) -> Tensor:
        """A step of a GRU, from what the input adds, (R, N, 3 h)."""
        own = torch.baddbmm(self.p[f"{name}_b"], h, self.p[f"{name}_h"])
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3, -1), own.chunk(3, -1)
        z, n = (xz + hz).sigmoid(), (xn + (xr + hr).sigmoid() * hn).tanh()
        return n + z * (h - n)

    def times(self, x: Tensor, name: str) -> Tensor:
        """(R, N, T, …) times a matrix each."""
        return (x.flatten(1, 2) @ self.p[name]).unflatten(1, x.shape[1:3])

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (R, N, T, E) to states (R, N, T, 2 h) and a summary (R, N, 2 h)."""
        R, N, T, _ = x.shape
        if self.arm == "embedded":
            states = self.times(x, "lift") + self.p["place"][:, None, :T]
            return states, states.mean(2)
        both, ends = [], []
        for way, order in (("f", range(T)), ("b", range(T - 1, -1, -1))):
            inputs, h = self.times(x, f"{way}_x"), torch.zeros(R, N, self.hidden)
            seen = {t: (h := self.cell(inputs[:, :, t], h, way)) for t in order}
            both.append(torch.stack([seen[t] for t in range(T)], 2))
            ends.append(h)
        return torch.cat(both, -1), torch.cat(ends, -1)

    def embed(self, digits: Tensor, name: str) -> Tensor:
        """Look digits (R, N, T) up in a table: (R, N, T, E)."""
        return self.p[name][torch.arange(len(digits))[:, None, None], digits]

    def decode(self, x: Tensor, target: Tensor, uniform: bool = False) -> tuple[Tensor, Tensor]:
        """Scores (R, N, T, digits) of each next digit, given those before; and the weights."""
        R, N, T = target.shape
        states, ends = self.encode(x)
        before = torch.cat([torch.full((R, N, 1), DIGITS), target[:, :, :-1]], 2)
        inputs = self.times(self.embed(before, "target"), "d_x")
        keys = self.times(states, "U") if self.attends else states
        state = (ends @ self.p["start"]).tanh()
        context = states.mean(2) if self.arm == "mean" else ends
        taken, looks = [], [torch.zeros(R, N, T)]
        for t in range(T):
            if self.attends:
                pairs = (keys + (state @ self.p["W"])[:, :, None]).tanh()
                weights = (pairs * self.p["w"][:, None, None, :, 0]).sum(-1).softmax(-1)
                if uniform:
                    weights = torch.full_like(weights, 1 / T)
                context = (weights[..., None] * states).sum(2)
                looks.append(weights)
            state = self.cell(inputs[:, :, t] + context @ self.p["d_c"], state, "d")
            taken.append(torch.cat([state, context], -1))
        scores = self.times(torch.stack(taken, 2), "out") + self.p["out_b"][:, None]
        return scores, torch.stack(looks[1:] or looks, 2)

    def answer(self, digits: Tensor, uniform: bool = False) -> tuple[Tensor, Tensor]:
        """Scores and weights, from the digits that are read and written."""
        return self.decode(self.embed(digits, "source"), digits, uniform)


def written(nets: Copiers, digits: Tensor, uniform: bool = False) -> Tensor:
    """The share of strings without a mistake, (R,): each digit is right after the right ones."""
    return (nets.answer(digits, uniform)[0].argmax(-1) == digits).all(-1).float().mean(1)


def explained(nets: Copiers, digits: Tensor) -> dict[str, Tensor]:
    """How often weight, gradient and occlusion are largest at the digit's place, (R,) each.

    Of the digits that are written rightly.
    """
    T = digits.shape[2]
    here = torch.arange(T)
    x = nets.embed(digits, "source").detach().requires_grad_()
    scores, weights = nets.decode(x, digits)
    right = scores.log_softmax(-1).gather(-1, digits[..., None])[..., 0]
    good = scores.argmax(-1) == digits
    slopes = torch.stack(
        [torch.autograd.grad(right[..., t].sum(), x, retain_graph=True)[0].norm(dim=-1)
         for t in range(T)], 2
    )  # fmt: skip
    effects = []
    with torch.no_grad():
        for place in range(T):
            fall = torch.zeros_like(right)
            for other in range(1, DIGITS):
                changed = digits.clone()
                changed[..., place] = (changed[..., place] + other) % DIGITS
                new = nets.decode(nets.embed(changed, "source"), digits)[0].log_softmax(-1)
                fall += right - new.gather(-1, digits[..., None])[..., 0]
            effects.append(fall)
    each = {"weight": weights, "gradient": slopes, "occlusion": torch.stack(effects, 3)}
    count = good.sum((1, 2)).clamp(min=1)
    found = {k: ((v.argmax(-1) == here) & good).sum((1, 2)) / count for k, v in each.items()}
    away = weights.argmax(-1) - here  # (R, N, T)
    shifts = range(1 - T, T)
    often = torch.stack([((away == n) & good).sum((1, 2)) for n in shifts], 1)
    found["shift"] = often.argmax(1) + shifts[0]
    found["shifted"] = often.amax(1) / count
    return found


def copying(arm: str, hidden: int, steps: int, tried: Tried) -> list[list]:
    """Train a network for each rate and seed: a row each."""
    nets = Copiers(arm, hidden, [seed for _, seed in tried])
    parameters, R = list(nets.p.values()), len(tried)
    descent, rates = adam(parameters, tried)
    source = torch.Generator().manual_seed(tried[0][1])
    for step in range(steps):
        length = int(torch.randint(2, 13, (1,), generator=source))
        digits = torch.randint(DIGITS, (R, 32, length), generator=source)
        scores = nets.answer(digits)[0].flatten(0, 2)
        descent.zero_grad()
        each = F.cross_entropy(scores, digits.flatten(), reduction="none").view(R, -1)
        each.mean(1).sum().backward()
        factor = min(1.0, (steps - step) / (0.3 * steps))
        with torch.no_grad():
            norm = torch.stack([p.grad.flatten(1).norm(dim=1) for p in parameters]).norm(dim=0)
            for p, lr, group in zip(parameters, rates, descent.param_groups, strict=True):
                p.grad *= (1 / norm).clamp(max=1).view(-1, *[1] * (p.ndim - 1))
                group["lr"] = factor * lr
        descent.step()
    new = torch.Generator().manual_seed(1000)
    strings = {n: torch.randint(DIGITS, (1, 500, n), generator=new) for n in LENGTHS}
    with torch.no_grad():
        found = {f"right_{n}": written(nets, s.expand(R, -1, -1)) for n, s in strings.items()}
    if nets.attends:
        some = strings[10][:, :100].expand(R, -1, -1)
        found |= explained(nets, some)
        with torch.no_grad():
            found["uniform"] = written(nets, some, uniform=True)
    return [
        row("copying", arm, hidden, *tried[r], steps, **{k: v[r] for k, v in found.items()})
        for r in range(R)
    ]


def length_worth(found: list) -> float:
    """What a rate is chosen by: the strings of trained lengths that are right."""
    return sum(value(found, f"Right {n}") for n in LENGTHS if n <= 12)


def all_copying() -> Iterator[list]:
    """Five arms, and the fixed context with three times the steps."""
    arms = [("additive", 32, 600), ("fixed", 35, 600), ("fixed", 35, 1800), ("mean", 35, 600)]
    for arm, hidden, steps in [*arms, ("embedded", 32, 600), ("wide", 64, 600)]:
        yield from tuned(
            lambda t, a=arm, h=hidden, s=steps: copying(a, h, s, t), [0.003, 0.01, 0.03], [100],
            list(range(5)), length_worth
        )  # fmt: skip


# ---- Look-up -------------------------------------------------------------------------------------

TOKENS, SHOWN, VALUES = 64, 16, 16


def examples(count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The token asked for, (N,), the tokens shown and their values, (N, 16), and the answer."""
    shown = torch.rand(count, TOKENS, generator=source).argsort(1)[:, :SHOWN]
    values = torch.randint(VALUES, (count, SHOWN), generator=source)
    place = torch.randint(SHOWN, (count, 1), generator=source)
    return shown.gather(1, place)[:, 0], shown, values, values.gather(1, place)[:, 0]


def lookup(arm: str, d: int, steps: int, tried: Tried) -> list[list]:
    """Train queries and keys for each rate and seed: a row each."""
    R, stacks = len(tried), []
    for _, seed in tried:
        own = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(TOKENS, d, generator=own) for _ in range(2)]
        drawn.append((torch.rand(d, 1, generator=own) * 2 - 1) / math.sqrt(d))
        stacks.append(drawn)
    queries, keys, last = (torch.stack(own) for own in zip(*stacks, strict=True))
    if arm == "small":
        queries, keys = queries / d**0.25, keys / d**0.25
    head = torch.randn(VALUES, VALUES, generator=torch.Generator().manual_seed(1)).repeat(R, 1, 1)
    parameters = [queries, keys, head / math.sqrt(VALUES)]
    if arm == "additive":
        parameters.append(last)
    if arm == "learned":
        parameters.append(torch.zeros(R, 1, 1))  # its logarithm
    for p in parameters:
        p.requires_grad_()
    descent, _ = adam(parameters, tried)

    def weights(asked: Tensor, shown: Tensor) -> Tensor:
        if arm == "additive":
            pairs = (queries[:, :, None] + keys[:, None]).tanh()
            scores = (pairs @ parameters[3][:, None])[..., 0]
        else:
            scores = queries @ keys.mT
        if arm == "scaled":
            scores = scores / math.sqrt(d)
        if arm == "learned":
            scores = scores * parameters[3].exp()
        return scores[:, asked[:, None], shown].softmax(-1)  # (R, N, 16)

    def answer(found: Tensor, values: Tensor) -> Tensor:
        """Scores of the values, (R, N, 16), from weights (R, N, 16) and values (N, 16)."""
        taken = torch.einsum("rnk,nkv->rnv", found, F.one_hot(values, VALUES).float())
        return taken @ parameters[2]

    def losses(scores: Tensor, right: Tensor) -> Tensor:
        return F.cross_entropy(scores.mT, right.expand(R, -1), reduction="none")  # (R, N)

    source = torch.Generator().manual_seed(tried[0][1])
    test = examples(1000, torch.Generator().manual_seed(1000))
    seen: list[Tensor] = []
    first, lowest = torch.full((R,), math.inf), torch.ones(R)
    for step in range(1, steps + 1):
        asked, shown, values, right = examples(128, source)
        descent.zero_grad()
        losses(answer(weights(asked, shown), values), right).mean(1).sum().backward()
        descent.step()
        if step % 10 == 0:
            with torch.no_grad():
                found = weights(*test[:2])
                if arm == "learned":
                    lowest = torch.minimum(lowest, parameters[3].exp().flatten())
                scores = answer(found, test[2])
                seen.append(losses(scores, test[3]).mean(1))
                accuracy = (scores.argmax(-1) == test[3]).float().mean(1)
                entropy = -(found * found.clamp(min=1e-12).log()).sum(-1).mean(1)
                first = torch.where((accuracy >= 0.95) & first.isinf(), float(step), first)
    loss = torch.stack(seen).mean(0)
    return [
        row("look-up", arm, d, *tried[r], steps, accuracy=accuracy[r], loss=loss[r],
            entropy=entropy[r], **({"to_95": first[r]} if first[r] < math.inf else {}),
            **({"lowest": lowest[r]} if arm == "learned" else {}))
        for r in range(R)
    ]  # fmt: skip


def all_lookup() -> Iterator[list]:
    """Five arms by the size of queries, and longer runs of two that are not divided."""

    def worth(found: list) -> float:
        return value(found, "Accuracy") - 0.001 * value(found, "Loss")

    sizes = (4, 16, 64, 256, 1024)
    arms = [("plain", d, 400) for d in sizes] + [("plain", 64, 2000), ("plain", 256, 2000)]
    arms += [(arm, d, 400) for arm in ("scaled", "learned", "small") for d in sizes]
    arms += [("small", 1024, 2000)]
    arms += [("additive", d, 400) for d in (4, 16, 64)]  # d hidden units a pair: slow beyond
    for arm, d, steps in arms:
        search, rates = [100, 101] if d <= 64 else [100], [0.01, 0.03, 0.1]
        if arm in ("plain", "small", "additive"):
            search = [100, 101, 102]
        if arm == "small" and d > 64:
            rates = [0.003, 0.01, 0.03]
        if arm == "additive":
            rates = [0.03, 0.1, 0.3]
        yield from tuned(
            lambda t, a=arm, d=d, s=steps: lookup(a, d, s, t), rates, search, list(range(5)), worth
        )


# ---- Heads ---------------------------------------------------------------------------------------

KEYS, PAIRS, WIDTH, ANSWERS = 16, 8, 64, 8


class Recall(nn.Module):
    """Read pairs and a question, (N, 8 + 8 + asked), and score the values: (N, values, asked)."""

    def __init__(self, arm: str, asked: int, heads: int) -> None:
        super().__init__()
        self.asked, self.arm = asked, arm
        self.asks = nn.Embedding(asked * KEYS, WIDTH)
        self.keys = nn.Embedding(KEYS, WIDTH)
        self.values = nn.Embedding(ANSWERS, WIDTH)
        self.joint = nn.Embedding(KEYS * ANSWERS, WIDTH)
        self.attend = MultiHeadAttention(WIDTH, heads)
        self.hidden = nn.Linear(2 * WIDTH, 256)
        self.out = nn.Linear(WIDTH if arm == "heads" else 256, asked * ANSWERS)

    def forward(self, x: Tensor) -> Tensor:
        """Score the values of each key that is asked for."""
        keys, values, asked = x.split([PAIRS, PAIRS, self.asked], -1)
        query = self.asks(asked + KEYS * torch.arange(self.asked)).sum(-2, keepdim=True)
        if self.arm == "joint":
            pairs = self.joint(keys * ANSWERS + values)
        else:
            pairs = self.keys(keys) + self.values(values)
        taken = self.attend(query, pairs, pairs)[0]
        if self.arm != "heads":
            taken = self.hidden(torch.cat([query, taken], -1)).relu()
        return self.out(taken[..., 0, :]).unflatten(-1, (self.asked, ANSWERS)).mT


def questions(shape: tuple, asked: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """What is read, and the values that are asked for."""
    keys = torch.rand(*shape, KEYS, generator=source).argsort(-1)[..., :PAIRS]
    values = torch.randint(ANSWERS, (*shape, PAIRS), generator=source)
    places = torch.rand(*shape, PAIRS, generator=source).argsort(-1)[..., :asked]
    return torch.cat([keys, values, keys.gather(-1, places)], -1), values.gather(-1, places)


def recall(arm: str, asked: int, heads: int, tried: Tried, steps: int = 500) -> list[list]:
    """Train a network for each rate and seed: a row each, its size the number of keys asked."""
    models = []
    for _, seed in tried:
        torch.manual_seed(seed)
        models.append(Recall(arm, asked, heads))
    nets, source = SideBySide(models), torch.Generator().manual_seed(tried[0][1])
    fit_all(
        nets,
        (questions((len(tried), 32), asked, source) for _ in range(steps)),
        Adam,
        lr=[rate for rate, _ in tried],
        loss=lambda a, b: F.cross_entropy(a, b, reduction="none").mean(1),
        schedule=lambda step: min(1.0, 2 * (1 - step / steps)),
    )
    x, y = questions((1, 2000), asked, torch.Generator().manual_seed(1000))
    with torch.no_grad():
        right = (nets(x).argmax(2) == y).float().mean((1, 2))
    found: dict[str, Tensor] = {"accuracy": right}
    if (asked, heads) == (2, 1) and arm != "joint":
        places = (x[0, :, :PAIRS, None] == x[0, :, None, 2 * PAIRS :]).float()  # (N, pairs, 2)
        each = []
        for r in range(len(tried)):
            model = nets[r]
            model.attend.register_forward_hook(lambda layer, given, out: each.append(out[1]))
            with torch.no_grad():
                model(x[0])
        two = torch.stack([(w[:, 0] @ places)[:, 0].mean(0) for w in each])  # (R, 2)
        found |= {"more": two.amax(1), "less": two.amin(1)}
    name = f"{heads} heads" if arm == "heads" else arm
    return [row("heads", name, asked, *tried[r], steps, **{k: v[r] for k, v in found.items()})
            for r in range(len(tried))]  # fmt: skip


def all_heads() -> Iterator[list]:
    """Heads by keys asked, and one head with what lets it tell two values apart."""
    arms = [("heads", asked, heads) for asked in (1, 2, 4) for heads in (1, 2, 4)]
    for arm, asked, heads in [*arms, ("hidden", 2, 1), ("joint", 2, 1)]:
        yield from tuned(
            lambda t, a=arm, k=asked, h=heads: recall(a, k, h, t), [0.001, 0.003, 0.01], [100],
            list(range(5)), lambda found: value(found, "Accuracy")
        )  # fmt: skip


def all_rows() -> Iterator[list]:
    """The three parts."""
    yield from all_lookup()
    yield from all_copying()
    yield from all_heads()


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

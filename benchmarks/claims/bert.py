"""BERT: what is learned from gaps, how many labels does that save, and which parts are needed?

    python benchmarks/claims/bert.py    # writes bert.csv beside it; about 9 CPU-minutes

The long run behind the chapter on BERT. The text is 20,000 stories of two sentences from the
grammar of ``d2lite.data.stories``, 75 tokens; encoders have 2 layers, 4 heads, 32 numbers a token,
no dropout. Each is pretrained for 600 steps of 32 pairs, with AdamW (decay 0.01) and a rate that
rises for a tenth of the steps and then falls to 0. Each arm has a rate of its own, chosen with seed
100 out of three, or more while the best is at an edge; then five other seeds are trained at it.
``Loss`` and ``Right`` are of words hidden behind <mask> in 15 % of the places of new stories;
``Verb`` is how often the right one of "is" and "are" has the higher score where the people between
are of the other number; ``Follows`` is the share of pairs judged right.

Arms differ from the first, "80/10/10", in one thing: "100/0/0" hides all chosen words behind
<mask>; "40 %" chooses 40 % of the words; "words only" has no loss on the next sentence. "left to
right" differs from "words only": each place sees only what is before it and guesses the next
token, with a loss at every place. It is asked for the same words, from the left alone, and
fine-tuned as it is, read at <sep>, the last place, which alone has seen all. So that the place is
no excuse, "words only" is also read there, "words only at <sep>"; and so that the number of losses
is none, "left to right, 15 %" has one at 15 % of the places.

Then each encoder is trained on for 100 steps of 32 labeled first sentences, a set of its own for
each seed: is the verb's form right? ``Score`` is the accuracy on 2,000 new sentences, ``Other``
that where the people between are of the other number. Rates are chosen again, for each arm and
number of labels. From scratch, 700 steps are tried as well, which is as many as pretraining and
these have together. A probe trains a linear layer on the pooled vector of a frozen encoder; words
and pairs are such a layer on counts of words, or of pairs of neighbors. One row for each network.
"""

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from d2lite.data import Story, stories
from d2lite.nets.bert import (
    BERT,
    CLS,
    MASK,
    PAD,
    SEP,
    SPECIALS,
    Pretraining,
    mask_tokens,
    pack,
)  # fmt: skip
from d2lite.optim import AdamW
from d2lite.side_by_side import SideBySide
from d2lite.text import Vocabulary

HEAD = ["Task", "Arm", "Labels", "Steps", "Rate", "Seed", "Loss", "Right", "Verb", "Follows"]
HEAD += ["Score", "Other"]
WIDTH, LENGTH, BATCH, STEPS, STD = 32, 26, 32, 600, 0.1
ALONE = 18  # the longest first sentence, with <cls> and <sep>


class Arm(NamedTuple):
    """How many words are chosen and how they are hidden, and what else differs."""

    share: float = 0.15
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    pairs: bool = True
    causal: bool = False


#: Ways to pretrain.
ARMS = {
    "80/10/10": Arm(),
    "100/0/0": Arm(split=(1.0, 0.0, 0.0)),
    "40 %": Arm(share=0.4),
    "words only": Arm(pairs=False),
    "left to right": Arm(share=1.0, pairs=False, causal=True),
    "left to right, 15 %": Arm(pairs=False, causal=True),
}
TRAIN, TEST = stories(20_000, seed=0), stories(2000, seed=1)
WORDS = Vocabulary((s.first + s.second for s in TRAIN), specials=SPECIALS)
RIVALS, LABELS = ["scratch", "words", "pairs"], [20, 100, 2000]
Tried = list[tuple[float, int]]

# ---- Data ----------------------------------------------------------------------------------------


def pairs(text: list[Story], seed: int) -> tuple[Tensor, Tensor]:
    """Half of the second sentences are another story's: ids and segments (N, 2, T), labels (N,)."""
    draw = torch.Generator().manual_seed(seed)
    follows = torch.rand(len(text), generator=draw) < 0.5
    other = torch.randint(len(text), (len(text),), generator=draw)
    rows = [
        pack(WORDS, s.first, s.second if follows[i] else text[int(other[i])].second, LENGTH)
        for i, s in enumerate(text)
    ]
    return torch.tensor(rows), follows.long()


def grammar(text: list[Story], seed: int) -> tuple[Tensor, Tensor]:
    """First sentences, half of them with the verb's form wrong: ids (N, T), 1 if right (N,)."""
    right = torch.rand(len(text), generator=torch.Generator().manual_seed(seed)) < 0.5
    rows = []
    for i, s in enumerate(text):
        words = list(s.first)
        if not right[i]:
            words[s.verb] = "is" if s.plural else "are"
        rows.append(pack(WORDS, words, (), ALONE)[0])
    return torch.tensor(rows), right.long()


def labeled(labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """A seed's labeled sentences; fewer are the first of more."""
    return grammar(stories(labels, 1000 + seed), seed)


OTHERS = [s for s in TEST if s.between is not None and s.between != s.plural]
TESTS = grammar(TEST, 2), grammar(OTHERS, 3)
PAIRS, FOLLOWS = pairs(TRAIN, 4)
TEST_PAIRS, TEST_FOLLOWS = pairs(TEST, 5)
GAPS, HIDDEN = mask_tokens(
    TEST_PAIRS[:, 0], len(WORDS), split=(1.0, 0.0, 0.0), generator=torch.Generator().manual_seed(6)
)
VERBS = torch.tensor([pack(WORDS, s.first, s.second, LENGTH) for s in OTHERS])
PLACES = torch.tensor([s.verb + 1 for s in OTHERS])
IS, ARE = WORDS.encode(["is", "are"])
RIGHT = torch.tensor([ARE if s.plural else IS for s in OTHERS])


# ---- Pretraining ---------------------------------------------------------------------------------


class Reader(nn.Module):
    """Pretraining on ids and segments in one tensor (N, 2, T), as ``SideBySide`` takes them."""

    def __init__(self, seed: int, causal: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.causal = causal
        bert = BERT(len(WORDS), LENGTH, WIDTH, 4, 2, 2 * WIDTH, dropout=0.0, std=STD)
        self.model = Pretraining(bert, STD)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, 2, T) to scores of words (N, T, V) and of following (N, 2)."""
        return self.model(x[:, 0], x[:, 1], self.causal)


def descent(networks: nn.Module, rates: list[float]) -> AdamW:
    """AdamW with a rate for each network."""
    lr = torch.tensor(rates)
    groups = [
        {"params": [p], "lr": lr.view(-1, *[1] * (p.ndim - 1))}
        for p in networks.parameters()
        if p.requires_grad
    ]
    return AdamW(groups)


def factor(step: int, steps: int) -> float:
    """Of the rate: up for a tenth of the steps, then down to 0."""
    return min((step + 1) / (0.1 * steps), (steps - step) / (0.9 * steps))


def train(networks: nn.Module, rates: list[float], steps: int, loss: Callable[[], Tensor]) -> None:
    """Take steps on the sum of the networks' losses."""
    optimizer = descent(networks, rates)
    starts = [group["lr"] for group in optimizer.param_groups]
    for step in range(steps):
        optimizer.zero_grad()
        loss().backward()
        for group, lr in zip(optimizer.param_groups, starts, strict=True):
            group["lr"] = factor(step, steps) * lr
        optimizer.step()


def mean_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Sum the networks' means: scores (R, …, K), targets (R, …), where −100 does not count."""
    return sum(
        F.cross_entropy(s.flatten(0, -2), t.flatten()) for s, t in zip(scores, targets, strict=True)
    )  # type: ignore[return-value]


def pretrain(arm: Arm, tried: Tried) -> SideBySide:
    """Train a network for each rate and seed, side by side."""
    networks = SideBySide([Reader(seed, arm.causal) for _, seed in tried])
    draws = [torch.Generator().manual_seed(seed) for _, seed in tried]

    def loss() -> Tensor:
        rows = torch.stack([torch.randint(len(PAIRS), (BATCH,), generator=d) for d in draws])
        x, follows = PAIRS[rows], FOLLOWS[rows]
        ids = x[:, :, 0]
        if arm.causal:
            words, _ = networks(x)
            targets = ids.masked_fill(ids == PAD, -100)[:, :, 1:]
            if arm.share < 1:
                asked = torch.stack([torch.rand(targets[0].shape, generator=d) for d in draws])
                targets = targets.masked_fill(asked >= arm.share, -100)
            return mean_entropy(words[:, :, :-1], targets)
        hidden = [
            mask_tokens(i, len(WORDS), arm.share, arm.split, d)
            for i, d in zip(ids, draws, strict=True)
        ]
        read = torch.stack([h[0] for h in hidden])
        targets = ids.masked_fill(~torch.stack([h[1] for h in hidden]), -100)
        words, next_one = networks(torch.stack([read, x[:, :, 1]], 2))
        of_words = mean_entropy(words, targets)
        return of_words + mean_entropy(next_one, follows) if arm.pairs else of_words

    train(networks, [rate for rate, _ in tried], STEPS, loss)
    return networks


@torch.no_grad()
def measure(networks: SideBySide, arm: Arm) -> list[list]:
    """Loss, Right, Verb and, of those who learned it, Follows of each network."""
    results, n = [], torch.arange(len(VERBS))
    wanted, verbs, at = TEST_PAIRS[:, 0][HIDDEN], VERBS.clone(), PLACES
    gaps, where = torch.stack([GAPS, TEST_PAIRS[:, 1]], 1), HIDDEN
    if arm.causal:  # the word at a place is guessed at the one before, which has not seen it
        gaps, where, at = TEST_PAIRS, HIDDEN.roll(-1, 1), PLACES - 1
    else:
        verbs[n, 0, PLACES] = MASK
    for r in range(len(networks)):
        network = networks[r]
        scores = network(gaps)[0][where]
        said = torch.tensor([IS, ARE])[network(verbs)[0][n, at][:, [IS, ARE]].argmax(1)]
        right = [scores.argmax(1) == wanted, said == RIGHT]
        if arm.pairs:
            right.append(network(TEST_PAIRS)[1].argmax(1) == TEST_FOLLOWS)
        shares = [F.cross_entropy(scores, wanted), *(x.float().mean() for x in right)]
        results.append([round(x.item(), 4) for x in shares] + [""] * (not arm.pairs))
    return results


# ---- Afterwards ----------------------------------------------------------------------------------


class Judge(nn.Module):
    """A classifier on a copy of an encoder, as ``d2lite.nets.bert.Classifier``; reads at a token.

    <cls>, or what else each sentence has one of.
    """

    def __init__(self, reader: Reader, seed: int, token: int = CLS) -> None:
        super().__init__()
        torch.manual_seed(2000 + seed)
        self.causal, self.token = reader.causal, token
        self.bert = copy.deepcopy(reader.model.bert)
        self.out = nn.Linear(WIDTH, 2)

    def pooled(self, ids: Tensor) -> Tensor:
        """Map ids (N, T) to (N, D)."""
        x = self.bert(ids, causal=self.causal)
        return self.bert.pooler((x * (ids == self.token).unsqueeze(-1)).sum(1))

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids (N, T) to (N, 2)."""
        return self.out(self.pooled(ids))


def words(ids: Tensor) -> Tensor:
    """How often each token comes: (…, T) → (…, V)."""
    return F.one_hot(ids, len(WORDS)).sum(-2).float()


def word_pairs(ids: Tensor) -> Tensor:
    """How often each pair of neighbors comes: (…, T) → (…, V²)."""
    both = ids[..., :-1] * len(WORDS) + ids[..., 1:]
    counts = torch.zeros(*ids.shape[:-1], len(WORDS) ** 2)
    return counts.scatter_add_(-1, both, torch.ones(both.shape))


def judge(
    networks: SideBySide, data: list[tuple[Tensor, Tensor]], tried: Tried, steps: int
) -> list[list[float]]:
    """Train on labeled inputs, and give the accuracies on both tests, which are last in data."""
    draws = [torch.Generator().manual_seed(3000 + seed) for _, seed in tried]

    def loss() -> Tensor:
        chosen = [
            torch.randint(len(y), (32,), generator=d)
            for d, (_, y) in zip(draws, data, strict=False)
        ]
        x = torch.stack([d[0][c] for d, c in zip(data, chosen, strict=False)])
        y = torch.stack([d[1][c] for d, c in zip(data, chosen, strict=False)])
        return mean_entropy(networks(x), y)

    train(networks, [rate for rate, _ in tried], steps, loss)
    with torch.no_grad():
        return [
            [(networks[r](x).argmax(1) == y).float().mean().item() for x, y in TESTS]
            for r in range(len(tried))
        ]


def on_features(
    features: list[Callable[[Tensor], Tensor]], labels: int, tried: Tried
) -> list[list[float]]:
    """Train linear layers on features for 300 steps, and give the accuracies on both tests."""
    results = []
    for (rate, seed), make in zip(tried, features, strict=True):
        x, y = labeled(labels, seed)
        with torch.no_grad():
            made = [make(ids) for ids in (x, TESTS[0][0], TESTS[1][0])]
        layer = nn.Linear(made[0].shape[1], 2)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        optimizer = torch.optim.AdamW(layer.parameters(), rate, weight_decay=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            F.cross_entropy(layer(made[0]), y).backward()
            optimizer.step()
        answers = [layer(m).argmax(1) for m in made[1:]]
        results.append(
            [(a == t[1]).float().mean().item() for a, t in zip(answers, TESTS, strict=True)]
        )
    return results


# ---- Choosing a rate -----------------------------------------------------------------------------

Run = Callable[[Tried], list[list[float]]]


def tuned(run: Run, rates: list[float], of: int, sign: int) -> Iterator[tuple[float, int, list]]:
    """Try rates with one seed, further ones while the best is at an edge; then five other seeds.

    ``of`` is the number that chooses, ``sign`` −1 if it should be low; of ties, the rate nearest to
    the middle of the grid.
    """
    seen: dict[float, list[list[float]]] = {}
    new = rates
    while new:
        tried = [(rate, seed) for rate in new for seed in (100,)]
        for (rate, seed), result in zip(tried, run(tried), strict=True):
            seen.setdefault(rate, []).append(result)
            yield rate, seed, result
        middle = math.log(sorted(rates)[len(rates) // 2])
        best = max(
            seen,
            key=lambda r: (
                round(sign * seen[r][0][of], 3), -abs(math.log(r) - middle)
            ),
        )  # fmt: skip
        new = []
        if len(seen) < 5 and best in (min(seen), max(seen)):
            new = [round(best / 3 if best == min(seen) else best * 3, 6)]
    tried = [(best, seed) for seed in range(5)]
    for (rate, seed), result in zip(tried, run(tried), strict=True):
        yield rate, seed, result


def job(name: str) -> list[list]:
    """Rows of an arm that is pretrained, or of a rival that is not, and of what follows."""
    torch.set_num_threads(1)
    with sdpa_kernel(SDPBackend.MATH):  # the other one is not batched by vmap
        return list(pretrained(name) if name in ARMS else not_pretrained(name))


def pretrained(name: str) -> Iterator[list]:
    """Rows of an arm's pretraining and fine-tuning; those of the probe with the first arm."""
    arm, trained = ARMS[name], {}

    def run(tried: Tried) -> list[list]:
        networks = pretrain(arm, tried)
        trained.update({key: networks[r] for r, key in enumerate(tried)})
        return measure(networks, arm)

    for rate, seed, result in tuned(run, [0.0045, 0.0135, 0.0405], of=0, sign=-1):
        yield ["words", name, 0, STEPS, rate, seed, *result, "", ""]
    kept = {seed: trained[rate, seed] for seed in (*range(5), 100)}
    for labels in LABELS if name == "80/10/10" else [100]:
        yield from afterwards(name, labels, kept)
    if name == "80/10/10":
        for labels in LABELS:
            yield from afterwards("probe", labels, kept)
    if name == "words only":
        yield from afterwards("words only at <sep>", 100, kept)


def not_pretrained(rival: str) -> Iterator[list]:
    """Rows of the network from scratch, or of counts."""
    kept = {seed: Reader(seed) for seed in (*range(5), 100)}
    for labels in LABELS:
        yield from afterwards(rival, labels, kept)
    if rival == "scratch":
        for labels in LABELS[1:]:
            yield from afterwards(rival, labels, kept, STEPS + 100)


def afterwards(arm: str, labels: int, kept: dict, steps: int = 100) -> Iterator[list]:
    """Rows of one arm with some labels."""

    def run(tried: Tried) -> list[list]:
        if arm in ("words", "pairs"):
            return on_features(
                [words if arm == "words" else word_pairs] * len(tried), labels, tried
            )
        token = SEP if arm.startswith("left to right") or arm == "words only at <sep>" else CLS
        judges = [Judge(kept[seed], seed, token) for _, seed in tried]
        if arm == "probe":
            return on_features([j.pooled for j in judges], labels, tried)
        data = [labeled(labels, seed) for _, seed in tried]
        return judge(SideBySide(judges), data, tried, steps)

    rates = [0.0005, 0.0015, 0.0045]
    if arm in ("probe", "words", "pairs"):
        rates = [0.03, 0.1, 0.3] if arm == "probe" else [0.003, 0.01, 0.03]
    for rate, seed, result in tuned(run, rates, of=0, sign=1):
        yield ["grammar", arm, labels, steps, rate, seed, *[""] * 4, *(round(x, 4) for x in result)]


def all_rows() -> Iterator[list]:
    """The jobs' rows, in order; two jobs at a time."""
    with ProcessPoolExecutor(2) as workers:
        for rows in workers.map(job, [*ARMS, *RIVALS]):
            yield from rows


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

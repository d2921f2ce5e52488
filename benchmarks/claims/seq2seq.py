"""Sequence to sequence: what helps an encoder and a decoder of GRUs, at their own rates?

    python benchmarks/claims/seq2seq.py    # writes seq2seq.csv beside it; about 18 CPU-minutes

The long run behind the chapter. ``commands(longest=12)``, shuffled: 2,000 pairs to test, 1,000 to
choose a rate, and 2,000 to learn from, drawn by each seed out of the other 8,870. Tokens of 32
numbers, states of 64, batches of 32, Adam whose rate falls to 0 in a straight line, gradients
clipped to a norm of 1; 600 steps. Each arm tries three rates with seed 100, and further ones while
the best is at an edge; then five other seeds (three for *hidden*) are trained at the best two
rates, and the better one by ``Held`` counts.

Arms: *teacher* (forcing); *free* (the decoder reads what it wrote itself); *scheduled* (each token
is the teacher's with a chance that falls from 1 to 0); *reversed* (the words of the source);
*counts padding* (in the loss, the encoder as it should be); *reads padding* (the encoder, the loss
as it should be); *hidden* (a state of 16 numbers); *short* (learn from at most 8 actions, test
on 9 to 12, at the teacher's rate); *copy* and *copy reversed* (the source, 4 to 12 random letters
of 8, is to be copied: the control for reversing). Twice the steps, and a third of them, are
at the rates of 600, and so are four times as many, for *hidden*.

One row a network. ``Held`` is the share of the 1,000 sentences that are written right, greedily;
``Exact`` that of the test's; ``Right n`` and ``Of n`` count test sentences of n actions. ``Forced``
is the share of tokens that are right after the teacher's tokens, ``Free`` after the network's own,
``Later`` the same of the places after a sentence's first mistake, forced and free. ``Loss`` is the
arm's own, of the test, and ``Loss honest`` the same network's per real token. ``Alone`` and
``Padded`` are exact shares of sentences without padding, and with 10 more. ``Beam w`` and ``Log w``
are the exact share and the mean log-probability of what beams of width w find for the test's first
300 commands. ``Right of n words`` and ``Of n words`` count commands of n words, for *teacher* and
*hidden*.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from table import write_table
from torch import Tensor, nn

from d2lite.bleu import bleu
from d2lite.data.commands import commands
from d2lite.nets.seq2seq import BEGIN, END, Seq2Seq, beam_search, greedy
from d2lite.text import Vocabulary

WIDTHS = (1, 2, 4, 8)
LENGTHS = range(1, 13)
WORDS = range(1, 10)
HEAD = ["Arm", "Hidden", "Rate", "Seed", "Steps", "Held", "Exact", "Forced", "Free"]
HEAD += ["Later forced", "Later free", "BLEU", "Loss", "Loss honest", "Alone", "Padded"]
HEAD += [f"{name} {n}" for name in ("Right", "Of") for n in LENGTHS]
HEAD += [f"{name} {w}" for name in ("Beam", "Log") for w in WIDTHS]
HEAD += [f"{name} {n} words" for name in ("Right of", "Of") for n in WORDS]
STEPS, BATCH = 600, 32


@dataclass
class Task:
    """Ids of sources and targets, for each use; to learn from, as many as there are."""

    learn: tuple[Tensor, Tensor]
    held: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    sizes: tuple[int, int]


def task_of(pairs: list, test: list | None = None) -> Task:
    """Make ids of pairs: the first 2,000 to test, 1,000 to hold out, the rest to learn from."""
    source, target = (Vocabulary([pair[i] for pair in pairs]) for i in (0, 1))

    def ids(some: list) -> tuple[Tensor, Tensor]:
        return source.batch(pair[0] for pair in some), target.batch(pair[1] for pair in some)

    parts = ids(pairs[3000:]), ids(pairs[2000:3000]), ids(test or pairs[:2000])
    return Task(*parts, (len(source), len(target)))


def letters() -> list:
    """Make 12,000 pairs of a string of 4 to 12 random letters, and the same string."""
    source = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 13, (12000,), generator=source).tolist()
    draws = torch.randint(8, (12000, 12), generator=source).tolist()
    strings = [
        "".join("abcdefgh"[i] for i in row[:n]) for row, n in zip(draws, lengths, strict=True)
    ]
    return [(s, s) for s in dict.fromkeys(strings)]


def backward(pairs: list) -> list:
    """Reverse the sources."""
    return [(source[::-1], target) for source, target in pairs]


class ReadsPadding(Seq2Seq):
    """An encoder that reads on, through the padding, to the batch's last place."""

    def encode(self, source: Tensor) -> Tensor:
        """Map ids (N, S) to the state after the last place, (1, N, H)."""
        return self.encoder(self.source(source))[1]


# ---- Training ------------------------------------------------------------------------------------


def written(model: Seq2Seq, source: Tensor, target: Tensor, share: float) -> Tensor:
    """Score tokens; each input is the teacher's with a chance, else the network's own choice."""
    if share == 1:
        return model(source, target)
    state, token, scores = model.encode(source), target[:, :1], []
    for t in range(target.shape[1]):
        out, state = model.decode(token, state)
        scores.append(out)
        if t + 1 < target.shape[1]:
            forced = torch.rand(len(token), 1) < share
            token = torch.where(forced, target[:, t + 1 : t + 2], out.argmax(2))
    return torch.cat(scores, 1)


def loss_of(arm: str, scores: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of the tokens after ``<bos>``, with or without padding."""
    ignored = -100 if arm == "counts padding" else 0
    return F.cross_entropy(scores.flatten(0, 1), target[:, 1:].flatten(), ignore_index=ignored)


def train(task: Task, arm: str, hidden: int, rate: float, seed: int, steps: int) -> Seq2Seq:
    """Train one network."""
    torch.manual_seed(seed)
    chosen = torch.randperm(len(task.learn[0]))[:2000]
    source, target = task.learn[0][chosen], task.learn[1][chosen]
    form = ReadsPadding if arm == "reads padding" else Seq2Seq
    model = form(*task.sizes, hidden_size=hidden)
    descent = torch.optim.Adam(model.parameters(), lr=rate)
    order: list[Tensor] = []
    for step in range(steps):
        if not order:
            order = list(torch.randperm(len(source)).split(BATCH))
        batch = order.pop()
        x, y = (ids[batch] for ids in (source, target))
        x, y = (ids[:, : (ids != 0).sum(1).max()] for ids in (x, y))
        done = step / steps
        share = {"free": 0.0, "scheduled": 1 - done}.get(arm, 1)
        loss = loss_of(arm, written(model, x, y[:, :-1], share), y)
        descent.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        descent.param_groups[0]["lr"] = rate * (1 - done)
        descent.step()
    return model


# ---- Measuring -----------------------------------------------------------------------------------


def exact(model: Seq2Seq, source: Tensor, target: Tensor) -> Tensor:
    """Which sentences are right to the last token, (N,)."""
    longest = target.shape[1] - 1
    out = F.pad(greedy(model, source, longest), (0, longest))[:, :longest]
    return (out == target[:, 1:]).all(1)


def alone(model: Seq2Seq, source: Tensor, target: Tensor) -> Tensor:
    """Which are right if no sentence is padded, (N,)."""
    lengths = (source != 0).sum(1)
    right = torch.zeros(len(source), dtype=torch.bool)
    for n in lengths.unique().tolist():
        same = lengths == n
        right[same] = exact(model, source[same][:, :n], target[same])
    return right


@torch.no_grad()
def tokens(model: Seq2Seq, source: Tensor, target: Tensor, share: float) -> tuple[float, float]:
    """The share of tokens that are right, and of those after a sentence's first mistake."""
    right = written(model, source, target[:, :-1], share).argmax(2) == target[:, 1:]
    real = target[:, 1:] != 0
    wrong = (~right & real).int()
    later = real & (wrong.cumsum(1) - wrong > 0)
    return right[real].float().mean().item(), right[later].float().mean().item()


def sentences(ids: Tensor) -> list[list[str]]:
    """Tokens, as strings, up to ``<eos>``."""
    rows = ids.tolist()
    return [[str(i) for i in row[: row.index(END)]] if END in row else list(map(str, row))
            for row in rows]  # fmt: skip


def measure(task: Task, arm: str, model: Seq2Seq, beams: bool, words: bool) -> list[object]:
    """All columns from ``Held`` on."""
    source, target = task.test
    right = exact(model, source, target)
    forced, later_forced = tokens(model, source, target, 1.0)
    free, later_free = tokens(model, source, target, 0.0)
    said = sentences(greedy(model, source, target.shape[1] - 1))
    with torch.no_grad():
        scores = model(source, target[:, :-1])
        losses = [loss_of(name, scores, target).item() for name in (arm, "teacher")]
    values = [
        exact(model, *task.held).float().mean().item(), right.float().mean().item(), forced, free,
        later_forced, later_free, bleu(said, [[one] for one in sentences(target[:, 1:])]), *losses,
        alone(model, source, target).float().mean().item(),
        exact(model, F.pad(source, (0, 10)), target).float().mean().item(),
    ]  # fmt: skip
    lengths = (target > END).sum(1)
    counts = [int(right[lengths == n].sum()) for n in LENGTHS]
    counts += [int((lengths == n).sum()) for n in LENGTHS]
    by_words: list[object] = [""] * 2 * len(WORDS)
    if words:
        lengths = (source > END).sum(1)
        by_words[: len(WORDS)] = [int(right[lengths == n].sum()) for n in WORDS]
        by_words[len(WORDS) :] = [int((lengths == n).sum()) for n in WORDS]
    searched: list[object] = [""] * 2 * len(WIDTHS)
    if beams:
        first = [ids[ids != 0] for ids in source[:300]]
        wanted = [ids[ids > BEGIN].tolist() for ids in target[:300]]
        for i, width in enumerate(WIDTHS):
            best = [beam_search(model, ids, width, target.shape[1] - 1)[0] for ids in first]
            hits = sum(found[1] == ids for found, ids in zip(best, wanted, strict=True))
            searched[i] = round(hits / 300, 4)
            searched[len(WIDTHS) + i] = round(sum(log for log, _ in best) / 300, 5)
    return [*(round(v, 5) for v in values), *counts, *searched, *by_words]


# ---- The arms ------------------------------------------------------------------------------------


def run(task: Task, arm: str, hidden: int, rate: float, seed: int, steps: int = STEPS) -> list:
    """Train and measure one network: a row."""
    model = train(task, arm, hidden, rate, seed, steps)
    beams = arm == "teacher" and seed < 5 and steps <= STEPS
    words = seed < 5 and (arm == "hidden" or (arm == "teacher" and steps == STEPS))
    return [arm, hidden, rate, seed, steps, *measure(task, arm, model, beams, words)]


def mean_held(rows: list[list]) -> dict[float, float]:
    """The mean of ``Held`` at each rate."""
    held: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        held[row[2]].append(row[5])
    return {rate: sum(each) / len(each) for rate, each in held.items()}


def tuned(task: Task, arm: str, hidden: int = 64, seeds: int = 5) -> list[list]:
    """Try rates, and further ones while the best is at an edge; other seeds at the best two.

    The rows of the best rate come last.
    """
    rows: list[list] = []
    pending = [0.005, 0.01, 0.02]
    while pending:
        rows += [run(task, arm, hidden, rate, 100) for rate in pending]
        held = mean_held(rows)
        best = max(held, key=held.__getitem__)
        pending = []
        if len(held) < 6 and best in (min(held), max(held)):
            pending = [best / 2 if best == min(held) else best * 2]
    order = sorted(held, key=held.__getitem__)[-2:]
    tried = [run(task, arm, hidden, rate, seed) for rate in order for seed in range(seeds)]
    held = mean_held(tried)
    return rows + sorted(tried, key=lambda row: held[row[2]])


def all_rows() -> Iterator[list]:
    """Every arm at its rate; then other lengths of training, and longer sentences to test."""
    pairs = commands(longest=12, seed=0)
    usual, mirrored = task_of(pairs), task_of(backward(pairs))
    rate: dict[str, float] = {}

    def keep(rows: list[list]) -> list[list]:
        rate[rows[-1][0]] = rows[-1][2]
        return rows

    yield from keep(tuned(usual, "teacher"))
    yield from keep(tuned(usual, "free"))
    yield from keep(tuned(mirrored, "reversed"))
    strings = letters()
    yield from tuned(task_of(strings), "copy")
    yield from tuned(task_of(backward(strings)), "copy reversed")
    short = [pair for pair in pairs if len(pair[1]) <= 8]
    long = [pair for pair in pairs if len(pair[1]) > 8]
    apart = task_of(short, test=long[:2000])
    for seed in range(5):
        yield run(apart, "short", 64, rate["teacher"], seed)
        yield run(usual, "teacher", 64, rate["teacher"], seed, STEPS // 3)
    yield from keep(tuned(usual, "hidden", 16, seeds=3))
    for arm in ("counts padding", "reads padding", "scheduled"):
        yield from keep(tuned(usual, arm))
    for seed in range(3):
        for arm in ("teacher", "free"):
            yield run(usual, arm, 64, rate[arm], seed, 2 * STEPS)
        yield run(usual, "hidden", 16, rate["hidden"], seed, 4 * STEPS)


if __name__ == "__main__":
    write_table(__file__, HEAD, all_rows())

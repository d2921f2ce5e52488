"""Train the language model whose weights ship with d2lite: `d2lite/data/small_transformer.npz`.

    python benchmarks/small_transformer.py     # 13 processor minutes on one thread

The model is `d2lite.nets.transformer.LanguageModel`, and its tokens are characters: context 96, 64
numbers a token, 4 layers of 4 heads, 218,368 weights. It learns from the help topics up to the last
tenth, which begins where a topic does: windows of 96 characters that begin anywhere, 32 in a batch,
for 6,000 steps of AdamW (weight decay 0.1, gradient's norm at most 1, dropout 0.1), at a rate that
goes up to 0.003 in 200 steps and then down to a hundredth along a cosine; products in bfloat16.
Then its matrices are rounded to 8 bits, with a scale for each row: 239 KB.

It is judged on the last tenth, each character after at least 48 that stand before it:

    bits a character of the last tenth     1.78    in 8 bits as in 32
    after 1, 2, 3, 4, 5 thousand steps     2.11, 1.94, 1.87, 1.83, 1.79
    of the text that it has learned from   1.36

Dropout and the rate are the first that were tried. The file was made when embeddings started with a
deviation of 0.02; `LanguageModel` now starts them at 1/√D, so a new run would differ.
"""

import math
import time

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from d2lite.data import small_transformer
from d2lite.data.small_transformer import PACKAGED, SIZES, encode, pack, split
from d2lite.nets.transformer import LanguageModel
from d2lite.train import _keep_buffers

STEPS, BATCH, LR, WARMUP = 6_000, 32, 3e-3, 200
DROPOUT, WEIGHT_DECAY = 0.1, 0.1
T = SIZES["context"]


def rate(step: int) -> float:
    """Give the share of the rate at a step: up along a line, down along a cosine."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    share = (step - WARMUP) / (STEPS - WARMUP)
    return 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2


def bits_per_character(model: LanguageModel, ids: Tensor) -> float:
    """Compute the cross-entropy in bits: of each window of 96, the last 48 predictions count."""
    model.eval()
    windows = ids.unfold(0, T + 1, T // 2)
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(batch[:, :-1])[:, T // 2 :].mT, batch[:, T // 2 + 1 :])
            for batch in windows.split(100)[:-1]  # the last is smaller
        ]
    return torch.stack(losses).mean().item() / math.log(2)


def train(text: Tensor, held_out: Tensor) -> LanguageModel:
    """Train from seed 0."""
    _keep_buffers()
    torch.manual_seed(0)
    started = time.process_time()
    model = LanguageModel(**SIZES, dropout=DROPOUT)
    optimizer = torch.optim.AdamW(model.parameters(), LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    windows = text.unfold(0, T + 1, 1)
    for step in tqdm(range(1, STEPS + 1)):
        model.train()
        batch = windows[torch.randint(len(windows), (BATCH,))]
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.float().mT, batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 1000 == 0:
            known = bits_per_character(model, text[: len(held_out)])
            print(f"step {step}: {known:.3f} bits of what it has learned from,", end=" ")
            print(f"{bits_per_character(model, held_out):.3f} of the last tenth", flush=True)
    print(f"{time.process_time() - started:.0f} processor seconds")
    return model.eval()


def main() -> None:
    """Train, write the weights, and print what they are worth."""
    text, held_out = (encode(part) for part in split())
    model = train(text, held_out)
    whole = bits_per_character(model, held_out)
    pack(model)
    print(f"{PACKAGED.name}: {PACKAGED.stat().st_size / 1000:.0f} KB")
    print(f"32 bits: {whole:.3f} bits a character of the last tenth")
    print(f" 8 bits: {bits_per_character(small_transformer(), held_out):.3f}")


if __name__ == "__main__":
    main()

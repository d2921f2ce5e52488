"""A small language model of characters, trained on Python's help topics.

``benchmarks/small_transformer.py`` trained it, in 13 processor minutes, and made the file. On the
last tenth of the help topics, which it has not seen, it needs 1.78 bits a character.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from d2lite.data.help_topics import help_topics
from d2lite.nets.transformer import LanguageModel

PACKAGED = Path(__file__).with_name("small_transformer.npz")
#: The characters of the help topics, by their codes: that of id i is ``CHARACTERS[i]``.
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127) if code != ord("`"))
SIZES = {
    "vocab_size": len(CHARACTERS), "context": 96, "d_model": 64, "nhead": 4, "num_layers": 4,
}  # fmt: skip


def small_transformer() -> LanguageModel:
    """Load it: a ``LanguageModel`` of 95 characters, context 96, 4 layers of 4 heads, D = 64.

    Ids are the places in ``"".join(sorted(set(help_topics())))``. It has not seen the last tenth,
    where it needs 1.78 bits a character.

    >>> from d2lite.data import help_topics
    >>> characters = "".join(sorted(set(help_topics())))
    >>> ids = [characters.index(character) for character in "The following exampl"]
    >>> scores = small_transformer()(torch.tensor([ids]))[0, -1]
    >>> characters[scores.argmax()]
    'e'
    """
    with np.load(PACKAGED) as packaged, torch.random.fork_rng([]):
        arrays = {name: torch.from_numpy(packaged[name]).float() for name in packaged.files}
        model = LanguageModel(**SIZES).eval().requires_grad_(False)
    values = {
        name: from_8_bits(x, arrays[f"{name}-scale"]) if f"{name}-scale" in arrays else x
        for name, x in arrays.items()
        if not name.endswith("-scale")
    }
    model.load_state_dict(values)
    return model


def split() -> tuple[str, str]:
    """Split the help topics: what it has learned from, and the last tenth, from a topic's title on.

    >>> [len(part) for part in split()]
    [373304, 40889]
    """
    text = help_topics()
    titles = [found.start() for found in re.finditer(r"(?<=\n\n)[^\n]+\n\*+\n", text)]
    first = min(titles, key=lambda start: abs(start - 0.9 * len(text)))
    return text[:first], text[first:]


def encode(text: str) -> Tensor:
    """Give each character's id.

    >>> encode("a b")
    tensor([65,  1, 66])
    """
    return torch.tensor([CHARACTERS.index(character) for character in text])


def to_8_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to 255 steps of a size of its own: whole numbers and the rows' scales.

    >>> to_8_bits(torch.tensor([[1.27, -0.5], [0, 0]]))[0]
    tensor([[127, -50],
            [  0,   0]], dtype=torch.int8)
    """
    scales = (matrix.abs().amax(1) / 127).clamp(min=1e-6).half()
    steps = (matrix / scales.float()[:, None]).round().clamp(-127, 127)
    return steps.to(torch.int8), scales


def from_8_bits(values: Tensor, scales: Tensor) -> Tensor:
    """Undo ``to_8_bits``, but for the rounding."""
    return values.float() * scales.float()[:, None]


def pack(model: LanguageModel) -> None:
    """Write a model to the file that ships: matrices in 8 bits, all else in 16."""
    arrays: dict[str, Any] = {}
    for name, x in model.state_dict().items():
        if x.ndim > 1:
            x, scales = to_8_bits(x)
            arrays[f"{name}-scale"] = scales.numpy()
        else:
            x = x.half()
        arrays[name] = x.numpy()
    np.savez_compressed(PACKAGED, **arrays)

"""The transformer explorer: a language model that reads what you type, and goes on with it."""

from html import escape
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from d2lite.attention import MultiHeadAttention
from d2lite.checks import check, instance, integer, number
from d2lite.data.small_transformer import CHARACTERS, from_8_bits, small_transformer, to_8_bits
from d2lite.explore.explorer import Checked, Explorer, Read, mix
from d2lite.nets.transformer import LanguageModel

LONGEST = 288  # characters of a text
FIRST = "It is called with the arguments (self, name"  # unless another is given
PLAIN = "\n" + "".join(map(chr, range(32, 127)))  # ASCII's printable ones
MARKS = {" ": "·", "\n": "¶"}  # what is seen instead


def _text(value: Any) -> str:
    """Read a text: printable ASCII, and new lines."""
    if not isinstance(value, str):
        raise TypeError("must be a str")
    if strange := sorted(set(value) - set(PLAIN)):
        raise ValueError(f"{''.join(strange)!r}: must be printable ASCII or new lines")
    if len(value) > LONGEST:
        raise ValueError(f"{len(value)} characters, must be at most {LONGEST}")
    return value


def pack(model: LanguageModel) -> bytes:
    """Write all parameters one after the other: matrices in 8 bits, all else in 16-bit floats.

    A matrix begins with the scales of its rows.

    >>> len(pack(LanguageModel(2, context=4, d_model=4, nhead=1, num_layers=0)))
    64
    """
    packed = b""
    for p in model.parameters():
        x = p.detach().cpu().float()
        values, scales = to_8_bits(x) if x.ndim > 1 else (torch.empty(0, dtype=torch.int8), x)
        packed += scales.numpy().astype("<f2").tobytes() + values.numpy().tobytes()
    return packed


def unpack(packed: bytes, model: LanguageModel) -> LanguageModel:
    """Read parameters that ``pack`` has written into a model of the same form, and return it."""
    at = 0

    def take(kind: str, count: int) -> Tensor:
        nonlocal at
        values = np.frombuffer(packed, kind, count, at)
        at += values.nbytes
        return torch.from_numpy(values.astype(np.float32))

    with torch.no_grad():
        for p in model.parameters():
            first = take("<f2", len(p))
            p.copy_(first if p.ndim == 1 else from_8_bits(take("i1", p.numel()).view_as(p), first))
    return model


class TransformerExplorer(Explorer):
    """Type a text: see to which characters each head of each layer attends, and what comes next.

    The model runs where the figure is shown, on its weights in 8 bits. It sees at most the last
    ``context`` characters: of a longer text, from half a context to a whole one.

    Args:
        model: A trained ``LanguageModel`` of characters, of 1 to 6 layers and at most 8 heads; if
            none is given, ``d2lite.data.small_transformer()``.
        characters: Those that it knows, each at the place of its id: printable ASCII and new lines.
        text: What it reads; at first a line's beginning, if the model knows its characters.
        place: The character from which the heads look, and after which the next one is guessed,
            from 0; the last one, if −1 or beyond the text.
        layer: Of which layer the attention is shown in the text, from 0.
        head: Of which head, from 0.
        temperature: By what the scores are divided before the next character is drawn.
        seed: Of what is drawn.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or the model does not fit the characters.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = TransformerExplorer(text="The following exampl")
    >>> explorer.attention.shape  # layers, heads, from each character, to each
    torch.Size([4, 4, 20, 20])
    >>> explorer.characters[explorer.probabilities.argmax()]
    'e'
    """

    parts = ("network",)
    characters = traitlets.Unicode(read_only=True).tag(sync=True)
    context = traitlets.Int(read_only=True).tag(sync=True)
    width = traitlets.Int(read_only=True).tag(sync=True)
    depth = traitlets.Int(read_only=True).tag(sync=True)
    heads = traitlets.Int(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    text = Read("", _text)
    place = Checked(-1, integer(at_least=-1, at_most=LONGEST - 1))
    layer = Checked(0, integer(at_least=0, at_most=5))
    head = Checked(0, integer(at_least=0, at_most=7))
    temperature = Checked(1.0, number(at_least=0.1, at_most=2))
    seed = Checked(0, integer(at_least=0, at_most=9999))
    label = traitlets.Unicode("Transformer explorer").tag(sync=True)

    def __init__(
        self, model: LanguageModel | None = None, characters: str = CHARACTERS, **traits: Any
    ) -> None:
        model = small_transformer() if model is None else model
        check("model", model, instance(LanguageModel))
        check("characters", characters, instance(str))
        if set(characters) - set(PLAIN) or len(set(characters)) < len(characters):
            raise ValueError("characters: must be printable ASCII or new lines, each at most once")
        tokens, width = model.tokens.weight.shape
        if tokens != len(characters):
            raise ValueError(f"model: {tokens} tokens, must be {len(characters)}, as characters")
        if not 1 <= len(model.layers) <= 6:
            raise ValueError(f"model: {len(model.layers)} layers, must be 1 to 6")
        first: Any = model.layers[0]
        if (heads := first.attention.num_heads) > 8:
            raise ValueError(f"model: {heads} heads, must be at most 8")
        if model.context < 8:
            raise ValueError(f"model: context {model.context}, must be at least 8")
        fixed = {
            "characters": characters,
            "context": model.context,
            "width": width,
            "depth": len(model.layers),
            "heads": heads,
            "weights": pack(model),
        }
        for name, value in fixed.items():
            self.set_trait(name, value)
        text = FIRST if set(FIRST) <= set(characters) else ""
        super().__init__(**{"text": text, **traits})

    @property
    def model(self) -> LanguageModel:
        """The model as the figure runs it: with its weights in 8 bits."""
        with torch.random.fork_rng([]):
            model = LanguageModel(
                len(self.characters), self.context, self.width, self.heads, self.depth
            )
        return unpack(self.weights, model).eval().requires_grad_(False)

    @property
    def start(self) -> int:
        """The first character of the text that the model sees: 0, unless it is longer."""
        half = max(1, self.context // 2)
        return max(0, -(-(len(self.text) - self.context) // half) * half)

    @property
    def chosen(self) -> int:
        """The character from which the heads look, from 0; −1 if there is no text."""
        last = len(self.text) - 1
        return last if not 0 <= self.place <= last else max(self.place, self.start)

    @property
    def ids(self) -> Tensor:
        """What the model sees, (1, T)."""
        return torch.tensor([[self.characters.index(c) for c in self.text[self.start :]]])

    @property
    def attention(self) -> Tensor:
        """To which character each attends: (depth, heads, T, T), rows add up to 1.

        T counts what the model sees, ``text[start:]``.
        """
        if not self.text:
            return torch.zeros(self.depth, self.heads, 0, 0)
        model, weights = self.model, []

        def keep(layer: Any, given: Any, result: tuple[Tensor, Tensor]) -> None:
            weights.append(result[1][0])

        for each in model.modules():
            if isinstance(each, MultiHeadAttention):
                each.register_forward_hook(keep)
        model(self.ids)
        return torch.stack(weights)

    @property
    def logits(self) -> Tensor:
        """The scores of what comes after the chosen character, as many as ``characters``."""
        if not self.text:
            return torch.zeros(len(self.characters))
        return self.model(self.ids)[0, self.chosen - self.start]

    @property
    def probabilities(self) -> Tensor:
        """What may come after the chosen character: the softmax of logits by temperature."""
        return (self.logits / self.temperature).softmax(0)

    def continued(self, count: int) -> str:
        """Return the text with so many characters more, as the figure draws them, until it is full.

        >>> TransformerExplorer(text="The following exampl", temperature=0.1).continued(1)
        'The following example'
        """
        check("count", count, integer(at_least=0))
        own = type(self)(self.model, self.characters, temperature=self.temperature)
        own.text = self.text
        for _ in range(min(count, LONGEST - len(self.text))):
            state = (len(own.text) + 1) * 0x9E3779B9 + mix(self.seed)
            share = (mix(state & 0xFFFFFFFF) + 0.5) / 2**32
            below = own.probabilities.double().cumsum(0) < share
            own.text += self.characters[min(int(below.sum()), len(self.characters) - 1)]
        return own.text

    @traitlets.validate("text", "layer", "head")
    def _check_fit(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "text":
            if unknown := sorted(set(value) - set(self.characters)):
                raise ValueError(f"text: {''.join(unknown)!r} are not among the model's characters")
        elif value >= (count := {"layer": self.depth, "head": self.heads}[name]):
            raise ValueError(f"{name}={value}: must be ≤ {count - 1}")
        return value

    def picture(self) -> str:
        """Draw the text, how much the head attends to each character, and what may come next."""
        across, high, wide = 48, 24, 10
        shares = (
            self.attention[self.layer, self.head, self.chosen - self.start].tolist()
            if self.text
            else []
        )
        shares = [0.0] * self.start + shares
        shapes, row, column = "", 0, 0
        for at, character in enumerate(self.text):
            x, y = wide * column, high * row
            if shares[at] > 0.005:
                shapes += (
                    f'<path d="M{x} {y}h{wide}v{high - 2}h{-wide}z" fill="var(--d2-output)" '
                    f'opacity="{0.1 + 0.5 * shares[at]:.2f}"/>'
                )
            if at == self.chosen:
                shapes += (
                    f'<path d="M{x} {y}h{wide}v{high - 2}h{-wide}z" fill="none" '
                    f'stroke="var(--d2-gradient)" stroke-width="2"/>'
                )
            mark = MARKS.get(character, character)
            shapes += (
                f'<text x="{x + wide / 2:g}" y="{y + 16}" text-anchor="middle" font-size="14" '
                f'fill="var(--d2-{"muted" if character in MARKS else "ink"})">{escape(mark)}</text>'
            )
            column += 1
            if character == "\n" or column == across:
                row, column = row + 1, 0
        top = high * (row + 1) + 10
        best = self.probabilities.topk(min(5, len(self.characters)))
        for n, (share, at) in enumerate(zip(*map(Tensor.tolist, best), strict=True)):
            y = top + 20 * n
            character = self.characters[at]
            shapes += (
                f'<text x="30" y="{y + 13}" text-anchor="end" font-size="14" '
                f'fill="var(--d2-ink)">{escape(MARKS.get(character, character))}</text>'
                f'<path d="M40 {y + 2}h{320 * share:.1f}v13h{-320 * share:.1f}z" '
                f'fill="var(--d2-output)"/>'
                f'<text x="{46 + 320 * share:.0f}" y="{y + 13}" font-size="14" '
                f'fill="var(--d2-muted)">{100 * share:.0f} %</text>'
            )
        height = top + 20 * len(best.values)
        return f'<svg viewBox="0 0 480 {height}" width="480">{shapes}</svg>'

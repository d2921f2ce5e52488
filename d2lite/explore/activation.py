"""The activation explorer: a function and its slope, and what many layers of it do to a signal."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import traitlets
from torch import Tensor
from torch.nn.functional import gelu

from d2lite import activations
from d2lite.checks import integer, number, one_of
from d2lite.explore.explorer import Checked, Explorer, normals

BATCH = 16  # inputs that the network sees
LARGEST = 64  # units a layer: what a page computes and draws within a frame
BLOCK = 80  # weights are drawn for as many units; a network's are cut out of them

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": torch.clone,
    "sigmoid": activations.sigmoid,
    "tanh": activations.tanh,
    "relu": activations.relu,
    "leaky_relu": activations.leaky_relu,
    "gelu": partial(gelu, approximate="tanh"),
}


class Passage(NamedTuple):
    """What becomes of a signal on its way through the layers; entry 0 is the input's."""

    signal: list[float]  # standard deviation over all units and inputs
    difference: list[float]  # the same over the inputs alone, root mean square of the units
    gradient: list[float]  # standard deviation of ∂L/∂(activations)


class ActivationExplorer(Explorer):
    """See an activation function, its derivative, and what a deep stack of it does to a signal.

    One panel draws f and f′ and lets the reader move x. The other sends 16 random inputs through a
    fully connected network without biases, and a random gradient back, and draws the standard
    deviation of both at each layer. All of it can be read and set from Python too.

    Args:
        activation: ``"identity"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or
            ``"gelu"`` (its form with tanh).
        negative_slope: That of leaky ReLU for x < 0, from 0 to 1.
        x: Where the function is read, from −5 to 5.
        initialization: ``"normal"`` takes ``sigma``, ``"xavier"`` 1 / √width, ``"he"`` √(2 / width)
            as the standard deviation of the weights; He's rule makes up for a leaky ReLU's slope.
        sigma: The standard deviation of ``"normal"`` weights, from 0.001 to 2.
        depth: Layers, from 1 to 50.
        width: Units a layer, from 4 to 64.
        seed: Of the weights, the inputs and the gradient sent back.
        first: The panel that comes first, ``"function"`` or ``"layers"``.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a number is none, or there is no such argument.

    >>> explorer = ActivationExplorer(activation="sigmoid", x=0)
    >>> explorer.value, explorer.slope
    (0.5, 0.25)
    """

    parts = ("chart",)
    activation = Checked("sigmoid", one_of(*FUNCTIONS))
    negative_slope = Checked(0.1, number(at_least=0, at_most=1))
    x = Checked(2.0, number(at_least=-5, at_most=5))
    initialization = Checked("xavier", one_of("normal", "xavier", "he"))
    sigma = Checked(0.1, number(at_least=0.001, at_most=2))
    depth = Checked(20, integer(at_least=1, at_most=50))
    width = Checked(64, integer(at_least=4, at_most=LARGEST))
    seed = Checked(0, integer(at_least=0, at_most=2**31 - 1))
    first = Checked("function", one_of("function", "layers"))
    label = traitlets.Unicode("Activation explorer").tag(sync=True)

    @property
    def function(self) -> Callable[[Tensor], Tensor]:
        """The activation, of a tensor."""
        if self.activation == "leaky_relu":
            return partial(activations.leaky_relu, negative_slope=self.negative_slope)
        return FUNCTIONS[self.activation]

    @property
    def value(self) -> float:
        """f(x)."""
        return self._read(torch.tensor(self.x, dtype=torch.float64))[0].item()

    @property
    def slope(self) -> float:
        """f′(x)."""
        return self._read(torch.tensor(self.x, dtype=torch.float64))[1].item()

    @property
    def std(self) -> float:
        """The standard deviation of the weights."""
        if self.initialization == "normal":
            return self.sigma
        slope = self.negative_slope if self.activation == "leaky_relu" else 0
        gain = {"xavier": 1, "he": math.sqrt(2 / (1 + slope**2))}[self.initialization]
        return gain / math.sqrt(self.width)

    @property
    def passage(self) -> Passage:
        """What becomes of the signal and of the gradient, layer by layer, by autograd."""
        n, start = self.width, 2 * BLOCK * BATCH
        drawn = torch.from_numpy(normals(self.seed, 0, start))
        signal, sent = drawn.reshape(2, BLOCK, BATCH)[:, :n]
        signals = [signal.requires_grad_()]
        for layer in range(self.depth):
            block = normals(self.seed, start + layer * BLOCK**2, BLOCK**2)
            weights = torch.from_numpy(block.reshape(BLOCK, BLOCK)[:n, :n])
            signals.append(self.function(self.std * weights @ signals[-1]))
        gradients = torch.autograd.grad(signals[-1], signals, sent)
        return Passage(
            [h.std(correction=0).item() for h in signals],
            [h.var(1, correction=0).mean().sqrt().item() for h in signals],
            [gradient.std(correction=0).item() for gradient in gradients],
        )

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return f and f′ at each x."""
        leaf = x.clone().requires_grad_()
        y = self.function(leaf)
        return y.detach(), torch.autograd.grad(y.sum(), leaf)[0]

    def picture(self) -> str:
        """Draw f and f′, then the signal and the gradient on a logarithmic axis, as SVG."""

        def line(xs: Any, ys: Any, tone: str, dashes: str = "0") -> str:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(xs, ys, strict=True))
            return (
                f'<path d="M{path}" fill="none" stroke="var(--d2-{tone})" stroke-width="2" '
                f'stroke-dasharray="{dashes}"/>'
            )

        x = torch.linspace(-5, 5, 101, dtype=torch.float64)
        values, slopes = self._read(x)
        low, high = min(values.min().item(), 0), max(values.max().item(), 1)
        across = 150 + 28 * x

        def up(y: Tensor) -> Tensor:
            return 200 - 190 * (y - low) / (high - low)

        passage = self.passage
        floor = min(v for curve in passage for v in curve if v > 0) / 10
        decades = [[math.log10(max(v, floor)) for v in curve] for curve in passage]
        bottom, top = min(-3, *map(min, decades)), max(3, *map(max, decades))
        places = [340 + 350 * layer / self.depth for layer in range(self.depth + 1)]
        tones = zip(("output", "muted", "gradient"), ("0", "2 4", "6 4"), decades, strict=True)
        lines = "".join(
            line(places, [200 - 190 * (d - bottom) / (top - bottom) for d in curve], tone, dashes)
            for tone, dashes, curve in tones
        )
        zero = up(torch.tensor(0.0))
        return (
            '<svg viewBox="0 0 700 210" width="700">'
            f'<path d="M10 {zero:.1f}H290M150 10V200M340 10V200H690" fill="none" '
            'stroke="var(--d2-line)"/>'
            f"{line(across, up(values), 'output')}{line(across, up(slopes), 'gradient', '6 4')}"
            f"{lines}</svg>"
        )

"""The LeNet explorer: a trained network that runs in the page, on garments or what you draw."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from d2lite.checks import integer, one_of
from d2lite.explore.explorer import Checked
from d2lite.explore.network import NetworkExplorer
from d2lite.nets.lenet import LeNet

ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
POOLINGS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}

#: The shape of what each layer gives.
SHAPES: dict[str, tuple[int, ...]] = {
    "C1": (6, 28, 28), "S2": (6, 14, 14), "C3": (16, 10, 10), "S4": (16, 5, 5),
    "C5": (120,), "F6": (84,), "output": (10,),
}  # fmt: skip

LARGEST = 2047  # of 12 bits with a sign


def pack(model: LeNet) -> bytes:
    """Write a LeNet's weights in 12 bits each, 94 KB in all.

    Layer by layer: the biases; for each unit what one step of its weights is worth (both 32-bit
    floats, the low byte first); then all weights plus 2048, two in three bytes, high bits first.

    >>> len(pack(LeNet()))
    94093
    """
    packed = b""
    for layer in _weighted(model):
        weight, bias = (value.detach().cpu() for value in (layer.weight.flatten(1), layer.bias))
        worth = (weight.abs().amax(1, keepdim=True) / LARGEST).clamp_min(1e-30)
        steps = (weight / worth).round().to(torch.int32).flatten().numpy() + LARGEST + 1
        first, second = steps[::2], steps[1::2]
        triples = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
        for numbers in (bias, worth):
            packed += numbers.numpy().astype("<f4").tobytes()
        packed += triples.astype(np.uint8).tobytes()
    return packed


def unpack(packed: bytes, model: LeNet) -> LeNet:
    """Read weights that ``pack`` has written into a model of the same kind, and return it.

    >>> source = LeNet()
    >>> model = unpack(pack(source), LeNet())
    >>> bool((model.C5.weight - source.C5.weight).abs().max() < 1e-3)
    True
    """
    for layer in _weighted(model):
        (units,), count = layer.bias.shape, layer.weight.numel()
        ends = [0, 4 * units, 8 * units, 8 * units + count * 3 // 2]
        bias, worth, triples = (packed[start:end] for start, end in pairwise(ends))
        packed = packed[ends[-1] :]
        a, b, c = np.frombuffer(triples, np.uint8).reshape(-1, 3).astype(np.int32).T
        steps = np.stack([a << 4 | b >> 4, (b & 15) << 8 | c], axis=1).reshape(units, -1)
        weight = (steps - LARGEST - 1) * np.frombuffer(worth, "<f4")[:, None]
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight).view_as(layer.weight))
            layer.bias.copy_(torch.tensor(np.frombuffer(bias, "<f4").copy()))
    return model


def _weighted(model: LeNet) -> list[Any]:
    return [model.C1, model.C3, model.C5, model.F6, model.output]


class LeNetExplorer(NetworkExplorer):
    """Draw on a board of 28 × 28, or pick a garment, and watch every map of a trained LeNet.

    The network runs where the figure is shown, on its weights in 12 bits.

    Args:
        model: A trained ``LeNet`` with 10 classes.
        gallery: Images to pick from, (N, 1, 28, 28), from 0 to 1; at most 40.
        classes: The names of the 10 classes.
        image: What is on the board: (28, 28) from 0 to 1. The gallery's first image, unless given.
        layer: The layer of the unit that is looked into: ``"C1"``, ``"S2"``, ``"C3"``, ``"S4"``,
            ``"C5"``, ``"F6"`` or ``"output"``.
        unit: Which one, from 0: maps, rows and columns counted through.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If the model is no ``LeNet`` of 10 classes, its activation is none of ReLU,
            sigmoid and tanh, or there is no such argument.

    >>> explorer = LeNetExplorer(LeNet(), torch.rand(2, 1, 28, 28), list("abcdefghij"))
    >>> explorer.scores.shape
    torch.Size([10])
    """

    activation = traitlets.Unicode("relu", read_only=True).tag(sync=True)
    pool = traitlets.Unicode("max", read_only=True).tag(sync=True)
    layer = Checked("C3", one_of(*SHAPES))
    unit = Checked(0, integer(at_least=0, at_most=10**6))
    label = traitlets.Unicode("LeNet explorer").tag(sync=True)

    def __init__(
        self, model: LeNet, gallery: Tensor, classes: Sequence[str], **traits: Any
    ) -> None:
        with torch.device("meta"):
            shapes = {name: p.shape for name, p in LeNet().named_parameters()}
        if {name: p.shape for name, p in model.named_parameters()} != shapes:
            raise TypeError(f"model: a {type(model).__name__}, must be a LeNet with 10 classes")
        names = {function: name for name, function in ACTIVATIONS.items()}
        if model.activation not in names:
            raise TypeError(f"model: has {model.activation}, must have one of {list(ACTIVATIONS)}")
        self.set_trait("weights", pack(model))
        self.set_trait("pool", "max" if isinstance(model.S2, nn.MaxPool2d) else "average")
        self.set_trait("activation", names[model.activation])
        super().__init__(gallery, classes, **traits)

    @property
    def model(self) -> LeNet:
        """The network as the figure runs it: with its weights in 12 bits."""
        with torch.random.fork_rng([]):
            model = LeNet(ACTIVATIONS[self.activation], POOLINGS[self.pool])
            return unpack(self.weights, model).eval()

    @traitlets.validate("unit")
    def _check_unit(self, proposal: Any) -> int:
        unit, units = proposal["value"], math.prod(SHAPES[self.layer])
        if unit >= units:
            raise ValueError(f"unit={unit}: must be < {units}, the units of {self.layer}")
        return unit

    @traitlets.observe("layer")
    def _keep_unit_inside(self, change: Any) -> None:
        self.unit = min(self.unit, math.prod(SHAPES[self.layer]) - 1)

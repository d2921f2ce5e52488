"""The architecture explorer: the published networks drawn to scale, layer by layer."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import traitlets
from torch import nn

from d2lite.channels import MaskedConv2d
from d2lite.checks import boolean, integer, one_of
from d2lite.explore.explorer import Checked, Explorer
from d2lite.nets.alexnet import alexnet
from d2lite.nets.densenet import densenet121
from d2lite.nets.googlenet import googlenet
from d2lite.nets.lenet import EuclideanRBF, LeNet5, Subsampling
from d2lite.nets.nin import nin
from d2lite.nets.resnet import resnet50
from d2lite.nets.vgg import vgg16
from d2lite.receptive_field import receptive_field
from d2lite.trace import Shape, trace

#: Each network, and how many parts of a layer's name say which block it belongs to.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "LeNet-5": (LeNet5, 1),
    "AlexNet": (alexnet, 2),
    "VGG-16": (vgg16, 2),
    "NiN": (nin, 2),
    "GoogLeNet": (googlenet, 2),
    "ResNet-50": (resnet50, 3),
    "DenseNet-121": (densenet121, 2),
}

YOURS = "your network"

KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "convolution": (nn.Conv2d, nn.ConvTranspose2d, MaskedConv2d),
    "pooling": (
        nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d, Subsampling,
    ),
    "dense": (nn.Linear, EuclideanRBF),
}  # fmt: skip


def describe(model: nn.Module, shape: Shape, depth: int = 2) -> dict[str, Any]:
    """List a model's convolutions, poolings, dense and other layers as ``trace`` sees them.

    The parameters of what multiplies nothing, such as a normalization, count with the layer before.

    Args:
        model: Maps images (N, C, H, W) to anything.
        shape: (C, H, W).
        depth: How many parts of a layer's name say which block it belongs to.

    >>> layers = describe(nn.Sequential(nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6)), (1, 28, 28))
    >>> layers["layers"][0]["parameters"], layers["layers"][0]["field"]
    (168, 5)
    """
    if len(shape) != 3:
        raise ValueError(f"shape={shape}: must be (C, H, W), such as (1, 28, 28)")
    traced, modules = trace(model, shape), dict(model.named_modules())
    try:
        fields = {name: field.size for name, field in receptive_field(model, shape).items()}
    except ValueError:  # some layer has no field that all its units share
        fields = {}
    layers: list[dict[str, Any]] = []
    unused = 0
    for row in traced:
        module = modules[row.name]
        kind = next((kind for kind, types in KINDS.items() if isinstance(module, types)), "")
        if row.output_shape is None:
            unused += row.parameters
            continue
        if not kind and (row.parameters or row.multiply_adds):
            weighted = [layer for layer in layers if layer["kind"] != "pooling"]
            if weighted and not row.multiply_adds:  # a normalization, or a block's own scale
                weighted[-1]["parameters"] += row.parameters
            else:
                kind = "other"
        if kind:
            layers.append(
                {
                    "name": row.name,
                    "block": ".".join(row.name.split(".")[:depth]),
                    "kind": kind,
                    "text": row.description,
                    "shape": row.output_shape,
                    "parameters": row.parameters,
                    "multiply_adds": row.multiply_adds,
                    "field": fields.get(row.name),
                }
            )
    if not layers:
        raise ValueError("model: must have a layer with weights, or a pooling")
    return {"input": shape, "layers": layers, "unused": unused}


@cache
def _published(name: str) -> dict[str, Any]:
    make, depth = NETWORKS[name]
    shape = (1, 32, 32) if name == "LeNet-5" else (3, 224, 224)
    with torch.device("cpu" if name == "LeNet-5" else "meta"):  # shapes, without computing
        model = make()
    return describe(model, shape, depth)


class ArchitectureExplorer(Explorer):
    """See a network drawn to scale, or two: shapes, parameters, multiply-adds, receptive fields.

    The published networks are there; with ``model`` and ``shape``, one of your own as well.

    A map's height is that of the picture in pixels; its width, and that of the bars below it, grows
    with the square root of its channels.

    Args:
        model: A network of your own, any that ``trace`` understands. It is drawn first.
        shape: What it takes, (C, H, W).
        network: ``"LeNet-5"``, ``"AlexNet"``, ``"VGG-16"``, ``"NiN"``, ``"GoogLeNet"``,
            ``"ResNet-50"``, ``"DenseNet-121"`` or ``"your network"``.
        other: A second one, drawn below the first, or ``""`` for none.
        layer: The chosen layer of the first, from 0: convolutions, poolings and dense layers count.
        other_layer: The chosen layer of the second.
        same_scale: Whether two networks share their scales, or each fills its own.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or the model fails.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = ArchitectureExplorer(network="VGG-16", layer=18)
    >>> explorer.networks["VGG-16"]["layers"][explorer.layer]["parameters"]
    102764544
    >>> mine = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5408, 10))
    >>> ArchitectureExplorer(mine, (1, 28, 28), other="LeNet-5").network
    'your network'
    """

    networks = traitlets.Dict(
        read_only=True, help="For each network its input shape, its layers, and unused parameters."
    ).tag(sync=True)
    network = Checked("VGG-16", one_of(*NETWORKS, YOURS))
    other = Checked("", one_of("", *NETWORKS, YOURS))
    layer = Checked(0, integer(at_least=0, at_most=10**6))
    other_layer = Checked(0, integer(at_least=0, at_most=10**6))
    same_scale = Checked(True, boolean)
    label = traitlets.Unicode("Architecture explorer").tag(sync=True)

    def __init__(
        self, model: nn.Module | None = None, shape: Shape | None = None, **traits: Any
    ) -> None:
        if (model is None) != (shape is None):
            raise TypeError("model and shape: must be given both, or neither")
        if model is not None and shape is not None:
            own = {YOURS: describe(model, shape)}
            self.set_trait("networks", own | self.networks)
            traits = {"network": YOURS, **traits}
        super().__init__(**traits)

    @traitlets.default("networks")
    def _trace_them(self) -> dict[str, Any]:
        return {name: _published(name) for name in NETWORKS}

    @traitlets.validate("network", "other")
    def _check_network(self, proposal: Any) -> str:
        name, trait = proposal["value"], proposal["trait"].name
        if name and name not in self.networks:
            raise ValueError(f"{trait}={name!r}: needs a model and its shape")
        return name

    @traitlets.validate("layer", "other_layer")
    def _check_layer(self, proposal: Any) -> int:
        layer, trait = proposal["value"], proposal["trait"].name
        name = self.network if trait == "layer" else self.other
        if name in self.networks and layer >= len(self.networks[name]["layers"]):
            count = len(self.networks[name]["layers"])
            raise ValueError(f"{trait}={layer}: must be < {count}, the layers of {name}")
        return layer

    @traitlets.observe("network", "other")
    def _keep_layers_inside(self, change: Any) -> None:
        for trait, name in (("layer", self.network), ("other_layer", self.other)):
            last = len(self.networks[name]["layers"]) - 1 if name else 0
            setattr(self, trait, min(getattr(self, trait), last))

    def picture(self) -> str:
        """Draw the first network's maps, to scale, and a bar for each layer's parameters."""
        network = self.networks[self.network]
        maps = [("input", network["input"], 0)]
        maps += [(each["kind"], each["shape"], each["parameters"]) for each in network["layers"]]
        widths = [shape[0] ** 0.5 for _, shape, _ in maps]
        largest = max(parameters for *_, parameters in maps)
        tones = {"input": "input", "convolution": "output", "pooling": "muted", "dense": "kernel"}
        tones["other"] = "gradient"
        shapes, x = "", 0.0
        for (kind, shape, parameters), width in zip(maps, widths, strict=True):
            w = 700 * width / sum(widths)
            tall = max(2.0, 110 * shape[1] / network["input"][1]) if shape[1:] else 2.0
            bar = 70 * parameters / max(largest, 1)
            fill = f'fill="var(--d2-{tones[kind]})"'
            shapes += (
                f'<path d="M{x:.1f} {57 - tall / 2:.1f}h{w * 0.85:.1f}v{tall:.1f}h{-w * 0.85:.1f}z"'
                f' {fill}/><path d="M{x:.1f} {195 - bar:.1f}h{w * 0.85:.1f}v{bar:.1f}'
                f'h{-w * 0.85:.1f}z" fill="var(--d2-kernel)"/>'
            )
            x += w
        return f'<svg viewBox="0 0 700 200" width="700">{shapes}</svg>'

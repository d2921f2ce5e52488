"""The latent explorer: the map of a VAE of two dimensions, and what stands at each point."""

from collections.abc import Mapping
from functools import cache
from html import escape
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from d2lite.checks import check, instance, integer, number, one_of
from d2lite.data.fashion_mnist import fashion_mnist
from d2lite.data.labelled_images import LabelledImages
from d2lite.data.latent_nets import latent_nets
from d2lite.explore.explorer import Checked, Explorer, Place, Read, normals
from d2lite.explore.network import draw_pixels
from d2lite.explore.vit import pack
from d2lite.nets.vae import VAE

GARMENTS = 300  # unless others are given
SHADES = 15  # of a garment's pixel, above black
DRAWS = 8  # points that are drawn at random


def _point(value: Any) -> list[float]:
    """Read a point of the map: two numbers."""
    numbers = value.tolist() if isinstance(value, (Tensor, np.ndarray)) else value
    if not isinstance(numbers, (list, tuple)):
        raise TypeError("must be a list of two numbers")
    if len(numbers) != 2:
        raise ValueError(f"{len(numbers)} numbers, must be two")
    for i, each in enumerate(numbers):
        check(f"[{i}]", each, number(at_least=-100, at_most=100))
    return [float(each) for each in numbers]


@cache
def _shipped() -> tuple[dict[str, VAE], LabelledImages]:
    """Load the networks and garments that are shown unless others are given."""
    _, test = fashion_mnist()
    return latent_nets(), test[list(range(GARMENTS))]


class LatentExplorer(Explorer):
    """Drag a point over the latent map of a VAE: the decoder draws what stands there.

    The decoder runs where the figure is shown, on its weights in 16 bits. Unless others are given,
    the networks are ``d2lite.data.latent_nets()`` and the garments the first 300 of the test set.

    Args:
        models: One to three trained ``VAE`` with two latent dimensions, by their names.
        garments: Images of 28 × 28 in 10 classes, whose codes are the points of the map; at most
            1000.
        network: Which of the networks is shown, from 0.
        background: What the map shows: ``"garments"``, their codes, or ``"pictures"``, decoded.
        z: The point that is decoded.
        start: Where the line begins.
        end: Where it ends.
        garment: The garment whose posterior is shown, from 0.
        draws: What is drawn from: ``"posterior"``, that of the garment, or ``"prior"``.
        seed: Of what is drawn.
        highlight: A class whose garments stand out; none, if −1.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range, or networks or images are of another shape.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = LatentExplorer(z=[1, -0.5])
    >>> explorer.decoded.shape
    torch.Size([28, 28])
    """

    parts = ("chart", "network")
    names = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    widths = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    weights = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    codes = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    gallery = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    labels = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    network = Place("names", at_most=2)
    background = Checked("garments", one_of("garments", "pictures"))
    z = Read([0.0, 0.0], _point)
    start = Read([-1.5, 0.0], _point)
    end = Read([1.5, 0.0], _point)
    garment = Place("labels", at_most=999)
    draws = Checked("posterior", one_of("posterior", "prior"))
    seed = Checked(0, integer(at_least=0, at_most=9999))
    highlight = Checked(-1, integer(at_least=-1, at_most=9))
    label = traitlets.Unicode("Latent explorer").tag(sync=True)

    def __init__(
        self,
        models: Mapping[str, VAE] | None = None,
        garments: LabelledImages | None = None,
        **traits: Any,
    ) -> None:
        models = _shipped()[0] if models is None else models
        garments = _shipped()[1] if garments is None else garments
        check("models", models, instance(Mapping))
        check("garments", garments, instance(LabelledImages))
        if not 1 <= len(models) <= 3:
            raise ValueError(f"models: {len(models)} networks, must be 1 to 3")
        for name, model in models.items():
            check(f"models[{name!r}]", model, instance(VAE))
            if (latent := model.decoder[0].in_features) != 2:
                raise ValueError(f"models[{name!r}]: {latent} latent dimensions, must be 2")
        images = garments.images.detach().cpu().float()
        if images.shape[1:] != (1, 28, 28) or not 1 <= len(images) <= 1000:
            raise ValueError(
                f"garments: images {tuple(images.shape)}, must be (1 to 1000, 1, 28, 28)"
            )
        if not (images.min() >= 0 and images.max() <= 1):
            raise ValueError("garments: images must be from 0 to 1")
        if len(garments.classes) != 10:
            raise ValueError(f"garments: {len(garments.classes)} classes, must be 10")
        with torch.no_grad():
            codes = [
                torch.cat([mean, (log_var / 2).exp()], 1).cpu()
                for model in models.values()
                for device in [next(model.parameters()).device]
                for mean, log_var in [model.encode(images.to(device))]
            ]
        shades = (images.flatten(1) * SHADES).round().byte()
        fixed = {
            "names": list(models),
            "widths": [model.decoder[3].out_channels for model in models.values()],
            "weights": b"".join(pack(model.decoder) for model in models.values()),
            "codes": torch.stack(codes).numpy().astype("<f4").tobytes(),
            "gallery": (shades[:, ::2] * 16 + shades[:, 1::2]).numpy().tobytes(),
            "labels": garments.labels.tolist(),
            "classes": list(garments.classes),
        }
        for name, value in fixed.items():
            self.set_trait(name, value)
        super().__init__(**traits)

    @property
    def model(self) -> nn.Module:
        """The chosen network's decoder as the figure runs it, with its weights in 16 bits."""
        with torch.random.fork_rng([]):
            decoders = [VAE(latent=2, width=width).decoder for width in self.widths]
        sizes = [sum(p.numel() for p in decoder.parameters()) for decoder in decoders]
        values = np.frombuffer(self.weights, "<f2").astype(np.float32)
        own = torch.from_numpy(values).split(sizes)[self.network]
        nn.utils.vector_to_parameters(own, decoders[self.network].parameters())
        return decoders[self.network].eval().requires_grad_(False)

    @property
    def code(self) -> Tensor:
        """The chosen network's codes of the garments, (N, 4): means, then deviations."""
        codes = torch.tensor(np.frombuffer(self.codes, "<f4").astype(np.float32))
        return codes.view(len(self.names), -1, 4)[self.network]

    @property
    def decoded(self) -> Tensor:
        """What stands at the point, (28, 28), from 0 to 1."""
        return self.model(torch.tensor([self.z])).sigmoid()[0, 0]

    @property
    def drawn(self) -> Tensor:
        """The points that are drawn at random, (8, 2)."""
        noise = torch.from_numpy(normals(self.seed, 0, 2 * DRAWS)).float().view(DRAWS, 2)
        if self.draws == "prior":
            return noise
        mean, std = self.code[self.garment].view(2, 2)
        return mean + std * noise

    def picture(self) -> str:
        """Draw the codes, the point among them and what stands there, as an SVG element."""
        means = self.code[:, :2]
        reach = max(3.0, means.abs().max().item())
        tones = ["input", "kernel", "output", "gradient"]
        shapes = '<path d="M0 0h300v300h-300z" fill="none" stroke="var(--d2-line)"/>'
        for label, name in enumerate(self.classes):
            path = "".join(
                f"M{x:.0f} {y:.0f}h0"
                for (x, y), own in zip((150 + 145 * means * torch.tensor([1, -1]) / reach).tolist(),
                                       self.labels, strict=True)
                if own == label
            )  # fmt: skip
            shapes += (
                f'<path d="{path}" stroke="var(--d2-{tones[label % 4]})" stroke-width="5" '
                f'stroke-linecap="round"><title>{escape(name)}</title></path>'
            )
        x, y = (150 + 145 * max(-1, min(1, at / reach)) * sign
                for at, sign in zip(self.z, (1, -1), strict=True))  # fmt: skip
        shapes += (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="var(--d2-paper)" '
            f'stroke="var(--d2-ink)" stroke-width="3"/>'
        )
        shades = (self.decoded.flatten() * 16).round().int().tolist()
        shapes += f'<g transform="translate(330 52)">{draw_pixels(shades, 28, 7, "output")}</g>'
        return f'<svg viewBox="0 0 540 300" width="540">{shapes}</svg>'

"""What explorers of trained networks share: an image, a gallery, and the classes' bars."""

from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor, nn

from d2lite.checks import check, integer
from d2lite.explore.explorer import Explorer, Read

STEPS = 255  # shades of a pixel


def read_pixels(value: Any, side: int = 28) -> list[int]:
    """Read an image: side² whole numbers from 0 to 255, or (side, side) numbers from 0 to 1."""
    if isinstance(value, (list, tuple)) and len(value) == side**2:
        for i, pixel in enumerate(value):
            check(f"[{i}]", pixel, integer(at_least=0, at_most=STEPS))
        return [int(pixel) for pixel in value]
    image = torch.as_tensor(value).detach().cpu().float()
    if image.numel() != side**2 or image.shape[-2:] != (side, side):
        raise ValueError(f"shape {tuple(image.shape)}, must be ({side}, {side})")
    if not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(f"values from {image.min():g} to {image.max():g}, must be 0 to 1")
    return (image.flatten() * STEPS).round().int().tolist()


def read_gallery(gallery: Tensor) -> list[bytes]:
    """Read images to pick from, (N, 1, 28, 28): a byte for each pixel."""
    if gallery.ndim != 4 or not 1 <= len(gallery) <= 40:
        raise ValueError(f"gallery: shape {tuple(gallery.shape)}, must be (1 to 40, 1, 28, 28)")
    for i, image in enumerate(gallery):
        check(f"gallery[{i}]", image, read_pixels)
    return [bytes(read_pixels(image)) for image in gallery]


def draw_pixels(shades: Sequence[int], side: int, cell: float, tone: str) -> str:
    """Draw an image, whose shades go from 0 to 16, in cells of a size, as SVG paths."""
    shapes = ""
    for shade in range(1, 17):
        path = "".join(
            f"M{i % side * cell:g} {i // side * cell:g}h{cell:g}v{cell:g}h{-cell:g}z"
            for i, s in enumerate(shades)
            if s == shade
        )
        if path:
            shapes += f'<path d="{path}" fill="var(--d2-{tone})" opacity="{shade / 16}"/>'
    return shapes


class NetworkExplorer(Explorer):
    """An explorer of a trained network, which runs where the figure is shown.

    A subclass packs the network into ``weights`` and overrides :attr:`model`.

    Args:
        gallery: Images to pick from, (N, 1, 28, 28), from 0 to 1; at most 40.
        classes: The names of the 10 classes.

    Raises:
        ValueError: If there are other than 10 classes, or the images are of another kind.
    """

    weights = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    gallery = traitlets.Bytes(b"", read_only=True).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    image = Read([0] * 784, read_pixels)

    def __init__(self, gallery: Tensor, classes: Sequence[str], **traits: Any) -> None:
        if len(classes) != 10:
            raise ValueError(f"classes: {len(classes)} names, must be 10, as the model's scores")
        images = read_gallery(gallery)
        self.set_trait("gallery", b"".join(images))
        self.set_trait("classes", list(classes))
        super().__init__(**{"image": list(images[0]), **traits})

    @property
    def model(self) -> nn.Module:
        """The network as the figure runs it."""
        raise NotImplementedError(f"{type(self).__name__} must say what its model is")

    @property
    def shown(self) -> Tensor:
        """The image that the network gets, (1, 1, 28, 28), from 0 to 1."""
        return torch.tensor(self.image).view(1, 1, 28, 28) / STEPS

    @property
    def scores(self) -> Tensor:
        """The scores of what is shown, (10,)."""
        with torch.no_grad():
            return self.model(self.shown)[0]

    def picture(self) -> str:
        """Draw the image and a bar for each class as an SVG element."""
        shapes = '<path d="M0 0h196v196h-196z" fill="none" stroke="var(--d2-line)"/>'
        shades = (self.shown.flatten() * STEPS / 16).round().int().tolist()
        shapes += draw_pixels(shades, 28, 7, "input")
        bars = zip(self.classes, self.scores.softmax(0).tolist(), strict=True)
        for row, (name, share) in enumerate(bars):
            y = 20 * row
            shapes += (
                f'<text x="310" y="{y + 14}" text-anchor="end" font-size="14" '
                f'fill="var(--d2-ink)">{name}</text>'
                f'<path d="M320 {y + 3}h{320 * share:.1f}v13h{-320 * share:.1f}z" '
                f'fill="var(--d2-output)"/>'
                f'<text x="{326 + 320 * share:.0f}" y="{y + 14}" font-size="14" '
                f'fill="var(--d2-muted)">{100 * share:.0f} %</text>'
            )
        return f'<svg viewBox="0 0 700 200" width="700">{shapes}</svg>'

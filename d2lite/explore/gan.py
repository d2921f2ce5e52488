"""The GAN explorer: a generator and a discriminator that train in the page, on points of a ring."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets

from d2lite.checks import check, instance, integer, number, one_of
from d2lite.explore.explorer import Checked, Explorer, mix, normals

MODES, RADIUS, DEVIATION = 8, 2, 0.05
_CURVES = "step", "discriminator", "generator", "modes", "share"


def _history(value: Any) -> None:
    """Obey as a rule: what the figure has noted, a dict of lists."""
    instance(Mapping)(value)
    if value and value.keys() != set(_CURVES):
        raise ValueError(f"must have {', '.join(_CURVES)}")


class GANExplorer(Explorer):
    """Train a GAN in the page: its generator learns eight Gaussians on a ring.

    Both networks are small: two numbers come in, two layers of 32 units follow. The centers of the
    Gaussians are 2 from the middle, their standard deviation is 0.05. Each step takes 64 points,
    and Adam with β₁ = 0.5.

    Args:
        loss: ``"non-saturating"``, ``"saturating"`` or ``"hinge"``.
        lr_generator: Learning rate of the generator.
        lr_discriminator: Learning rate of the discriminator.
        discriminator_steps: Its steps for each one of the generator, from 1 to 10.
        seed: Of both networks' first weights, the noise and the points.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    After the reader has trained, ``history`` has, every 20 steps, the step, both losses, the modes
    that are covered, and the share of the made points that are near one: at most three standard
    deviations from its center. A mode is covered if a quarter of its fair share is near.

    >>> GANExplorer(lr_generator=0.001).history
    {}
    """

    parts = ("chart", "network")
    loss = Checked("non-saturating", one_of("non-saturating", "saturating", "hinge"))
    lr_generator = Checked(0.005, number(at_least=1e-5, at_most=0.1))
    lr_discriminator = Checked(0.01, number(at_least=1e-5, at_most=0.1))
    discriminator_steps = Checked(1, integer(at_least=1, at_most=10))
    seed = Checked(0, integer(at_least=0, at_most=9999))
    history = traitlets.Any({}).tag(sync=True)
    label = traitlets.Unicode("GAN explorer").tag(sync=True)

    @traitlets.validate("history")
    def _check_history(self, proposal: Any) -> dict[str, list[float]]:
        check("history", proposal["value"], _history)
        return dict(proposal["value"])

    def picture(self) -> str:
        """Draw the real points as an SVG element."""
        count, seed, first = 400, 4 * self.seed + 2, 1_000_000
        places = np.arange(first + 1, first + count + 1, dtype=np.uint64) * 0x9E3779B9
        modes = mix(places + mix(seed + 1) & 0xFFFFFFFF) % MODES
        angles = 2 * np.pi * modes / MODES
        points = RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1)
        points += DEVIATION * normals(seed, 2 * first, 2 * count).reshape(-1, 2)
        path = "".join(f"M{160 + 53.3 * x:.1f} {160 - 53.3 * y:.1f}h0" for x, y in points)
        return (
            '<svg viewBox="0 0 320 320" width="320">'
            '<path d="M0 0h320v320h-320z" fill="none" stroke="var(--d2-line)"/>'
            f'<path d="{path}" stroke="var(--d2-input)" stroke-width="4" '
            'stroke-linecap="round"/></svg>'
        )

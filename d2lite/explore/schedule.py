"""The schedule explorer: the learning rate step by step, and what it does to a noisy descent."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import traitlets

from d2lite import schedules
from d2lite.checks import boolean, integer, number
from d2lite.explore.explorer import Checked, Explorer, Read
from d2lite.schedules import Schedule

NAMES = ("constant", "step_decay", "cosine", "one_cycle", "triangular")
_TONES = dict(zip(NAMES, ("muted", "kernel", "input", "output", "gradient"), strict=True))


def _names(value: Any) -> list[str]:
    """Read a list of schedules, and put them into the order of ``NAMES``."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError("must be a list of names")
    given = list(value)
    if not given or (unknown := [each for each in given if each not in NAMES]):
        what = f"{unknown[0]!r}" if given else "none"
        raise ValueError(f"{what}, must be one or more of {', '.join(NAMES)}")
    return [each for each in NAMES if each in given]


class ScheduleExplorer(Explorer):
    """Compare schedules of the learning rate, and watch a noisy descent follow each of them.

    The upper picture shows the learning rate of every step, the lower one the loss of gradient
    descent with noise on a quadratic bowl of ten directions, whose curvatures go from 1 to 0.05.
    What the reader sets in the figure can be read here, and set from here.

    Args:
        schedules: Those to draw, one or more of ``"constant"``, ``"step_decay"``, ``"cosine"``,
            ``"one_cycle"`` and ``"triangular"``, each as in ``d2lite.schedules``.
        total_steps: Steps of the whole training, warm-up included, from 10 to 1000.
        lr: The learning rate that the schedules scale, from 0.0001 to 10.
        warmup: Share of the steps that rise in a line before each schedule begins, 0 to 0.5.
        start_factor: Where that rise begins, as a share of the schedule's first value, 0 to 1.
        step_size: Steps between two decays of ``step_decay``.
        gamma: What each of them multiplies by, from 0.01 to 1.
        end_factor: Where ``cosine`` ends, as a share of ``lr``, from 0 to 1.
        noise: Standard deviation of the noise in each number of the gradient, from 0 to 1.
        seed: Of the noise, from 0 to 9999.
        step: The step of the cursor, from 0.
        log_scale: Whether the axis of the learning rate is logarithmic.
        label: The figure's accessible name.

    Raises:
        ValueError: If a value is out of range.
        TypeError: If a value is of another type, or there is no such argument.

    >>> explorer = ScheduleExplorer(schedules=["cosine"], total_steps=10, lr=1)
    >>> [round(lr, 2) for lr in explorer.rates["cosine"]]
    [1.0, 0.98, 0.9, 0.79, 0.65, 0.5, 0.35, 0.21, 0.1, 0.02]
    """

    parts = ("chart",)
    schedules = Read(["constant", "step_decay", "cosine"], _names)
    total_steps = Checked(300, integer(at_least=10, at_most=1000))
    lr = Checked(0.3, number(at_least=1e-4, at_most=10))
    warmup = Checked(0.0, number(at_least=0, at_most=0.5))
    start_factor = Checked(1 / 3, number(at_least=0, at_most=1))
    step_size = Checked(100, integer(at_least=1, at_most=1000))
    gamma = Checked(0.1, number(at_least=0.01, at_most=1))
    end_factor = Checked(0.0, number(at_least=0, at_most=1))
    noise = Checked(0.3, number(at_least=0, at_most=1))
    seed = Checked(0, integer(at_least=0, at_most=9999))
    step = Checked(0, integer(at_least=0, at_most=999))
    log_scale = Checked(False, boolean)
    label = traitlets.Unicode("Schedule explorer").tag(sync=True)

    @property
    def rates(self) -> dict[str, list[float]]:
        """The learning rate of each step, for each schedule that is drawn."""
        rise = math.floor(self.warmup * self.total_steps + 0.5)  # steps
        rest = self.total_steps - rise
        makers: dict[str, Callable[[], Schedule]] = {
            "constant": lambda: lambda step: 1.0,
            "step_decay": lambda: schedules.step_decay(self.step_size, self.gamma),
            "cosine": lambda: schedules.cosine(rest, self.end_factor),
            "one_cycle": lambda: schedules.one_cycle(rest),
            "triangular": lambda: schedules.triangular(rest),
        }
        rates = {}
        for name in self.schedules:
            schedule = makers[name]()
            if rise:
                schedule = schedules.warmup(schedule, rise, self.start_factor)
            rates[name] = [self.lr * schedule(step) for step in range(self.total_steps)]
        return rates

    @property
    def distances(self) -> dict[str, float]:
        """The sum of each schedule's rates, as a share of that of ``lr`` at every step."""
        return {name: sum(rates) / len(rates) / self.lr for name, rates in self.rates.items()}

    @traitlets.validate("step")
    def _check_step(self, proposal: Any) -> int:
        step = proposal["value"]
        if step >= self.total_steps:
            raise ValueError(f"step={step}: must be < {self.total_steps}, the number of steps")
        return step

    @traitlets.observe("total_steps")
    def _keep_step_inside(self, change: Any) -> None:
        self.step = min(self.step, self.total_steps - 1)

    def picture(self) -> str:
        """Draw the learning rates, on a linear axis, and the cursor as an SVG element."""
        width, height = 700, 200

        def x(step: int) -> float:
            return round(4 + (width - 8) * step / (self.total_steps - 1), 1)

        lines = ""
        for name, rates in self.rates.items():
            points = [
                f"{x(i)} {height * (1 - 0.96 * r / self.lr):.1f}" for i, r in enumerate(rates)
            ]
            lines += (
                f'<path d="M{"L".join(points)}" fill="none" stroke="var(--d2-{_TONES[name]})" '
                'stroke-width="2.5"/>'
            )
        return (
            f'<svg viewBox="0 0 {width} {height + 2}" width="{width}">'
            f'<path d="M0 {height}H{width}M{x(self.step)} 0V{height}" stroke="var(--d2-line)"/>'
            f"{lines}</svg>"
        )

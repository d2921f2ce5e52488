"""Schedules: the learning rate as a function of the step; and a test that shows which rates work.

A schedule takes the number of steps made so far, from 0, and returns what to multiply the learning
rate by. So PyTorch can use it: ``torch.optim.lr_scheduler.LambdaLR(optimizer, cosine(1000))``.
"""

import copy
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from d2lite.checks import SEED, checked, function, instance, integer, number, one_of, optional
from d2lite.data.dataset import Dataset, dataset, tensors
from d2lite.losses import Loss, classification
from d2lite.trial import augmented, of_batch, put_in_order, require_finite, trainable, try_out

Schedule = Callable[[int], float]
NESTEROV = partial(torch.optim.SGD, momentum=0.9, nesterov=True)


@checked(step_size=integer(at_least=1), gamma=number(above=0))
def step_decay(step_size: int, gamma: float = 0.1) -> Schedule:
    """Multiply by ``gamma`` after every ``step_size`` steps: ``StepLR``.

    Raises:
        ValueError: If ``step_size`` is not ≥ 1, or ``gamma`` not > 0.

    >>> [step_decay(2, gamma=0.5)(step) for step in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return lambda step: gamma ** (step // step_size)


@checked(total_steps=integer(at_least=1), end_factor=number(at_least=0, at_most=1))
def cosine(total_steps: int, end_factor: float = 0.0) -> Schedule:
    """Fall from 1 to ``end_factor`` along half a cosine, then stay: ``CosineAnnealingLR``.

    The end is reached after ``total_steps`` steps, so the last of them is still a little above it.
    There it stays, unlike PyTorch's, which rises again if ``scheduler.step()`` is called more often
    than ``T_max`` times.

    Raises:
        ValueError: If ``total_steps`` is not ≥ 1, or ``end_factor`` not from 0 to 1.

    From Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.

    >>> [round(cosine(4)(step), 2) for step in range(6)]
    [1.0, 0.85, 0.5, 0.15, 0.0, 0.0]
    """
    return lambda step: _cosine(1, end_factor, min(step / total_steps, 1))


@checked(
    total_steps=integer(at_least=1),
    pct_start=number(at_least=0, at_most=1),
    anneal_strategy=one_of("cos", "linear"),
    div_factor=number(at_least=1),
    final_div_factor=number(at_least=1),
)
def one_cycle(
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Rise from 1 / ``div_factor`` to 1, then fall to far below the start: ``OneCycleLR``.

    The peak is at step pct_start·total_steps − 1, which may lie between two steps. The end,
    1 / (div_factor·final_div_factor), is the last step, total_steps − 1. There it stays, unlike
    PyTorch's: if ``scheduler.step()`` is called ``total_steps`` times, once too often, that rises
    again (``"cos"``) or falls below 0 (``"linear"``), and the next call is an error. Rise and fall
    are each half a cosine (``"cos"``) or a line (``"linear"``).

    Raises:
        ValueError: If an argument is out of range.

    From Smith and Topin, "Super-convergence: very fast training of neural networks using large
    learning rates", 2019.

    >>> schedule = one_cycle(10, anneal_strategy="linear")
    >>> [round(schedule(step), 2) for step in range(10)]
    [0.04, 0.52, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]
    """
    curves = {"cos": _cosine, "linear": _line}
    curve, peak, last = curves[anneal_strategy], pct_start * total_steps - 1, total_steps - 1
    start, end = 1 / div_factor, 1 / (div_factor * final_div_factor)

    def schedule(step: int) -> float:
        step = min(step, last)
        if step <= peak:
            return curve(start, 1, step / peak if peak else 1)
        return curve(1, end, (step - peak) / (last - peak))

    return schedule


@checked(total_steps=integer(at_least=1), pct_start=number(at_least=0, at_most=1))
def triangular(total_steps: int, pct_start: float = 0.2) -> Schedule:
    """Rise to 1 over a share of the steps, then fall to 0, both in a line: what ``fit`` does.

    Neither the first step nor the last is at 0; after the last it stays there.

    Raises:
        ValueError: If ``total_steps`` is not ≥ 1, or ``pct_start`` not from 0 to 1.

    From Smith, "Cyclical learning rates for training neural networks", 2017, of which it is one
    cycle.

    >>> [round(triangular(8, pct_start=0.25)(step), 2) for step in range(9)]
    [0.5, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]
    """
    peak = max(1, round(pct_start * total_steps))
    fall = total_steps - peak + 1
    return lambda step: max(0.0, min((step + 1) / peak, (total_steps - step) / fall))


@checked(schedule=function, steps=integer(at_least=1), start_factor=number(0, at_most=1))
def warmup(schedule: Schedule, steps: int, start_factor: float = 1 / 3) -> Schedule:
    """Rise in a line for ``steps`` steps, as ``LinearLR``; then follow another schedule.

    The rise is from ``start_factor`` times the first value of that schedule to that value.

    Raises:
        ValueError: If ``steps`` is not ≥ 1, or ``start_factor`` not from 0 to 1.

    From Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.

    >>> [round(warmup(cosine(2), steps=4, start_factor=0)(step), 2) for step in range(7)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.0]
    """

    def warmed_up(step: int) -> float:
        if step < steps:
            return schedule(0) * _line(start_factor, 1, step / steps)
        return schedule(step - steps)

    return warmed_up


def _rises(lr_min: float, lr_max: float) -> None:
    if lr_min >= lr_max:
        raise ValueError(f"lr_max={lr_max}: must be > lr_min={lr_min}")


@checked(
    _rises,
    trainable,
    model=instance(nn.Module),
    train=dataset,
    lr_min=number(above=0),
    lr_max=number(above=0),
    steps=integer(at_least=2),
    batch_size=integer(at_least=1),
    loss=function,
    augment=optional(function),
    optimizer=function,
    seed=SEED,
)
def lr_range_test(
    model: nn.Module,
    train: Dataset,
    *,
    lr_min: float = 1e-5,
    lr_max: float = 10.0,
    steps: int = 100,
    batch_size: int = 128,
    loss: Loss = classification,
    augment: Callable[..., Any] | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = NESTEROV,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> tuple[list[float], list[float]]:
    """Train a copy of a model while the learning rate grows exponentially; record the loss.

    A good rate is where the loss falls fast, well below where it turns up. The test ends early when
    the loss diverges: its moving average is over 4 times the lowest so far, or it is not finite.
    Ctrl-C ends it too, and what it has measured is kept. The model itself is left as it was, and so
    are the global random numbers.

    Args:
        model: Maps images (N, C, H, W) to scores, or whatever ``loss`` makes of it. If it has lazy
            layers, they stay so.
        train: What to learn from, as for ``train.fit``; each epoch shuffles it.
        lr_min: Learning rate of the first step.
        lr_max: Learning rate of the last step.
        steps: How many steps, one mini-batch each.
        batch_size: Examples a step, at most; those of an epoch differ by one at most.
        loss: What to minimise, as for ``train.fit``.
        augment: Changes a batch before each step, as for ``train.fit``.
        optimizer: Makes the optimizer, from the parameters and ``lr``. Unless given, SGD with
            Nesterov's momentum 0.9, as in ``train.fit``.
        seed: Of the order, the augmentation, and what the model draws, as in dropout.
        device: Where to compute; a CUDA GPU if there is one, unless given.

    Returns:
        The learning rates, and the loss of each mini-batch before the step at that rate.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of range, ``train`` is empty or not finite, or does not fit
            the model; or the model has nothing to train.
        FloatingPointError: If the loss is not finite even at the first step.

    From Smith, "Cyclical learning rates for training neural networks", 2017.

    >>> from d2lite.data import fashion_mnist
    >>> train, test = fashion_mnist()
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    >>> lrs, losses = lr_range_test(model, train, lr_min=0.001, lr_max=0.1, steps=3)
    >>> [round(lr, 4) for lr in lrs]
    [0.001, 0.01, 0.1]
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, data = copy.deepcopy(model).to(device), [part.to(device) for part in tensors(train)]
    lrs = [lr_min * (lr_max / lr_min) ** (step / (steps - 1)) for step in range(steps)]
    silent = "TQDM_DISABLE" in os.environ  # which tqdm's bar for notebooks does not look up
    progress = tqdm(lrs, disable=silent)
    measured: list[tuple[float, float]] = []
    average = lowest = math.inf

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try_out(model, loss, {"train": train}, batch_size, device)
        put_in_order(model.train(), torch.contiguous_format)
        descent = optimizer(model.parameters(), lr=lr_min)
        torch.manual_seed(seed)
        try:
            for lr, chosen in zip(progress, _batches(len(data[0]), batch_size), strict=False):
                batch = augmented(augment, tuple(part[chosen] for part in data))
                value, _ = of_batch(loss, model, batch)
                if measured and not value.isfinite():
                    break
                require_finite(value, batch)
                average = 0.8 * average + 0.2 * value.item() if measured else value.item()
                lowest = min(lowest, average)
                measured.append((lr, value.item()))
                if average > 4 * lowest:
                    break
                descent.param_groups[0]["lr"] = lr
                descent.zero_grad()
                value.backward()
                descent.step()
        except KeyboardInterrupt:
            pass
    return [lr for lr, _ in measured], [loss for _, loss in measured]


def _batches(count: int, batch_size: int) -> Iterator[Tensor]:
    """Shuffle the indices below count and split them evenly, epoch after epoch."""
    while True:
        yield from torch.randperm(count).tensor_split(math.ceil(count / batch_size))


def _line(start: float, end: float, way: float) -> float:
    return start + (end - start) * way


def _cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * way)) / 2

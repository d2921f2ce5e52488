"""Training, in the open: one loop that fits a model to tensors in memory.

For example::

    history = fit(model, train, test, epochs=10)
    accuracy = evaluate(model, test)

Stochastic gradient descent with Nesterov's momentum, a learning rate that rises and then falls, and
weight decay on the weights alone. Unless asked for bfloat16, which is faster on processors made for
it, the loop computes in float32, so that it gives the same anywhere.
"""

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from d2lite.checks import (
    SEED,
    boolean,
    checked,
    function,
    instance,
    integer,
    number,
    optional,
    tensor,
)
from d2lite.data.dataset import Dataset, dataset, tensors
from d2lite.losses import Loss, classification
from d2lite.schedules import Schedule, triangular
from d2lite.trial import (
    as_classes,
    augmented,
    best,
    count_right,
    evaluating,
    in_order,
    of_batch,
    put_in_order,
    require_finite,
    trainable,
    try_out,
)

#: The share of the steps over which the learning rate rises.
WARM_UP = 0.2

#: The share of the last step that goes into the next.
MOMENTUM = 0.9


@dataclass(repr=False)
class History:
    """What ``fit`` saw: one entry for each epoch that came to its end.

    Attributes:
        loss: Mean training loss.
        train_accuracy: Share of training examples that were right when their turn came, 0 to 1;
            empty if the loss gives no scores.
        test_accuracy: Share of test examples that are right after the epoch; empty also without a
            test.
        lr: Learning rate of the epoch's last step.
        test_loss: Mean loss of the test examples after the epoch; empty without a test.
        seconds: Duration of the training, tests included.
        interrupted: Whether it was stopped before the last epoch.
    """

    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        """Make a table of the losses and, of a classifier, the accuracies."""
        columns = [("train", self.train_accuracy, "7.1%"), ("test", self.test_accuracy, "7.1%")]
        if self.test_loss and not self.test_accuracy:
            columns = [("test", self.test_loss, "7.3f")]
        columns = [("loss", self.loss, "7.3f"), *columns, ("lr", self.lr, "8.4f")]
        lines = ["epoch"] + [f"{epoch:5}" for epoch in range(1, len(self) + 1)]
        for name, values, form in columns:
            cells = [f"{value:{form}}" for value in values] or ["–"] * len(self)
            width = int(form[0])
            lines = [
                f"{line} {cell:>{width}}" for line, cell in zip(lines, [name, *cells], strict=True)
            ]
        return "\n".join(lines + ["interrupted"] * self.interrupted)


@checked(
    trainable,
    model=instance(nn.Module),
    train=dataset,
    test=optional(dataset),
    epochs=integer(at_least=1),
    lr=number(above=0),
    batch_size=integer(at_least=1),
    weight_decay=number(at_least=0),
    loss=function,
    augment=optional(function),
    schedule=optional(function),
    bfloat16=boolean,
    seed=SEED,
)
def fit(
    model: nn.Module,
    train: Dataset,
    test: Dataset | None = None,
    *,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 128,
    weight_decay: float = 5e-4,
    loss: Loss = classification,
    augment: Callable[..., Any] | None = None,
    schedule: Schedule | None = None,
    bfloat16: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> History:
    """Train a model by gradient descent; unless told otherwise, a classifier of images.

    Each epoch takes all examples once, in a new order, in batches of equal size (or one less).
    Ctrl-C stops it: the model keeps what it has learned, and the history says so.

    Args:
        model: Maps images (N, C, H, W) to scores (N, number of classes), or whatever ``loss`` makes
            of it. It is left in evaluation mode, and on the device where it was.
        train: What to learn from: ``LabelledImages``, a ``TensorDataset``, or tensors whose first
            axis is N, in a tuple or a list; or one such tensor.
        test: What to test on after each epoch.
        epochs: How many times to go through the training examples.
        lr: Learning rate, to which the schedule is a factor.
        batch_size: Examples a step, at most.
        weight_decay: Pull towards 0, on parameters of two or more dimensions: not on biases and
            the scales of normalization layers.
        loss: What to minimise: ``loss(model, *batch)`` gives a scalar; or a scalar and scores
            (N, C, …), and the history counts how many of the batch's last tensor, (N, …), they get
            right. ``lambda model, x: mse_loss(model(x), x)`` trains an autoencoder.
        augment: Changes a batch before each step: ``augment(*batch)`` gives another one, as do
            ``d2lite.data.augment.flip`` and torchvision's ``transforms.v2``.
        schedule: Factor of the learning rate at each step, from 0, as in ``d2lite.schedules``:
            ``triangular``, which rises over the first fifth of all steps and then falls, unless
            given.
        bfloat16: Whether to compute the loss in ``torch.autocast``, with 8 bits of precision where
            they will do. On a processor or GPU made for it training takes up to a third less time,
            on others longer. The weights stay float32.
        seed: Of the order, the augmentation, and what the model draws, as in dropout. Not of the
            initial weights: call ``torch.manual_seed`` before you make the model. The global random
            numbers go on afterwards as if nothing had been drawn. With one thread on a CPU, the
            same seed gives the same weights, bit for bit.
        device: Where to compute; a CUDA GPU if there is one, unless given.

    Returns:
        The loss and the accuracies, epoch by epoch.

    Raises:
        TypeError: If the model is not a module, the data are no tensors, or a setting is of the
            wrong type.
        ValueError: If a setting, or what the schedule gives, is out of range, there are no
            examples or some are not finite, or they do not fit the model.
        FloatingPointError: If the loss is no longer finite, which a lower ``lr`` prevents; or never
            was, which the message tells apart.

    >>> images, labels = torch.rand(8, 1, 2, 2), torch.arange(8) % 2
    >>> len(fit(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (images, labels), epochs=3))
    3
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    home = next(model.parameters()).device
    model.to(device).zero_grad()
    sets = {"train": train} if test is None else {"train": train, "test": test}
    memory_format = try_out(model, loss, sets, batch_size, device)
    data = [in_order(part.to(device), memory_format) for part in tensors(train)]
    tests = [part.to(device) for part in tensors(test)] if test is not None else []
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    N, batches = len(data[0]), math.ceil(len(data[0]) / batch_size)
    schedule = schedule or triangular(epochs * batches, WARM_UP)
    history = History()
    _keep_buffers()
    start = time.perf_counter()

    silent = "TQDM_DISABLE" in os.environ  # which tqdm's bar for notebooks does not look up
    progress = tqdm(total=epochs * N, unit="example", unit_scale=True, disable=silent)
    with progress, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            for epoch in range(epochs):
                model.train()
                losses, right = [], torch.zeros(2, dtype=torch.int64, device=device)
                order = torch.randperm(N).to(device)
                for number_of_batch, chosen in enumerate(order.tensor_split(batches)):
                    batch = augmented(augment, tuple(part[chosen] for part in data))
                    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                        value, scores = of_batch(loss, model, batch)
                    step = epoch * batches + number_of_batch
                    require_finite(value, batch, lr, step, batches)
                    value.backward()
                    step_lr = lr * _factor(schedule, step)
                    _descend(parameters, velocities, step_lr, weight_decay)
                    losses.append(value.detach())
                    if scores is not None:
                        right += count_right(scores, batch[-1])
                    progress.update(len(chosen))
                if test is not None:
                    test_loss, test_right = _test(model, tests, loss)
                    history.test_loss.append(test_loss)
                    history.test_accuracy += _accuracy(test_right)
                history.loss.append(torch.stack(losses).mean().item())
                history.train_accuracy += _accuracy(right)
                history.lr.append(step_lr)
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            put_in_order(model, torch.contiguous_format)
            model.eval().to(home).zero_grad()
    history.seconds = time.perf_counter() - start
    return history


@checked(model=instance(nn.Module), data=dataset)
def evaluate(model: nn.Module, data: Dataset) -> float:
    """Measure a classifier's accuracy: the share of examples, 0 to 1, whose class it predicts.

    Examples with a negative label, such as padding, do not count.

    >>> evaluate(nn.Identity(), (torch.eye(2), torch.tensor([0, 0])))
    0.5

    Raises:
        ValueError: If there are no examples, none counts, some are not finite, or the labels do not
            fit what the model gives.
        FloatingPointError: If a score is NaN.
    """
    parts = tensors(data)
    if len(parts) != 2:
        raise ValueError(f"data: tensors: {len(parts)}, must be 2, images and labels")
    if not bool((parts[1] >= 0).any()):
        raise ValueError("data: no label is ≥ 0, so that no example counts")
    classes = predict(model, parts[0])
    labels = as_classes("data", parts[1], classes.shape)
    return (classes == labels).sum().item() / (labels >= 0).sum().item()


@checked(
    model=instance(nn.Module), images=tensor(floating=False, empty=True), batch_size=integer(1)
)
@torch.no_grad()
def predict(model: nn.Module, images: Tensor, batch_size: int = 500) -> Tensor:
    """Predict the class of each image: the one with the highest score.

    The model computes where it is, in evaluation mode, and is left in the mode in which it was.

    Args:
        model: Maps images (N, C, H, W) to scores (N, number of classes).
        images: (N, C, H, W).
        batch_size: Images at a time; changes nothing but the memory needed.

    Returns:
        (N,), int64, on the images' device.

    Raises:
        ValueError: If the scores are not of two classes or more.
        FloatingPointError: If a score is NaN.

    >>> predict(nn.Flatten(), torch.tensor([[[[0.1, 0.7, 0.2]]]]))
    tensor([1])
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    with evaluating(model):
        classes = [best(model(batch.to(device))) for batch in images.split(batch_size)]
    return torch.cat(classes).to(images.device)


def _accuracy(right: Tensor) -> list[float]:
    """Divide what ``count_right`` counted; of nothing, there is none."""
    correct, count = right.tolist()
    return [correct / count] if count else []


@torch.no_grad()
def _test(model: nn.Module, data: Sequence[Tensor], loss: Loss) -> tuple[float, Tensor]:
    """Return the mean loss in evaluation mode, and what ``count_right`` counts."""
    model.eval()
    total, right = 0.0, torch.zeros(2, dtype=torch.int64, device=data[0].device)
    for batch in zip(*(part.split(500) for part in data), strict=True):
        value, scores = of_batch(loss, model, batch)
        total += len(batch[0]) * value.item()
        if scores is not None:
            best(scores)
            right += count_right(scores, batch[-1])
    return total / len(data[0]), right


def _factor(schedule: Schedule, step: int) -> float:
    factor = float(schedule(step))
    if not 0 <= factor < math.inf:
        raise ValueError(f"schedule: gives {factor} at step {step}, must be ≥ 0 and finite")
    return factor


@torch.no_grad()
def _descend(
    parameters: list[nn.Parameter], velocities: list[Tensor], lr: float, weight_decay: float
) -> None:
    """Take one step, as ``torch.optim.SGD(nesterov=True)`` does; that takes seconds to import."""
    for parameter, velocity in zip(parameters, velocities, strict=True):
        if parameter.grad is None:  # had no part in the loss
            continue
        gradient = parameter.grad.to_dense()  # that of an embedding may be sparse
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=weight_decay)
        velocity.mul_(MOMENTUM).add_(gradient)
        parameter.add_(gradient.add(velocity, alpha=MOMENTUM), alpha=-lr)
        parameter.grad = None


def _keep_buffers() -> None:
    """Let this process keep the memory of freed tensors, instead of asking for it at every step.

    glibc hands large buffers back to the system, which must then fill new ones with zeros: that
    takes about 1/8 of the time of training LeNet. Does nothing where the C library is another.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that every glibc takes

"""Training, in the open: one loop that fits a classifier to images in memory.

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
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from tqdm.auto import tqdm

from d2lite.data import LabelledImages
from d2lite.schedules import Schedule, triangular

#: The share of the steps over which the learning rate rises.
WARM_UP = 0.2

#: How much the loss of an auxiliary head counts (Szegedy et al., "Going deeper with convolutions").
AUXILIARY = 0.3


@dataclass(repr=False)
class History:
    """What ``fit`` saw: one entry for each epoch that came to its end.

    Attributes:
        loss: Mean training loss, label smoothing included.
        train_accuracy: Share of training images that were right when their turn came, 0 to 1.
        test_accuracy: Share of test images that are right after the epoch; empty without a test.
        lr: Learning rate of the epoch's last step.
        seconds: Duration of the training, tests included.
        interrupted: Whether it was stopped before the last epoch.
    """

    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        tests = [f"{accuracy:.1%}" for accuracy in self.test_accuracy] or ["–"] * len(self)
        rows = zip(self.loss, self.train_accuracy, tests, self.lr, strict=True)
        lines = ["epoch    loss   train    test       lr"] + [
            f"{epoch:5} {loss:7.3f} {train:7.1%} {test:>7} {lr:8.4f}"
            for epoch, (loss, train, test, lr) in enumerate(rows, start=1)
        ]
        return "\n".join(lines + ["interrupted"] * self.interrupted)


def fit(
    model: nn.Module,
    train: LabelledImages,
    test: LabelledImages | None = None,
    *,
    epochs: int,
    lr: float = 0.1,
    batch_size: int = 128,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    label_smoothing: float = 0.0,
    flip: bool = False,
    shift: int = 0,
    schedule: Schedule | None = None,
    bfloat16: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> History:
    """Train a classifier by gradient descent on the cross-entropy of its scores.

    Each epoch takes all images once, in a new order, in batches of equal size (or one less). Ctrl-C
    stops it: the model keeps what it has learned, and the history says so.

    Args:
        model: Maps images (N, C, H, W) to scores (N, number of classes); in training also to a
            tuple of scores, those of auxiliary heads last. It is left on ``device``, in evaluation
            mode.
        train: The images to learn from.
        test: Images to test on after each epoch.
        epochs: How many times to go through the training images.
        lr: Learning rate, to which the schedule is a factor.
        batch_size: Images a step, at most.
        momentum: Share of the last step that goes into the next (Nesterov's variant).
        weight_decay: Pull towards 0, on parameters of two or more dimensions: not on biases and
            the scales of normalization layers.
        label_smoothing: Share of the target that is spread over all classes.
        flip: Whether to mirror each image left to right with probability ½ whenever it is drawn.
        shift: Most pixels by which to move each image, up or down and left or right, whenever it is
            drawn; zeros come in.
        schedule: Factor of the learning rate at each step, from 0, as in ``d2lite.schedules``:
            ``triangular``, which rises over the first fifth of all steps and then falls, unless
            given.
        bfloat16: Whether to compute scores with 8 bits of precision. On a processor or GPU made for
            it training takes up to a third less time, on others longer. The weights stay float32.
        seed: Of the order, the flips and shifts, and what the model draws, as in dropout. Not of
            the initial weights: call ``torch.manual_seed`` before you make the model. The global
            random numbers go on afterwards as if nothing had been drawn. With one thread on a CPU,
            the same seed gives the same weights, bit for bit.
        device: Where to compute; a CUDA GPU if there is one, unless given.

    Returns:
        The loss and the accuracies, epoch by epoch.

    Raises:
        TypeError: If the model is not a module, the data are not ``LabelledImages``, or the
            schedule is no function.
        ValueError: If a setting, or what the schedule gives, is out of range, there are no images,
            or they do not fit the model.
        FloatingPointError: If the loss is no longer finite, which a lower ``lr`` prevents.

    >>> data = LabelledImages(torch.rand(8, 1, 2, 2), torch.arange(8) % 2, ("even", "odd"))
    >>> len(fit(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), data, epochs=3))
    3
    """
    _check_settings(epochs, lr, batch_size, momentum, weight_decay, label_smoothing, shift)
    if schedule is not None and not callable(schedule):
        raise TypeError(f"schedule: a {type(schedule).__name__}, must be a function of the step")
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: a {type(model).__name__}, must be a torch.nn.Module")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError("model: must have parameters that require a gradient")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model.to(device)
    _check_data("train", train, model, device)
    if test is not None:
        _check_data("test", test, model, device)

    _keep_buffers()
    model.zero_grad()
    model.to(memory_format=torch.channels_last)  # about 1/5 faster on a CPU
    all_images = train.images.to(device, memory_format=torch.channels_last)
    all_labels = train.labels.to(device)
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    batches = math.ceil(len(train) / batch_size)
    schedule = schedule or triangular(epochs * batches, WARM_UP)
    history = History()
    start = time.perf_counter()

    silent = "TQDM_DISABLE" in os.environ  # which tqdm's bar for notebooks does not look up
    progress = tqdm(total=epochs * len(train), unit="image", unit_scale=True, disable=silent)
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    with progress, torch.random.fork_rng(gpus):
        torch.manual_seed(seed)
        try:
            for epoch in range(epochs):
                model.train()
                losses, correct = [], torch.zeros((), dtype=torch.int64, device=device)
                order = torch.randperm(len(train)).to(device)
                for batch, indices in enumerate(order.tensor_split(batches)):
                    images, labels = all_images[indices], all_labels[indices]
                    if flip:
                        mirror = (torch.rand(len(images), 1, 1, 1) < 0.5).to(device)
                        images = torch.where(mirror, images.flip(3), images)
                    if shift:
                        images = _move(images, shift)
                    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                        output = model(images)
                    heads = output if isinstance(output, tuple) else (output,)
                    scores, *auxiliary = (head.float() if bfloat16 else head for head in heads)
                    loss = cross_entropy(scores, labels, label_smoothing=label_smoothing)
                    for other in auxiliary:
                        extra = cross_entropy(other, labels, label_smoothing=label_smoothing)
                        loss = loss + AUXILIARY * extra
                    loss.backward()
                    step_lr = lr * _factor(schedule, epoch * batches + batch)
                    _step(parameters, velocities, step_lr, momentum, weight_decay)
                    losses.append(loss.detach())
                    correct += (scores.argmax(1) == labels).sum()
                    progress.update(len(images))
                mean_loss = _finite_mean(losses, epoch, lr)
                if test is not None:
                    history.test_accuracy.append(evaluate(model, test))
                history.loss.append(mean_loss)
                history.train_accuracy.append(correct.item() / len(train))
                history.lr.append(step_lr)
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            model.to(memory_format=torch.contiguous_format).eval()
    history.seconds = time.perf_counter() - start
    return history


def evaluate(model: nn.Module, data: LabelledImages) -> float:
    """Measure a classifier's accuracy: the share of images, 0 to 1, whose class it predicts.

    >>> data = LabelledImages(torch.eye(2).reshape(2, 1, 1, 2), torch.tensor([0, 0]), ("a", "b"))
    >>> evaluate(nn.Flatten(), data)
    0.5

    Raises:
        ValueError: If there are no images.
    """
    if len(data) == 0:
        raise ValueError("data: no images, must be one at least")
    return (predict(model, data.images) == data.labels).sum().item() / len(data)


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

    >>> predict(nn.Flatten(), torch.tensor([[[[0.1, 0.7, 0.2]]]]))
    tensor([1])
    """
    device = next((parameter.device for parameter in model.parameters()), images.device)
    was_training = model.training
    model.eval()
    try:
        classes = [model(batch.to(device)).argmax(1) for batch in images.split(batch_size)]
    finally:
        model.train(was_training)
    return torch.cat(classes).to(images.device)


def _move(images: Tensor, most: int) -> Tensor:
    """Move each image by its own whole number of pixels, up to ``most``, along both axes."""
    N, _, H, W = images.shape
    down, right = torch.randint(0, 2 * most + 1, (2, N, 1), device=images.device)
    rows = (down + torch.arange(H, device=images.device))[:, :, None]
    columns = (right + torch.arange(W, device=images.device))[:, None]
    padded = pad(images, [most] * 4).permute(0, 2, 3, 1)
    moved = padded[torch.arange(N, device=images.device)[:, None, None], rows, columns]
    return moved.permute(0, 3, 1, 2)  # channels last in memory


def _factor(schedule: Schedule, step: int) -> float:
    factor = schedule(step)
    if not 0 <= factor < math.inf:
        raise ValueError(f"schedule: gives {factor} at step {step}, must be ≥ 0 and finite")
    return factor


@torch.no_grad()
def _step(
    parameters: list[nn.Parameter],
    velocities: list[Tensor],
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None:
    """Take one step, as ``torch.optim.SGD(nesterov=True)`` does; that takes seconds to import."""
    for parameter, velocity in zip(parameters, velocities, strict=True):
        if parameter.grad is None:  # had no part in the scores
            continue
        gradient = parameter.grad
        if parameter.ndim > 1:
            gradient = gradient.add(parameter, alpha=weight_decay)
        velocity.mul_(momentum).add_(gradient)
        parameter.add_(gradient.add(velocity, alpha=momentum), alpha=-lr)
        parameter.grad = None


def _finite_mean(losses: list[Tensor], epoch: int, lr: float) -> float:
    """Average the losses of an epoch; raise an error that says where one is infinite or NaN."""
    losses_of_epoch = torch.stack(losses)
    for step in (~losses_of_epoch.isfinite()).nonzero()[:1, 0].tolist():
        raise FloatingPointError(
            f"lr={lr}: the loss is {losses[step].item()} in epoch {epoch + 1}, step {step + 1}; "
            "make the model anew and take a lower lr"
        )
    return losses_of_epoch.mean().item()


def _keep_buffers() -> None:
    """Let this process keep the memory of freed tensors, instead of asking for it at every step.

    glibc hands large buffers back to the system, which must then fill new ones with zeros: that
    takes about 1/8 of the time of training LeNet. Does nothing where the C library is another.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
        libc.mallopt(M_TRIM_THRESHOLD, 2**30)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)  # the most that every glibc takes


def _check_settings(
    epochs: int,
    lr: float,
    batch_size: int,
    momentum: float,
    weight_decay: float,
    label_smoothing: float,
    shift: int,
) -> None:
    if not isinstance(shift, int) or shift < 0:
        raise ValueError(f"shift={shift!r}: must be a whole number ≥ 0")
    for name, count in {"epochs": epochs, "batch_size": batch_size}.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name}={count!r}: must be a whole number ≥ 1")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr={lr}: must be > 0 and finite")
    if not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay={weight_decay}: must be ≥ 0 and finite")
    for name, share in {"momentum": momentum, "label_smoothing": label_smoothing}.items():
        if not 0 <= share < 1:
            raise ValueError(f"{name}={share}: must be ≥ 0 and < 1")


def _check_data(name: str, data: LabelledImages, model: nn.Module, device: torch.device) -> None:
    """Try the model on the first image, so that what does not fit is said at once."""
    if not isinstance(data, LabelledImages):
        raise TypeError(f"{name}: a {type(data).__name__}, must be LabelledImages")
    if len(data) == 0:
        raise ValueError(f"{name}: no images, must be one at least")
    shape = tuple(data.images.shape[1:])
    model.eval()
    try:
        with torch.no_grad():
            scores = model(data.images[:1].to(device))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{name}: the model fails on an image {shape}: {error}") from error
    if scores.shape != (1, len(data.classes)):
        raise ValueError(
            f"model: gives {tuple(scores.shape)} for one image of {name}, must give "
            f"(1, {len(data.classes)}), a score for each class"
        )

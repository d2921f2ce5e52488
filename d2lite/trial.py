"""A trial of a model on a batch: does it take the data, and what made a loss infinite?"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from d2lite.checks import given
from d2lite.data.dataset import Dataset, tensors
from d2lite.data.labelled_images import LabelledImages
from d2lite.losses import Loss, classification


def of_batch(loss: Loss, model: nn.Module, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Compute the loss of a batch, and the scores or, if the loss gives none, None.

    Raises:
        ValueError: If the model fails on a single example, as batch normalization may.

    >>> loss, scores = of_batch(lambda model, x: model(x).mean(), nn.ReLU(), [torch.ones(3)])
    >>> loss, scores
    (tensor(1.), None)
    """
    try:
        result = loss(model, *batch)
    except (RuntimeError, ValueError) as error:
        if len(batch[0]) > 1:
            raise
        raise ValueError(f"a batch of one example, on which the model fails: {error}") from error
    return result if isinstance(result, tuple) else (result, None)


def require_finite(
    value: Tensor, batch: Sequence[Tensor], lr: float = 0.0, step: int = 0, batches: int = 1
) -> None:
    """Raise an error that says what made a loss infinite or NaN: the batch, the model or the rate.

    Args:
        value: The loss of the batch.
        batch: What it was computed of.
        lr: Learning rate, to which the schedule is a factor.
        step: The number of steps before.
        batches: Steps an epoch.

    Raises:
        FloatingPointError: If the loss is not finite.

    >>> require_finite(torch.tensor(torch.inf), [torch.ones(3)], lr=0.1, step=12, batches=10)
    ... # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FloatingPointError: lr=0.1: the loss is inf in epoch 2, step 3; make the model anew and take...
    """
    if value.isfinite():
        return
    found = f"the loss is {value.item()} in epoch {step // batches + 1}, step {step % batches + 1}"
    if not batch[-1].is_floating_point() and bool((batch[-1] < 0).all()):
        raise FloatingPointError(
            f"labels: {found}: all labels of the batch are negative, so that none counts"
        )
    if not all(part.isfinite().all() for part in batch if part.is_floating_point()):
        raise FloatingPointError(f"augment: {found}; it makes numbers that are not finite")
    if step == 0:
        raise FloatingPointError(
            f"model: {found}, before any step, so that the rate is not to blame; look at the loss, "
            "at how the weights start and how large the data are"
        )
    raise FloatingPointError(f"lr={lr}: {found}; make the model anew and take a lower lr")


def trainable(model: nn.Module) -> None:
    """Require that there is something to train.

    >>> trainable(nn.ReLU())
    Traceback (most recent call last):
    ValueError: model: must have parameters that require a gradient
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model: must have parameters that require a gradient")


def augmented(augment: Callable[..., Any] | None, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Change a batch, if asked.

    >>> augmented(lambda x: x + 1, (torch.zeros(2),))
    (tensor([1., 1.]),)
    """
    changed = augment(*batch) if augment else batch
    parts = (changed,) if isinstance(changed, Tensor) else changed
    if not isinstance(parts, (tuple, list)) or not all(isinstance(part, Tensor) for part in parts):
        raise TypeError(f"augment: gives {given(changed)[1:]}, must give the tensors of a batch")
    return tuple(parts)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own.

    >>> model = nn.Dropout()
    >>> with evaluating(model):
    ...     print(model.training)
    False
    >>> model.training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def count_right(scores: Tensor, labels: Tensor) -> Tensor:
    """Count the examples that are right, and all but those whose label is negative: ignored.

    >>> count_right(torch.eye(3), torch.tensor([0, 0, -100]))
    tensor([1, 2])
    """
    classes = scores.argmax(1)
    labels = as_classes("augment", labels, classes.shape)
    return torch.stack([(classes == labels).sum(), (labels >= 0).sum()])


def try_out(
    model: nn.Module, loss: Loss, sets: dict[str, Dataset], batch_size: int, device: torch.device
) -> torch.memory_format:
    """Try a model on a batch of each data set, so that what does not fit is said at once.

    The model is left in evaluation mode; lazy layers have their weights.

    Returns:
        How images should lie in memory: channels last, about 1/5 faster on a CPU; or, if the model
        fails on these, as it may if it calls ``view``, in PyTorch's usual order.

    Raises:
        ValueError: If the model or the loss fails on a batch, or a weight is not finite.

    >>> try_out(nn.ReLU(), lambda model, x: model(x).mean(), {"x": torch.ones(3, 2)}, 2, "cpu")
    torch.channels_last
    """
    model.eval()
    with suppress(ValueError):
        _try(model, loss, sets, batch_size, device, torch.channels_last)
        return torch.channels_last
    _try(model, loss, sets, batch_size, device, torch.contiguous_format)
    return torch.contiguous_format


@torch.no_grad()
def _try(
    model: nn.Module,
    loss: Loss,
    sets: dict[str, Dataset],
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format,
) -> None:
    put_in_order(model, memory_format)
    for name, data in sets.items():
        parts = [part[:batch_size].to(device) for part in tensors(data)]
        try:
            value, scores = of_batch(loss, model, [in_order(part, memory_format) for part in parts])
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            what = ", ".join(given(part)[1:] for part in parts)
            hint = "" if loss is classification else "; the loss is called as loss(model, *batch)"
            raise ValueError(f"{name}: the model fails on a batch {what}: {error}{hint}") from error
        if not isinstance(value, Tensor) or value.ndim:
            raise ValueError(f"loss: gives {given(value)[1:]}, must give a scalar tensor")
        if scores is not None:
            _check_scores(name, data, scores)
    put_in_order(model, memory_format)  # lazy layers have weights now
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"model: {name} is not finite; make the model anew")


def require_scores(scores: Any) -> None:
    """Require scores (N, C, …) of two classes or more: of one alone, it would always be the best.

    >>> require_scores(torch.zeros(8, 1))
    Traceback (most recent call last):
    ValueError: model: its scores are float32 (8, 1), must be (N, C, …), of C ≥ 2 classes
    """
    if not isinstance(scores, Tensor) or scores.ndim < 2 or scores.shape[1] < 2:
        raise ValueError(
            f"model: its scores are {given(scores)[1:]}, must be (N, C, …), of C ≥ 2 classes"
        )


def best(scores: Tensor) -> Tensor:
    """Return the class with the highest score, (N, C, …) to (N, …).

    >>> best(torch.tensor([[0.1, 0.7, 0.2]]))
    tensor([1])
    """
    require_scores(scores)
    if scores.isnan().any():
        raise FloatingPointError("model: a score is NaN, so that no class is the best")
    return scores.argmax(1)


def as_classes(name: str, labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Read labels (N, …), or shares of the classes (N, C, …) such as mixup makes.

    >>> as_classes("data", torch.eye(2), (2,))
    tensor([0, 1])
    """
    classes = labels
    if labels.is_floating_point() and labels.ndim == len(shape) + 1:
        classes = labels.argmax(1)
    if classes.shape != shape:
        raise ValueError(
            f"{name}: labels {given(labels)[1:]}, must be {tuple(shape)}, as what is predicted"
        )
    return classes


def _check_scores(name: str, data: Dataset, scores: Tensor) -> None:
    labels = tensors(data)[-1]
    require_scores(scores)
    as_classes(name, labels[: len(scores)], scores[:, 0].shape)
    if isinstance(data, LabelledImages):
        N, C = len(scores), len(data.classes)
        if scores.shape != (N, C):
            raise ValueError(
                f"model: gives {tuple(scores.shape)} for {N} images of {name}, must give "
                f"({N}, {C}), a score for each class"
            )
    elif not labels.is_floating_point() and labels.max() >= scores.shape[1]:
        raise ValueError(
            f"{name}: labels up to {labels.max()}, but the model gives {scores.shape[1]} scores"
        )


def put_in_order(model: nn.Module, memory_format: torch.memory_format) -> None:
    """Order the kernels (C_out, C_in, kH, kW) of a model; ``model.to`` fails on those of 5 axes."""
    for weights in (*model.parameters(), *model.buffers()):
        if not is_lazy(weights):
            weights.data = in_order(weights.data, memory_format)


def in_order(part: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Order images (N, C, H, W) in memory; leave all else."""
    return part.to(memory_format=memory_format) if part.ndim == 4 else part

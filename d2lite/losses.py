"""Losses: how wrong an output is, as one number to minimise; and accuracy, to report.

N examples, C classes. Logits are a network's raw outputs, any real numbers; ``softmax`` turns them
into probabilities.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import one_hot

from d2lite.checks import checked, given, number, tensor

#: Of a model and a batch: a scalar, or a scalar and the scores that ``fit`` counts the right of.
Loss = Callable[..., Tensor | tuple[Tensor, Tensor]]


def _classes(labels: Any) -> None:
    tensor("(N,)", floating=False)(labels)
    if labels.dtype != torch.int64:
        raise TypeError("must be int64")


def _labels_fit(logits: Tensor, labels: Tensor) -> None:
    N, C = logits.shape
    if len(labels) != N:
        raise ValueError(f"labels{given(labels)}: must be ({N},)")
    for label in (labels.min().item(), labels.max().item()):
        if not 0 <= label < C:
            raise ValueError(f"labels: {label} is among them, must be ≥ 0 and ≤ {C - 1}")


def _no_nan(logits: Tensor) -> None:
    if logits.isnan().any():
        raise ValueError("logits: NaN is among them, which is neither right nor wrong")


def _same_shape(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        shape = tuple(prediction.shape)
        raise ValueError(f"target{given(target)}: must be {shape} as the prediction")


def softmax(logits: Tensor, dim: int = -1) -> Tensor:
    """Turn logits into probabilities: exp(zᵢ) / Σⱼ exp(zⱼ), equal to ``torch.softmax``.

    To subtract the same number from all logits changes nothing. With the largest subtracted, no
    exponential is above 1, so none overflows.

    Args:
        logits: Any shape; ``dim`` is the axis of the classes.
        dim: The axis along which the probabilities sum to 1.

    From Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.

    >>> softmax(torch.tensor([1000.0, 1000.0]))
    tensor([0.5000, 0.5000])
    """
    exp = torch.exp(logits - torch.amax(logits, dim, keepdim=True))
    return exp / exp.sum(dim, keepdim=True)


def log_softmax(logits: Tensor, dim: int = -1) -> Tensor:
    """Compute log(softmax): zᵢ − log Σⱼ exp(zⱼ), equal to ``torch.log_softmax``.

    In one go, it stays finite where the softmax rounds to 0 and its logarithm would be −∞.

    Args:
        logits: Any shape; ``dim`` is the axis of the classes.
        dim: The axis along which the probabilities sum to 1.

    >>> log_softmax(torch.tensor([1000.0, 0.0]))
    tensor([    0., -1000.])
    """
    shifted = logits - torch.amax(logits, dim, keepdim=True)
    return shifted - torch.log(torch.exp(shifted).sum(dim, keepdim=True))


@checked(_same_shape, prediction=tensor(empty=True), target=tensor(floating=False, empty=True))
def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Average the squared error over all elements of two tensors of one shape, whichever it is.

    Equal to ``torch.nn.functional.mse_loss``.

    Raises:
        TypeError: If either is not a tensor, or the prediction not floating-point.
        ValueError: If the shapes differ: (N, 1) against (N,) would silently make (N, N).

    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    return ((prediction - target) ** 2).mean()


@checked(
    _labels_fit, logits=tensor("(N, C)"), labels=_classes, label_smoothing=number(0, at_most=1)
)
def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Average −log p(right class) over the batch, equal to ``torch.nn.functional.cross_entropy``.

    With label smoothing ε, the target is no longer 1 for the right class and 0 for the others:
    ε of it is shared out evenly over all C classes.

    Args:
        logits: (N, C).
        labels: (N,) int64, the right classes, from 0 to C − 1.
        label_smoothing: ε, from 0 to 1.

    Returns:
        A scalar, in nats: 0 if certain and right, log C if all classes get the same probability.

    Raises:
        TypeError: If either is not a tensor, the logits not floating-point or the labels not int64.
        ValueError: If a shape does not fit, a label or ε is out of range, or the batch is empty.

    Label smoothing is from Szegedy et al., "Rethinking the Inception architecture for computer
    vision", 2016.

    >>> cross_entropy(torch.zeros(1, 10), torch.tensor([3]))  # log 10
    tensor(2.3026)
    """
    log_p = log_softmax(logits)
    loss = -log_p.gather(1, labels[:, None])[:, 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(dim=1)
    return loss.mean()


@checked(
    _labels_fit, logits=tensor("(N, C)"), labels=_classes, label_smoothing=number(0, at_most=1)
)
def cross_entropy_grad(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Differentiate ``cross_entropy`` with respect to the logits: (softmax − target) / N.

    The arguments and errors are those of ``cross_entropy``. Returns (N, C).

    >>> cross_entropy_grad(torch.zeros(1, 2), torch.tensor([0]))
    tensor([[-0.5000,  0.5000]])
    """
    N, C = logits.shape
    target = (1 - label_smoothing) * one_hot(labels, C).to(logits) + label_smoothing / C
    return (softmax(logits) - target) / N


@checked(_labels_fit, _no_nan, logits=tensor("(N, C)"), labels=_classes)
def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the fraction of examples whose largest logit is that of the right class.

    The arguments and errors are those of ``cross_entropy``; NaN among the logits is a ValueError.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    return (logits.argmax(dim=1) == labels).sum().item() / len(labels)


def classification(
    model: nn.Module, images: Tensor, labels: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Compute what ``train.fit`` minimises unless told otherwise: a classifier's cross-entropy.

    With ``functools.partial(classification, label_smoothing=0.1)``, it smooths.

    Args:
        model: From images to scores (N, C), or (N, C, …) with labels (N, …).
        images: (N, …).
        labels: (N,) int64, or as ``torch.nn.functional.cross_entropy`` takes them.
        label_smoothing: The share of the target that is spread over all classes, from 0 to 1.

    Returns:
        The loss, a scalar, and the scores.

    >>> loss, scores = classification(nn.Flatten(), torch.zeros(1, 10), torch.tensor([3]))
    >>> loss, scores.shape
    (tensor(2.3026), torch.Size([1, 10]))
    """
    scores = model(images)
    return F.cross_entropy(scores, labels, label_smoothing=label_smoothing), scores

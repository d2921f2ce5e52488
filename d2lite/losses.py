"""Losses: how wrong an output is, as one number to minimise; and accuracy, to report.

N examples, C classes. Logits are a network's raw outputs, any real numbers; ``softmax`` turns them
into probabilities.
"""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


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


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Average the squared error over all elements of two tensors of one shape, whichever it is.

    Equal to ``torch.nn.functional.mse_loss``.

    Raises:
        TypeError: If either is not a tensor, or the prediction not floating-point.
        ValueError: If the shapes differ: (N, 1) against (N,) would silently make (N, N).

    >>> mse(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)
    """
    _check_tensors(prediction=prediction, target=target)
    if not prediction.is_floating_point():
        raise TypeError(f"prediction: {prediction.dtype}, must be floating-point")
    if prediction.shape != target.shape:
        raise ValueError(
            f"target: shape {tuple(target.shape)}, must be {tuple(prediction.shape)} "
            "as the prediction"
        )
    return ((prediction - target) ** 2).mean()


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
    _check(logits, labels, label_smoothing)
    log_p = log_softmax(logits)
    loss = -log_p.gather(1, labels[:, None])[:, 0]
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_p.mean(dim=1)
    return loss.mean()


def cross_entropy_grad(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Differentiate ``cross_entropy`` with respect to the logits: (softmax − target) / N.

    The arguments and errors are those of ``cross_entropy``. Returns (N, C).

    >>> cross_entropy_grad(torch.zeros(1, 2), torch.tensor([0]))
    tensor([[-0.5000,  0.5000]])
    """
    _check(logits, labels, label_smoothing)
    N, C = logits.shape
    target = (1 - label_smoothing) * one_hot(labels, C).to(logits) + label_smoothing / C
    return (softmax(logits) - target) / N


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the fraction of examples whose largest logit is that of the right class.

    The arguments and errors are those of ``cross_entropy``.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    _check(logits, labels)
    return (logits.argmax(dim=1) == labels).sum().item() / len(labels)


def _check(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> None:
    """Raise an error that says which argument does not fit, and why."""
    _check_tensors(logits=logits, labels=labels)
    if not logits.is_floating_point():
        raise TypeError(f"logits: {logits.dtype}, must be floating-point")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: {labels.dtype}, must be torch.int64")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits: shape {tuple(logits.shape)}, must be (N, C), not empty")
    N, C = logits.shape
    if labels.shape != (N,):
        raise ValueError(f"labels: shape {tuple(labels.shape)}, must be ({N},)")
    for label in (labels.min().item(), labels.max().item()):
        if not 0 <= label < C:
            raise ValueError(f"labels: {label} is among them, must be ≥ 0 and ≤ {C - 1}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing}: must be ≥ 0 and ≤ 1")


def _check_tensors(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: a {type(value).__name__}, must be a tensor")

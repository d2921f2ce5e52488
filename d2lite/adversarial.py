"""Adversarial examples: images moved a little, by the gradient, until a network is wrong."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from d2lite.checks import boolean, checked, instance, integer, number, optional, tensor


def _fits(images: Tensor, labels: Tensor) -> None:
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise ValueError(f"labels: must be {len(images)} whole numbers, one an image")


def _pixels(images: Any) -> None:
    tensor("(N, …)")(images)
    if not (images.min() > -1e-3 and images.max() < 1.001):  # but for rounding; NaN is not, either
        raise ValueError("must be from 0 to 1; a network that wants others can scale them itself")


@checked(_fits, model=instance(nn.Module), images=tensor("(N, …)"), labels=instance(Tensor))
def gradient_of(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Differentiate the cross-entropy with respect to each pixel: (N, …), as the images.

    The model answers in evaluation mode; then modes and gradients are what they were before.

    Args:
        model: Maps images (N, …) to scores (N, number of classes).
        images: Of any shape, the first axis N.
        labels: (N,), int64.

    Raises:
        ValueError: If the labels are not one whole number an image.

    >>> gradient_of(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).shape
    torch.Size([4, 2])
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.enable_grad():
            x = images.detach().requires_grad_()
            loss = F.cross_entropy(model(x), labels, reduction="sum")
            return torch.autograd.grad(loss, x)[0]
    finally:
        for module, training in modes:
            module.training = training


@checked(images=_pixels, eps=number(at_least=0))
def fgsm(model: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    """Move each pixel by eps in the direction that raises the loss: (N, …), within [0, 1].

    Args:
        model: Maps images (N, …) to scores (N, number of classes).
        images: From 0 to 1.
        labels: (N,), int64.
        eps: The budget: by how much a pixel may change.

    Raises:
        ValueError: If ``eps`` is negative, a pixel is not from 0 to 1, or the labels do not fit the
            images.

    From Goodfellow, Shlens and Szegedy, "Explaining and harnessing adversarial examples", 2015.

    >>> fgsm(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0]), eps=0.1).shape
    torch.Size([4, 2])
    """
    moved = images + eps * gradient_of(model, images, labels).sign()
    return moved.clamp(0, 1)


@checked(
    images=_pixels, eps=number(at_least=0), steps=integer(at_least=1),
    alpha=optional(number(above=0)), targeted=boolean,
)  # fmt: skip
def pgd(
    model: nn.Module, images: Tensor, labels: Tensor, eps: float, steps: int = 10,
    alpha: float | None = None, targeted: bool = False,
) -> Tensor:  # fmt: skip
    """Take many small steps from a random start, each projected into the budget and [0, 1].

    Args:
        model: Maps images (N, …) to scores (N, number of classes).
        images: From 0 to 1.
        labels: (N,), int64: what is true, or for ``targeted`` what the model shall say.
        eps: The budget: by how much a pixel may change.
        steps: Gradients to compute.
        alpha: The size of a step; 2.5 eps / steps unless given.
        targeted: Whether to lower the loss of ``labels`` instead of raising it.

    Raises:
        ValueError: If a setting or a pixel is out of range, or the labels do not fit the images.

    From Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018.

    >>> pgd(nn.Linear(2, 3), torch.rand(4, 2), torch.tensor([0, 1, 2, 0]), eps=0.1).shape
    torch.Size([4, 2])
    """
    step = (alpha or 2.5 * eps / steps) * (-1 if targeted else 1)
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    x = low + (high - low) * torch.rand_like(images)
    for _ in range(steps):
        x = x + step * gradient_of(model, x, labels).sign()
        x = x.clamp(low, high)
    return x

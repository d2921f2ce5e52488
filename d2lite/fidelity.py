"""Fidelity: how good made samples are, and how much of the real ones they cover.

All of it compares two sets of features, (N, D), such as a classifier's last hidden layer gives:
whatever the features do not see, no number here does.
"""

from typing import Any

import torch
from torch import Tensor

from d2lite.checks import checked, given, integer, tensor


def _features(value: Any) -> None:
    tensor("(N, D)")(value)
    if not value.isfinite().all():
        raise ValueError("must be finite")


def _alike(a: Tensor, b: Tensor) -> None:
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"b{given(b)}: must have the columns of a{given(a)}, and two rows or more")


@checked(_alike, a=_features, b=_features)
def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Compare the means and covariances of two sets of features: 0 if both are equal.

    |μ − ν|² + tr(A) + tr(B) − 2 tr((AB)^½), for means μ, ν and covariances A, B: the squared
    2-Wasserstein distance of the Gaussians that have them. With features of Inception v3 it is the
    Fréchet Inception distance, FID. Of a few samples it is too large. By rounding, equal sets may
    be a millionth below 0.

    Args:
        a: (N, D).
        b: (M, D).

    Raises:
        ValueError: If D differs, a set has fewer than two rows, or a number is not finite.

    From Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs trained by a two time-scale
    update rule converge to a local Nash equilibrium", 2017.

    >>> a = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> round(frechet_distance(a, a + 3), 6)  # equal covariances, means 3 apart on both axes
    18.0
    """
    a, b = a.double(), b.double()
    gap = a.mean(0) - b.mean(0)
    A, B = (torch.atleast_2d(x.T.cov()) for x in (a, b))
    roots = torch.linalg.eigvals(A @ B).real.clamp(min=0).sqrt()
    return (gap @ gap + A.trace() + B.trace() - 2 * roots.sum()).item()


def _enough(real: Tensor, made: Tensor, k: int) -> None:
    if real.shape[1] != made.shape[1]:
        raise ValueError(f"made{given(made)}: must have as many columns as real{given(real)}")
    if min(len(real), len(made)) <= k:
        raise ValueError(f"k={k}: must be less than the number of samples")


@checked(_enough, real=_features, made=_features, k=integer(at_least=1))
def precision_and_recall(real: Tensor, made: Tensor, k: int = 3) -> tuple[float, float]:
    """Measure which share of the made lies among the real, and of the real among the made.

    Each sample has a ball around it that reaches to its k-th nearest neighbor in its own set. A
    sample of the other set lies among them if any ball contains it.

    Args:
        real: (N, D).
        made: (M, D).
        k: Which neighbor.

    Returns:
        Precision and recall, each 0 to 1.

    Raises:
        ValueError: If D differs, a set has no k-th neighbor, or a number is not finite.

    From Kynkäänniemi, Karras, Laine, Lehtinen and Aila, "Improved precision and recall metric for
    assessing generative models", 2019.

    >>> real, made = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([[0.5], [0.6]])
    >>> precision, recall = precision_and_recall(real, made, k=1)
    >>> precision, round(recall, 2)
    (1.0, 0.0)
    """
    return _share_among(made, real, k), _share_among(real, made, k)


def _share_among(points: Tensor, others: Tensor, k: int) -> float:
    exact = "donot_use_mm_for_euclid_dist"
    own = torch.cdist(others, others, compute_mode=exact)
    radius = own.kthvalue(k + 1).values  # the nearest is the sample itself
    near = torch.cdist(points, others, compute_mode=exact) <= radius
    return near.any(1).double().mean().item()

"""d2lite.fidelity: Fréchet's distance by another formula, and neighbors counted one by one."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.fidelity import frechet_distance, precision_and_recall


def features(seed: int, count: int, columns: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    mix = torch.randn(columns, columns, generator=source)
    return torch.randn(count, columns, generator=source) @ mix + seed % 3


def root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric square root of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def by_symmetric_roots(a: torch.Tensor, b: torch.Tensor) -> float:
    """tr((AB)^½) as tr((A^½ B A^½)^½), all of whose matrices are symmetric."""
    x, y = a.double().numpy(), b.double().numpy()
    A, B = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    middle = np.trace(root(root(A) @ B @ root(A)))
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * middle


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 99), st.integers(0, 99), st.integers(2, 12), st.integers(3, 60))
def test_it_is_that_of_symmetric_roots_also_with_fewer_rows_than_columns(one, other, D, N):
    a, b = features(one, N, D), features(other, N + 5, D)
    wanted = by_symmetric_roots(a, b)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-5, abs=1e-4)
    assert frechet_distance(b, a) == pytest.approx(wanted, rel=1e-5, abs=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)


def test_of_one_column_it_is_the_difference_of_means_and_of_deviations():
    a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [7.0]])
    deviations = math.sqrt(2), math.sqrt(18)
    assert frechet_distance(a, b) == pytest.approx(9 + (deviations[1] - deviations[0]) ** 2)


def test_a_turn_of_both_changes_nothing():
    a, b = features(1, 40, 5), features(2, 40, 5)
    turn = torch.linalg.qr(torch.randn(5, 5)).Q
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-3)


def by_hand(points: list, others: list, k: int) -> float:
    inside = 0
    for p in points:
        for o in others:
            radius = sorted(math.dist(o, q) for q in others)[k]
            if math.dist(p, o) <= radius:
                inside += 1
                break
    return inside / len(points)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.integers(5, 20), st.integers(5, 20), st.integers(1, 4))
def test_neighbors_are_counted_as_by_hand(seed, N, M, k):
    real = torch.rand(N, 2, generator=torch.Generator().manual_seed(seed)).double()
    made = torch.rand(M, 2, generator=torch.Generator().manual_seed(seed + 1)).double() + 0.3
    found = precision_and_recall(real, made, k)
    one, other = real.tolist(), made.tolist()
    assert found == pytest.approx((by_hand(other, one, k), by_hand(one, other, k)))


def test_a_collapsed_set_is_precise_and_covers_little():
    real = features(0, 200, 4)
    made = real[:1] + 0.001 * torch.randn(100, 4)
    precision, recall = precision_and_recall(real, made)
    assert precision == 1 and recall <= 0.01
    assert precision_and_recall(real, real.clone()) == (1, 1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 4), "must have the columns"),
        (torch.zeros(1, 2), torch.zeros(3, 2), "two rows or more"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "finite"),
        (torch.zeros(3), torch.zeros(3, 2), r"must be \(N, D\)"),
    ],
)
def test_what_has_no_distance_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def test_too_few_for_neighbors_is_refused():
    with pytest.raises(ValueError, match="k=3"):
        precision_and_recall(torch.rand(3, 2), torch.rand(9, 2))
    with pytest.raises(ValueError, match="columns"):
        precision_and_recall(torch.rand(9, 2), torch.rand(9, 3))
    for bad in (torch.nan, torch.inf):  # no ball would contain it: a share of 0
        with pytest.raises(ValueError, match=r"made=.*: must be finite"):
            precision_and_recall(torch.rand(9, 2), torch.full((9, 2), bad))

"""d2lite.rank_correlation: ranks by counting, ties shared, whatever the order that they come in."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from d2lite.rank_correlation import rank_correlation, ranks

lists = st.lists(st.integers(-3, 3), min_size=2, max_size=20)


@given(lists)
def test_equal_numbers_share_the_mean_of_their_places(numbers):
    ordered = sorted(numbers)
    places = {n: [i for i, m in enumerate(ordered, start=1) if m == n] for n in numbers}
    expected = [sum(places[n]) / len(places[n]) for n in numbers]
    assert ranks(torch.tensor(numbers)).tolist() == expected


@settings(deadline=None)
@given(lists, st.randoms())
def test_the_order_of_pairs_does_not_matter(numbers, random):
    a, b = torch.tensor(numbers), torch.tensor(random.choices(numbers, k=len(numbers)))
    places = torch.tensor(random.sample(range(len(numbers)), len(numbers)))
    expected = pytest.approx(rank_correlation(a, b), nan_ok=True)
    assert rank_correlation(a[places], b[places]) == expected
    assert rank_correlation(-a, b) == pytest.approx(-rank_correlation(a, b), nan_ok=True)


def test_values():
    a = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert rank_correlation(a, a**3) == pytest.approx(1)
    assert rank_correlation(a, torch.tensor([1, 3, 2, 4])) == pytest.approx(4.5 / math.sqrt(22.5))
    assert math.isnan(rank_correlation(a, torch.ones(4)))
    for wrong in (a[:3], torch.tensor([1.0, 2.0, 3.0, math.nan])):
        with pytest.raises(ValueError, match=r"must be as long as|NaN is among"):
            rank_correlation(a, wrong)

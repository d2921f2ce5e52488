"""d2lite.dropout draws PyTorch's masks, drops the right fraction and keeps the mean."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.dropout import Dropout, dropout


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=4),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 2**31),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_value_and_gradient_equal_torchs_from_the_same_seed(shape, p, training, seed, dtype):
    torch.manual_seed(seed)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    results = []
    for function in (dropout, F.dropout):
        torch.manual_seed(seed)
        y = function(x, p, training)
        results.append((y, torch.autograd.grad(y.sum(), x)[0]))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == dtype
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_the_fraction_dropped_and_the_mean(p, seed):
    """Both lie within five standard deviations of a binomial's of what they should be."""
    n = 100_000
    y = dropout(torch.ones(n), p, generator=torch.Generator().manual_seed(seed))
    assert set(y.unique().tolist()) == {0, torch.tensor(1 / (1 - p)).item()}
    bound = 5 * math.sqrt(p * (1 - p) / n)
    assert abs((y == 0).double().mean().item() - p) < bound
    assert abs(y.double().mean().item() - 1) < bound / (1 - p)


def test_each_element_keeps_its_own_mean():
    x = torch.tensor([-3.0, 0.0, 1.0, 10.0])
    n = 20_000
    y = dropout(x.expand(n, 4), 0.3, generator=torch.Generator().manual_seed(0))
    bound = 5 * x.abs() * math.sqrt(0.3 / 0.7 / n)
    assert ((y.mean(dim=0) - x).abs() <= bound).all()


def test_the_generator_alone_decides():
    x = torch.ones(50)
    masks = [dropout(x, 0.5, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    state = torch.get_rng_state()
    dropout(x, 0.5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_and_everything_is_dropped():
    x = torch.randn(3, 4, requires_grad=True)
    assert dropout(x, 0) is x
    everything = dropout(x, 1)
    assert torch.equal(everything, torch.zeros(3, 4))
    everything.sum().backward()
    assert torch.equal(x.grad, torch.zeros(3, 4))


def test_in_evaluation_nothing_happens():
    x = torch.randn(3, 4)
    assert dropout(x, 0.5, training=False) is x
    module = Dropout(0.5).eval()
    assert module(x) is x
    assert not torch.equal(module.train()(x), x)


def test_the_module_equals_torchs():
    x = torch.randn(8, 5)
    model = nn.Sequential(nn.Linear(5, 7), nn.Dropout(0.4))
    ours = nn.Sequential(copy.deepcopy(model[0]), Dropout(0.4))
    for mode in (True, False):
        torch.manual_seed(0)
        expected = model.train(mode)(x)
        torch.manual_seed(0)
        assert torch.equal(ours.train(mode)(x), expected)
    assert repr(Dropout(0.4)) == "Dropout(p=0.4)"
    assert not Dropout().state_dict() and Dropout().p == 0.5


@pytest.mark.parametrize(
    "p, error, message",
    [
        (-0.1, ValueError, "p=-0.1: must be ≥ 0 and ≤ 1"),
        (1.1, ValueError, "p=1.1: must be ≥ 0 and ≤ 1"),
        (math.nan, ValueError, "p=nan: must be"),
        ("half", TypeError, "p='half': must be a number"),
        (True, TypeError, "p=True: must be a number"),
        (None, TypeError, "p=None: must be a number"),
    ],
)
@pytest.mark.parametrize("function", [Dropout, lambda p: dropout(torch.ones(1), p)])
def test_p_out_of_range_is_refused(function, p, error, message):
    with pytest.raises(error, match=message):
        function(p)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_no_floating_point_tensor_is_refused(training):
    with pytest.raises(TypeError, match=r"x=int64 \(2,\): must be floating-point"):
        dropout(torch.ones(2).long(), 0.5, training)
    with pytest.raises(TypeError, match=r"x=\[1.0\]: must be a tensor"):
        dropout([1.0], 0.5, training)

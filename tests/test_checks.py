"""Checks: each rule, and what a checked function or class keeps of itself."""

import inspect
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from d2lite import checks
from d2lite.checks import check, checked, integer, integers, number, tensor


def shifted(x: float, by: int = 1) -> float:
    """Say where x ends."""
    return x + by


def test_a_checked_function_is_called_as_before() -> None:
    same = checked(x=number(), by=integer(at_least=0))(shifted)
    assert same(1.5) == same(x=1.5) == same(1.5, 1) == same(by=1, x=1.5) == 2.5
    assert same.__doc__ == shifted.__doc__ and same.__name__ == "shifted"
    assert inspect.signature(same) == inspect.signature(shifted)
    with pytest.raises(TypeError, match="unexpected keyword argument 'to'"):
        same(1.5, to=3)


def test_defaults_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"by=1: must be ≥ 2$"):
        checked(by=integer(at_least=2))(shifted)(0)


def test_arguments_that_must_fit_each_other_come_last() -> None:
    def _ordered(low: float, high: float) -> None:
        if low > high:
            raise ValueError(f"low={low}: must be ≤ high={high}")

    @checked(_ordered, low=number())
    def between(low: float, high: float = 1.0) -> float:
        return (low + high) / 2

    assert between(0) == 0.5
    with pytest.raises(ValueError, match=r"low=2: must be ≤ high=1\.0"):
        between(2)
    with pytest.raises(TypeError, match="low='a': must be a number"):
        between("a")


def test_a_checked_class_is_a_module_like_others() -> None:
    with pytest.raises(ValueError, match="width=0: must be ≥ 1"):
        Wide(0)
    with pytest.raises(ValueError, match="width=0: must be ≥ 1"):
        Wide(width=0)
    assert pickle.loads(pickle.dumps(Wide(3))).width == 3


class Wide(nn.Module):
    @checked(width=integer(at_least=1))
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


@pytest.mark.parametrize("value", [1, 7, np.int64(3)])
def test_integers_pass(value: object) -> None:
    check("n", value, integer(at_least=1, at_most=7))
    check("n", value, integers(at_least=1))
    check("n", (value, value), integers(at_least=1))


@pytest.mark.parametrize(
    ("rule", "value", "error", "message"),
    [
        (integer(1), True, TypeError, "n=True: must be an int"),
        (integer(1), 2.0, TypeError, "n=2.0: must be an int"),
        (integer(1), 0, ValueError, "n=0: must be ≥ 1"),
        (integer(1, 8), 9, ValueError, "n=9: must be ≥ 1 and ≤ 8"),
        (integers(0), (1, 2, 3), TypeError, r"n=\(1, 2, 3\): must be an int or a pair of ints"),
        (integers(0), (1, -1), ValueError, r"n=\(1, -1\): must be ≥ 0"),
        (integers(0), "same", TypeError, "n='same': must be an int or a pair of ints"),
        (number(), math.nan, ValueError, "n=nan: must be finite"),
        (number(above=0), 0, ValueError, "n=0: must be > 0"),
        (number(above=0), math.inf, ValueError, "n=inf: must be > 0 and finite"),
        (number(at_least=0, below=1), 1, ValueError, "n=1: must be ≥ 0 and < 1"),
        (number(), True, TypeError, "n=True: must be a number"),
        (number(), torch.ones(2), TypeError, r"n=float32 \(2,\): must be a number"),
        (checks.boolean, 0, TypeError, "n=0: must be True or False"),
        (checks.one_of("a", "b"), "c", ValueError, "n='c': must be one of 'a', 'b'"),
        (checks.instance(nn.Module), [], TypeError, r"n=\[\]: must be a Module"),
        (checks.optional(integer(1)), 0, ValueError, "n=0: must be ≥ 1"),
        (tensor(), np.zeros(2), TypeError, r"n=array\(\[0., 0.\]\): must be a tensor"),
        (tensor(), torch.ones(2, dtype=torch.int64), TypeError, "n=int64 .*: must be floating-po"),
        (tensor("(N,)"), torch.ones(2, 2), ValueError, r"n=float32 \(2, 2\): must be \(N,\)"),
        (tensor("(C, H)", "(N, C, H)"), torch.ones(2), ValueError, r"must be \(C, H\) or \(N, C"),
        (tensor("(…, H, W)"), torch.ones(2), ValueError, r"must be \(…, H, W\)"),
        (tensor(), torch.ones(0, 2), ValueError, r"n=float32 \(0, 2\): must not be empty"),
    ],
)  # fmt: skip
def test_what_is_refused(rule: checks.Rule, value: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        check("n", value, rule)


def test_long_values_are_named_by_their_type() -> None:
    with pytest.raises(TypeError, match=r"^n=a list: must be an int$"):
        check("n", list(range(100)), integer(at_least=1))


@pytest.mark.parametrize("shape", [(1, 2), (3, 1, 2)])
def test_an_ellipsis_stands_for_any_axes(shape: tuple[int, ...]) -> None:
    check("n", torch.ones(shape), tensor("(…, H, W)"))


def test_numpys_numbers_become_pythons() -> None:
    """A small integer of NumPy's would wrap around in the arithmetic: 200 + 2·100 is 144."""

    @checked(times=integer(at_least=1), sizes=integers(at_least=1), rate=number())
    def kinds(times: int, sizes: tuple[int, int], rate: float) -> list[type]:
        return [type(times), *map(type, sizes), type(rate)]

    assert kinds(np.uint8(200), (np.int8(1), 2), np.float32(0.5)) == [int, int, int, float]

"""d2lite.optim equals torch.optim: 100 steps on random problems, with all that goes with them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR, StepLR

from d2lite import optim

NAMES = ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"]
numbers = st.floats(0, 0.95)
decays = st.sampled_from([0.0, 0.01, 0.5])
betas = st.tuples(numbers, st.floats(0, 0.9999))


def twins(seed, dtype=torch.float64):
    """Return two equal lists of parameters; a loss never uses the last."""
    torch.manual_seed(seed)
    start = torch.randn(3, 4, dtype=dtype), torch.randn(4, dtype=dtype), torch.ones(2, dtype=dtype)
    return [[w.clone().requires_grad_() for w in start] for _ in range(2)]


def slope(seed, dtype=torch.float64):
    """Return a loss whose gradient is random at each step, often 0, and of many magnitudes.

    It does not depend on the parameters. Else a step such as g / √g² turns a difference in the last
    digit into one in the first, wherever g changes its sign.
    """
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(2, 100, 3, 4, dtype=dtype, generator=generator)
    gradients = normal[0] * torch.exp(4 * normal[1]) * (normal[1] > -1)
    return lambda parameters, step: (gradients[step] * (parameters[0] + parameters[1])).sum()


def network(seed, dtype=torch.float64):
    """Return the loss of a small network, on other data at each step."""
    data = torch.randn(100, 8, 3, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return lambda parameters, step: (
        ((data[step] @ parameters[0] + parameters[1]).tanh() - 0.5) ** 2
    ).mean()


def descend(optimizer, parameters, loss, steps=100, scheduler=None):
    path = []
    for step in range(steps):
        optimizer.zero_grad()
        loss(parameters, step).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        path.append(torch.cat([w.detach().flatten() for w in parameters]))
    return torch.stack(path)


def compare(name, options, loss, dtype=torch.float64, **tolerance):
    mine, theirs = twins(0, dtype)
    actual = descend(getattr(optim, name)(mine, **options), mine, loss)
    expected = descend(getattr(torch.optim, name)(theirs, **options), theirs, loss)
    assert not torch.equal(expected[0], expected[-1])
    torch.testing.assert_close(actual, expected, **tolerance)


@st.composite
def optimizers(draw):
    name = draw(st.sampled_from(NAMES))
    options = {"lr": draw(st.floats(1e-4, 0.05)), "weight_decay": draw(decays)}
    if name == "SGD":
        options["momentum"] = draw(numbers)
        options["nesterov"] = options["momentum"] > 0 and draw(st.booleans())
    else:
        options["eps"] = draw(st.sampled_from([1e-8, 1e-3]))
    if name == "RMSprop":
        options["alpha"] = draw(st.floats(0, 0.999))
    if name in ("Adam", "AdamW"):
        options["betas"] = draw(betas)
    return name, options


@settings(max_examples=40, deadline=None)
@given(optimizers(), st.integers(0, 2**31))
def test_equals_torch_over_100_steps(optimizer, seed):
    compare(*optimizer, slope(seed), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_equals_torch_on_a_network(name, seed):
    compare(name, {"lr": 0.01}, network(seed), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_torchs(name):
    mine, theirs = twins(0)
    defaults = getattr(torch.optim, name)(theirs).defaults
    for setting, value in getattr(optim, name)(mine).defaults.items():
        assert defaults[setting] == value, setting
    compare(name, {}, network(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_float32_equals_torch(name):
    loss = slope(1, torch.float32)
    compare(name, {"lr": 1e-3}, loss, torch.float32, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheduler", [StepLR, OneCycleLR])
def test_groups_and_schedulers_equal_torchs(name, scheduler):
    options = {"momentum": 0.5} if name == "SGD" else {}
    setting = {"step_size": 30}
    if scheduler is OneCycleLR:  # it changes the momentum or β₁, too
        cycle = name not in ("Adagrad", "RMSprop")
        setting = {"max_lr": 0.05, "total_steps": 101, "cycle_momentum": cycle}
    paths, loss = [], network(2)
    for module, parameters in zip((optim, torch.optim), twins(2), strict=True):
        groups = [{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:]}]
        optimizer = getattr(module, name)(groups, lr=0.01, **options)
        paths.append(
            descend(optimizer, parameters, loss, scheduler=scheduler(optimizer, **setting))
        )
    torch.testing.assert_close(*paths, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_continues_the_path(name):
    options = {"momentum": 0.9} if name == "SGD" else {}
    (straight, stopped), loss = twins(3), network(3)
    whole = descend(getattr(optim, name)(straight, **options), straight, loss, 20)
    first = getattr(optim, name)(stopped, **options)
    descend(first, stopped, loss, 10)
    saved = first.state_dict()
    second = getattr(optim, name)(stopped, **options)
    second.load_state_dict(saved)
    path = descend(second, stopped, lambda w, step: loss(w, step + 10), 10)
    torch.testing.assert_close(path, whole[10:], rtol=0, atol=0)


def test_the_first_step_of_adam_is_lr_long_whatever_the_gradient():
    """Bias correction makes m̂ = g and v̂ = g² at t = 1."""
    for scale in 1e-3, 1.0, 1e3:
        w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        (scale * (w * torch.tensor([1, -2, 3, -4])).sum()).backward()
        optim.Adam([w], lr=0.1, eps=0).step()
        expected = torch.tensor([-0.1, 0.1, -0.1, 0.1], dtype=torch.float64)
        torch.testing.assert_close(w.detach(), expected)


def test_step_calls_the_closure_and_returns_its_loss():
    w = torch.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9
    assert w.item() == pytest.approx(3 - 0.1 * 6)
    assert optimizer.step() is None


def test_the_gradient_and_other_parameters_are_left_alone():
    w, frozen = (torch.ones(2, requires_grad=True) for _ in range(2))
    w.grad = torch.tensor([1.0, 2.0])
    for name in NAMES:
        optimizer = getattr(optim, name)([w, frozen], weight_decay=0.1)
        optimizer.step()
        optimizer.step()
    assert torch.equal(w.grad, torch.tensor([1.0, 2.0]))
    assert torch.equal(frozen, torch.ones(2))


@settings(max_examples=40, deadline=None)
@given(optimizers(), st.integers(0, 2**31), st.sampled_from([0, 1, 10]), st.booleans())
def test_a_state_goes_to_torchs_twin_and_comes_from_it(optimizer, seed, before, to_torch):
    (name, options), loss = optimizer, slope(seed)
    sides = (optim, torch.optim) if to_torch else (torch.optim, optim)
    first, second = twins(seed)
    giver = getattr(sides[0], name)(first, **options)
    if before:
        descend(giver, first, loss, before)
    with torch.no_grad():
        for w, theirs in zip(second, first, strict=True):
            w.copy_(theirs)
    taker = getattr(sides[1], name)(second, lr=0.5)
    taker.load_state_dict(giver.state_dict())
    on = [
        descend(side, w, lambda w, step: loss(w, step + before), 20)
        for side, w in ((giver, first), (taker, second))
    ]
    torch.testing.assert_close(*on, rtol=1e-10, atol=1e-10)
    ours, theirs = giver.state_dict(), taker.state_dict()
    assert ours["state"].keys() == theirs["state"].keys()
    for i, state in ours["state"].items():
        assert {k for k, v in state.items() if v is not None} == theirs["state"][i].keys()
    assert [g.keys() for g in ours["param_groups"]] == [g.keys() for g in theirs["param_groups"]]


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_state_is_a_copy(name):
    options = {"momentum": 0.9} if name == "SGD" else {}
    (ours, theirs), loss = twins(0), network(0)
    giver = getattr(optim, name)(ours, **options)
    descend(giver, ours, loss, 3)
    saved = repr(giver.state_dict())
    taker = getattr(torch.optim, name)(theirs, **options)
    taker.load_state_dict(giver.state_dict())
    descend(taker, theirs, loss, 3)  # in place
    assert repr(giver.state_dict()) == saved


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SGD", {"momentum": 0.9, "dampening": 0.5}, "dampening=0.5: must be 0"),
        ("SGD", {"maximize": True}, "maximize=True: must be False"),
        ("Adagrad", {"lr_decay": 0.1}, "lr_decay=0.1: must be 0"),
        ("RMSprop", {"momentum": 0.1}, "momentum=0.1: must be 0"),
        ("RMSprop", {"centered": True}, "centered=True: must be False"),
        ("Adam", {"amsgrad": True}, "amsgrad=True: must be False"),
        ("AdamW", {"maximize": True}, "maximize=True: must be False"),
    ],
)
def test_refuses_the_state_of_another_rule(name, options, message):
    saved = getattr(torch.optim, name)(twins(0)[0], **options).state_dict()
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(twins(0)[0]).load_state_dict(saved)


@pytest.mark.parametrize("name", NAMES)
def test_how_torch_computes_is_no_other_rule(name):
    saved = getattr(torch.optim, name)(twins(0)[0], foreach=True).state_dict()
    getattr(optim, name)(twins(0)[0]).load_state_dict(saved)


def test_a_velocity_of_none_is_none():
    """Some versions of PyTorch save one where SGD has no momentum."""
    (ours, _), loss = twins(0), network(0)
    giver = optim.SGD(ours, lr=0.1)
    descend(giver, ours, loss, 2)
    saved = giver.state_dict()
    saved["state"] = {0: {"momentum_buffer": None}}
    saved["param_groups"][0]["momentum"] = 0.9
    giver.load_state_dict(saved)
    descend(giver, ours, loss, 2)


class Signs(optim.Optimizer):
    """Steps of one length: not one of PyTorch's."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr)

    def _update(self, w, g, state, group):
        state["sum"] = state.get("sum", 0) + 1
        w -= group["lr"] * g.sign() / state["step"]


def test_a_rule_of_ones_own_saves_its_state():
    (ours, others), loss = twins(0), network(0)
    first, second = Signs(ours), Signs(others)
    whole = descend(first, ours, loss, 10)
    descend(second, others, loss, 5)
    third = Signs(others)
    third.load_state_dict(second.state_dict())
    path = descend(third, others, lambda w, step: loss(w, step + 5), 5)
    assert torch.equal(path, whole[5:])
    assert third.state[others[0]] == {"step": 10, "sum": 10}
    with pytest.raises(NotImplementedError):
        descend(optim.Optimizer(ours, lr=1), ours, loss, 1)


def test_a_rule_derived_from_one_is_that_ones_twin():
    class Mine(optim.Adam):
        pass

    (ours, theirs), loss = twins(0), network(0)
    descend(giver := Mine(ours), ours, loss, 3)
    taker = torch.optim.Adam(theirs)
    taker.load_state_dict(giver.state_dict())
    descend(taker, theirs, loss, 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("setting", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [-1, math.nan])
def test_refuses_negative_settings(name, setting, value):
    with pytest.raises(ValueError, match=f"{setting}={value}: must be ≥ 0"):
        getattr(optim, name)([torch.zeros(1)], **{setting: value})


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("SGD", {"momentum": -0.1}, "momentum=-0.1: must be ≥ 0"),
        ("SGD", {"nesterov": True}, "momentum=0: must be > 0 with nesterov=True"),
        ("Adagrad", {"eps": -1}, "eps=-1: must be ≥ 0"),
        ("RMSprop", {"alpha": 1}, "alpha=1: must be ≥ 0 and < 1"),
        ("Adam", {"betas": (0.9, 1)}, r"betas=\(0.9, 1\): must be ≥ 0 and < 1"),
        ("AdamW", {"betas": (-0.1, 0.9)}, r"betas=\(-0.1, 0.9\): must be ≥ 0 and < 1"),
        ("AdamW", {"betas": (0.9,)}, r"betas=\(0.9,\): must be two numbers"),
    ],
)
def test_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([torch.zeros(1)], **options)


@pytest.mark.parametrize("betas", [0.9, None, "ab", (0.9, "b")])
def test_betas_are_two_numbers(betas):
    with pytest.raises(TypeError, match=r"betas=.*: must be (two numbers|a number)"):
        optim.Adam([torch.zeros(1)], betas=betas)


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])  # PyTorch's others take no sparse gradients
def test_sparse_gradients_equal_torchs(name):
    embeddings = [torch.nn.Embedding(5, 3, sparse=True).double() for _ in range(2)]
    embeddings[1].load_state_dict(embeddings[0].state_dict())
    rules = getattr(optim, name), getattr(torch.optim, name)
    descents = [rule(e.parameters(), lr=0.1) for rule, e in zip(rules, embeddings, strict=True)]
    for words in ([0, 1], [1, 2], [0, 0]):
        for embedding, descent in zip(embeddings, descents, strict=True):
            descent.zero_grad()
            embedding(torch.tensor(words)).square().sum().backward()
            descent.step()
    torch.testing.assert_close(embeddings[0].weight, embeddings[1].weight)

"""Networks side by side: each learns what it would learn alone, by a plain loop of PyTorch."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.testing import assert_close

import d2lite.dropout
import d2lite.norm
import d2lite.optim
from d2lite.data import LabelledImages
from d2lite.side_by_side import SideBySide, evaluate_all, fit_all, orders
from d2lite.train import evaluate, fit

IMAGES = torch.rand(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)).double()
LABELS = torch.randint(3, (24,), generator=torch.Generator().manual_seed(1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3))


def normalized(norm: type[nn.Module], *first: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, bias=False), norm(*first, 4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(4, 3),
    )  # fmt: skip


def common() -> nn.Module:
    """Layers that answer for all networks in one call."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=None), nn.Tanh(),
        nn.Sequential(nn.Conv2d(4, 6, 3, dilation=2, padding="same", groups=2), nn.Sigmoid()),
        nn.AvgPool2d(2), nn.BatchNorm2d(6), nn.LeakyReLU(), nn.MaxPool2d(2, 1), nn.Dropout(0.0),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def uncommon() -> nn.Module:
    """Settings of the same layers that need vmap."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4, affine=False),
        nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(2), nn.Linear(36, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(8, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 3),
    )  # fmt: skip


class Residual(nn.Module):
    """Not a Sequential, with a tied and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two = (nn.Conv2d(c, 2, 3, padding=1) for c in (1, 2, 2))
        self.two.weight = self.one.weight
        self.head = nn.Linear(2, 3)
        self.head.bias.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return self.head((x + self.two(self.one(x).relu())).mean((2, 3)))


FORMS = {
    "mlp": mlp,
    "batch norm": lambda: normalized(nn.BatchNorm2d),
    "our batch norm": lambda: normalized(d2lite.norm.BatchNorm),
    "group norm": lambda: normalized(nn.GroupNorm, 2),
    "common layers": common,
    "uncommon settings": uncommon,
    "residual": Residual,
}
OPTIMIZERS = {
    "SGD": ({}, torch.optim.SGD, {}),
    "momentum": ({"momentum": 0.9}, torch.optim.SGD, {}),
    "Nesterov": ({"momentum": 0.9, "nesterov": True}, torch.optim.SGD, {}),
    "our SGD": ({"momentum": 0.9}, torch.optim.SGD, {"optimizer": d2lite.optim.SGD}),
    "Adam": ({"betas": (0.8, 0.99)}, torch.optim.Adam, {"optimizer": d2lite.optim.Adam}),
    "AdamW": ({}, torch.optim.AdamW, {"optimizer": d2lite.optim.AdamW}),
}


def several(form: str, count: int = 3) -> list[nn.Module]:
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append(FORMS[form]().double())
    return models


def train_alone(model, batches, optimizer, rates, weight_decay, loss=cross_entropy, **settings):
    """The plain loop, with torch's own optimizer."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": [p], "weight_decay": weight_decay * (p.ndim > 1)} for p in parameters]
    descent, losses = optimizer(groups, **settings), []
    model.train()
    for (images, targets), lr in zip(batches, rates, strict=True):
        value = loss(model(images), targets)
        descent.zero_grad()
        value.backward()
        for group in descent.param_groups:
            group["lr"] = lr
        descent.step()
        losses.append(value.detach())
    model.eval()
    return torch.stack(losses)


@settings(max_examples=15, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    kind=st.sampled_from(sorted(OPTIMIZERS)),
    own_rates=st.booleans(),
    own_decay=st.booleans(),
    own_schedule=st.booleans(),
    shared=st.booleans(),
)
def test_each_learns_what_it_would_learn_alone(
    form, kind, own_rates, own_decay, own_schedule, shared
):
    models, (options, theirs, ours) = several(form), OPTIMIZERS[kind]
    before = copy.deepcopy(models)
    networks = SideBySide(models)
    indices = list(orders(24, 8, steps=5, seeds=[7] if shared else [4, 5, 4]))
    rates = [0.01, 0.02, 0.04] if own_rates else [0.02] * 3
    decays = [0.0, 0.1, 0.3] if own_decay else [0.1] * 3
    factors = [[1 / (t + 1 + r * own_schedule) for t in range(5)] for r in range(3)]
    losses = fit_all(
        networks,
        ((IMAGES[i], LABELS[i]) for i in indices),
        **ours,
        lr=rates if own_rates else 0.02,
        weight_decay=torch.tensor(decays) if own_decay else 0.1,
        schedule=lambda t: [f[t] for f in factors] if own_schedule else factors[0][t],
        **options,
    )
    assert losses.shape == (5, 3) and not losses.requires_grad and not networks.training
    for r, (alone, untouched) in enumerate(zip(models, before, strict=True)):
        assert_close(alone.state_dict(), untouched.state_dict(), rtol=0, atol=0)
        steps = [(IMAGES[i[-1 if shared else r]], LABELS[i[-1 if shared else r]]) for i in indices]
        by_hand = [rates[r] * factors[r][t] for t in range(5)]
        expected = train_alone(alone, steps, theirs, by_hand, decays[r], **options)
        assert_close(losses[:, r], expected, rtol=1e-5, atol=1e-7)
        assert_close(networks[r].state_dict(), alone.state_dict(), rtol=1e-5, atol=1e-6)
        assert_close(networks(IMAGES[None])[r], alone(IMAGES), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["mlp", "batch norm"])
def test_equals_fit(form):
    data = LabelledImages(IMAGES.float(), LABELS, ("a", "b", "c"))
    models = [model.float() for model in several(form)]
    networks, seeds = SideBySide(models), [3, 1, 3]
    batches = ((data.images[i], data.labels[i]) for i in orders(24, 7, steps=12, seeds=seeds))
    losses = fit_all(
        networks, batches, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01,
        schedule=lambda step: 1 - step / 12,
    )  # fmt: skip
    accuracies = evaluate_all(networks, data.images[None], data.labels[None])
    for r, (model, seed) in enumerate(zip(models, seeds, strict=True)):
        options = {"lr": 0.1, "batch_size": 7, "weight_decay": 0.01, "seed": seed}
        history = fit(model, data, epochs=3, schedule=lambda step: 1 - step / 12, **options)
        assert_close(losses[:, r].view(3, 4).mean(1), torch.tensor(history.loss))
        assert accuracies[r].item() == pytest.approx(evaluate(model, data))


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_each_network(nesterov):
    models, momenta = several("mlp"), [0.5, 0.9, 0.99]
    networks, batch = SideBySide(models), (IMAGES, LABELS)
    options = {"lr": 0.1, "nesterov": nesterov}
    fit_all(networks, [(IMAGES[None], LABELS[None])] * 6, momentum=momenta, **options)
    for r, (alone, momentum) in enumerate(zip(models, momenta, strict=True)):
        settings_ = {"momentum": momentum, "nesterov": nesterov}
        train_alone(alone, [batch] * 6, torch.optim.SGD, [0.1] * 6, 0, **settings_)
        assert_close(networks[r].state_dict(), alone.state_dict())


def test_any_loss_of_answers_and_targets():
    def squared_error(answers, targets):
        return (answers - targets).square().mean(1)

    models, targets = several("mlp"), torch.randn(24, 3).double()
    networks = SideBySide(models)
    losses = fit_all(networks, [(IMAGES[None], targets[None])] * 4, lr=0.1, loss=squared_error)
    alone = train_alone(models[2], [(IMAGES, targets)] * 4, torch.optim.SGD, [0.1] * 4, 0, mse_loss)
    assert_close(losses[:, 2], alone)


@pytest.mark.parametrize("dropout", [nn.Dropout, d2lite.dropout.Dropout])
@pytest.mark.parametrize("inputs", [1, 3])
def test_each_network_drops_its_own_units(dropout, inputs):
    networks = SideBySide([nn.Sequential(dropout(0.5), nn.Linear(400, 1)) for _ in range(3)])
    nn.init.ones_(networks.form[1].weight)
    nn.init.zeros_(networks.form[1].bias)
    torch.manual_seed(0)
    sums = networks.train()(torch.ones(inputs, 200, 400)).squeeze(2)
    assert_close(sums.mean(), torch.tensor(400.0), atol=4, rtol=0)
    assert_close(sums.std(), torch.tensor(20.0), atol=2, rtol=0)
    assert torch.corrcoef(sums).fill_diagonal_(0).abs().max() < 0.3  # own masks
    assert (networks.eval()(torch.ones(inputs, 2, 400)) == 400).all()


class Drop(nn.Module):
    """Dropout with a p that may differ from network to network, as it is a buffer."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(p))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) >= self.p) / (1 - self.p) if self.training else x


def test_a_buffer_is_a_setting_of_each_network():
    networks = SideBySide([Drop(p) for p in (0.0, 0.2, 0.8)])
    dropped = (networks(torch.ones(1, 100, 100)) == 0).float().mean((1, 2))
    assert_close(dropped, torch.tensor([0.0, 0.2, 0.8]), atol=0.02, rtol=0)


def test_the_seed_decides_what_networks_draw():
    def run(seed):
        torch.manual_seed(0)
        networks = SideBySide([nn.Sequential(nn.Dropout(0.5), mlp()) for _ in range(2)])
        state = torch.random.get_rng_state()
        batches = [(IMAGES.float()[None], LABELS[None])] * 3
        losses = fit_all(networks, batches, lr=0.1, seed=seed)
        assert torch.equal(state, torch.random.get_rng_state())
        return losses

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_watch_sees_every_step():
    networks, seen = SideBySide(several("mlp")), []

    def watch(steps):
        assert not torch.is_grad_enabled() and networks.training
        assert all(p.grad is not None for p in networks.parameters())
        seen.append((steps, evaluate_all(networks, IMAGES[None], LABELS[None])))

    fit_all(networks, [(IMAGES[None], LABELS[None])] * 3, lr=0.1, watch=watch)
    assert [steps for steps, _ in seen] == [1, 2, 3]
    assert_close(seen[-1][1], evaluate_all(networks, IMAGES[None], LABELS[None]))


def test_ordinary_modules_come_back():
    models = several("batch norm")
    networks = SideBySide(models)
    assert len(networks) == len(list(networks)) == 3
    assert networks.form[0].weight.shape == (3, 4, 1, 3, 3)
    for model, back in zip(models, networks, strict=True):
        assert_close(back.state_dict(), model.state_dict(), rtol=0, atol=0)
    nn.init.zeros_(networks[0][0].weight)  # a copy
    assert networks.form[0].weight.all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 20))
def test_orders_take_every_image_once_an_epoch(count, batch_size, steps):
    indices = list(orders(count, batch_size, steps, seeds=[3, 5, 3]))
    assert len(indices) == steps and all(len(i) == 3 for i in indices)
    batches = math.ceil(count / batch_size)
    assert {i.shape[1] for i in indices} <= {count // batches, math.ceil(count / batches)}
    for first in range(0, steps - batches + 1, batches):
        epoch = torch.cat(indices[first : first + batches], 1)
        assert torch.equal(epoch.sort(1).values, torch.arange(count).expand(3, -1))
        assert torch.equal(epoch[0], epoch[2])


def test_bad_input_is_named():
    images, labels = IMAGES[None], LABELS[None]
    networks = SideBySide(several("mlp"))
    for models in (mlp(), [], [mlp(), 3]):
        with pytest.raises((TypeError, ValueError), match=r"models=.*must be"):
            SideBySide(models)
    for other in (nn.Dropout(0.2), nn.ReLU()):
        with pytest.raises(ValueError, match="the same layers and settings"):
            SideBySide([nn.Sequential(nn.Dropout(0.1), mlp()), nn.Sequential(other, mlp())])
    with pytest.raises(ValueError, match="have parameters"):
        SideBySide([nn.ReLU()])
    for x in (IMAGES, torch.zeros(2, 4, 1, 6, 6)):
        with pytest.raises(ValueError, match=r"x=.*must be \(3, N, …\), or \(1, N, …\) for all"):
            networks(x)
    with pytest.raises(ValueError, match=r"targets=int64 \(24,\): must be \(3, N, …\)"):
        fit_all(networks, [(images, LABELS)])
    with pytest.raises(ValueError, match=r"lr=\[0.1, 0.2\]: must be a number, or 3 of them"):
        fit_all(networks, [(images, labels)], lr=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"schedule=\[1\]: must be a number, or 3"):
        fit_all(networks, [(images, labels)], schedule=lambda step: [1])
    for rate in (0.1, [0.1] * 3):
        with pytest.raises(TypeError, match="rate"):
            fit_all(networks, [(images, labels)], rate=rate)
    for lr in (-0.1, [0.1, -0.1, 0.1]):
        with pytest.raises(ValueError, match=r"lr=-0\.1: must be ≥ 0"):
            fit_all(networks, [(images, labels)], lr=lr)
    with pytest.raises(ValueError, match="batches: there are none"):
        fit_all(networks, [])
    with pytest.raises(TypeError, match=r"networks=.*must be a SideBySide"):
        fit_all(mlp(), [(images, labels)])
    with pytest.raises(ValueError, match="steps=0: must be ≥ 1"):
        orders(10, 2, steps=0, seeds=[0])

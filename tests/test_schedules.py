"""d2lite.schedules equals PyTorch's schedulers; the range test measures and leaves no trace."""

import copy
import math
from functools import partial

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from d2lite.data import LabelledImages
from d2lite.schedules import cosine, lr_range_test, one_cycle, step_decay, triangular, warmup
from d2lite.train import fit

LR = 0.3
property_test = settings(max_examples=50, deadline=None)
totals = st.integers(1, 60)


def rates(scheduler, steps, lr=LR):
    """Return the learning rate of each of the steps that PyTorch's scheduler gives."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, sequence = scheduler(optimizer), []
    while True:
        sequence.append(optimizer.param_groups[0]["lr"])
        if len(sequence) == steps:
            return sequence
        optimizer.step()
        scheduler.step()


def ours(schedule, steps):
    return pytest.approx([LR * schedule(step) for step in range(steps)], rel=1e-9, abs=1e-12)


@property_test
@given(st.integers(1, 10), st.floats(0.05, 1.5))
def test_step_decay_equals_torch(step_size, gamma):
    scheduler = partial(StepLR, step_size=step_size, gamma=gamma)
    assert rates(scheduler, 30) == ours(step_decay(step_size, gamma), 30)


@property_test
@given(totals, st.floats(0, 1))
def test_cosine_equals_torch(total, end):
    scheduler = partial(CosineAnnealingLR, T_max=total, eta_min=end * LR)
    assert rates(scheduler, total + 1) == ours(cosine(total, end), total + 1)


@property_test
@given(
    st.integers(2, 60),
    st.floats(0, 1),
    st.sampled_from(["cos", "linear"]),
    st.floats(1, 100),
    st.floats(1, 1e5),
)
@example(10, 0.3, "cos", 25.0, 1e4)
@example(10, 0.0, "cos", 25.0, 1e4)
@example(10, 1.0, "linear", 25.0, 1e4)
def test_one_cycle_equals_torch(total, pct_start, strategy, div, final_div):
    assume(pct_start * total != 1)  # where PyTorch divides by zero; see below
    options = {
        "pct_start": pct_start,
        "anneal_strategy": strategy,
        "div_factor": div,
        "final_div_factor": final_div,
    }
    scheduler = partial(OneCycleLR, max_lr=LR, total_steps=total, cycle_momentum=False, **options)
    assert rates(scheduler, total) == ours(one_cycle(total, **options), total)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_one_cycle_defaults_are_torchs(strategy):
    scheduler = partial(
        OneCycleLR, max_lr=LR, total_steps=50, anneal_strategy=strategy, cycle_momentum=False
    )
    assert rates(scheduler, 50) == ours(one_cycle(50, anneal_strategy=strategy), 50)


def test_one_cycle_with_its_peak_at_the_first_step():
    schedule = one_cycle(4, pct_start=0.25, anneal_strategy="linear")
    assert [schedule(step) for step in range(4)] == pytest.approx([1, 2 / 3, 1 / 3, 0], abs=1e-5)
    assert one_cycle(1, pct_start=1.0)(0) == 1


@property_test
@given(totals, st.integers(1, 20), st.floats(0.01, 1), st.sampled_from(["cosine", "step"]))
def test_warmup_equals_torch(total, steps, start_factor, name):
    mine = cosine(total) if name == "cosine" else step_decay(7)
    theirs = (
        partial(CosineAnnealingLR, T_max=total)
        if name == "cosine"
        else partial(StepLR, step_size=7)
    )

    def scheduler(optimizer):
        linear = LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
        return SequentialLR(optimizer, [linear, theirs(optimizer)], milestones=[steps])

    assert rates(scheduler, steps + total) == ours(warmup(mine, steps, start_factor), steps + total)


@property_test
@given(totals, st.integers(1, 20))
def test_warmup_rises_without_a_jump_to_where_the_other_begins(total, steps):
    schedule = warmup(one_cycle(total), steps, start_factor=0)
    rise = [schedule(step) for step in range(steps + 1)]
    expected = [one_cycle(total)(0) * step / steps for step in range(steps + 1)]
    assert rise == pytest.approx(expected)


@property_test
@given(st.integers(2, 60), st.floats(0, 1))
def test_triangular_equals_torch(total, pct_start):
    """Two of PyTorch's lines, one after the other: from 1/peak to 1, from 1 to 1/fall."""
    peak = max(1, round(pct_start * total))
    fall = total - peak + 1

    def scheduler(optimizer):
        lines = []
        if peak > 1:
            lines.append(LinearLR(optimizer, start_factor=1 / peak, total_iters=peak - 1))
        if fall > 1:
            lines.append(LinearLR(optimizer, 1, end_factor=1 / fall, total_iters=fall - 1))
        return SequentialLR(optimizer, lines, [peak - 1][: len(lines) - 1])

    assert rates(scheduler, total) == ours(triangular(total, pct_start), total)


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_triangular_is_the_default_of_fit(epochs):
    data = problem(20)
    by_default, by_schedule = (
        fit(classifier(), data, epochs=epochs, batch_size=7, device="cpu", schedule=schedule)
        for schedule in (None, triangular(3 * epochs))
    )
    assert by_default.lr == pytest.approx(by_schedule.lr)
    assert by_default.loss == pytest.approx(by_schedule.loss)


@pytest.mark.parametrize(
    "schedule",
    [step_decay(3), cosine(9), one_cycle(9), triangular(9), warmup(cosine(9), 3)],
)
def test_a_schedule_drives_torchs_scheduler(schedule):
    assert rates(lambda optimizer: LambdaLR(optimizer, schedule), 12) == ours(schedule, 12)


@pytest.mark.parametrize(
    "schedule, end",
    [(cosine(9, 0.1), 0.1), (one_cycle(9), 1 / 25e4), (triangular(9), 0)],
)
def test_it_stays_at_the_end(schedule, end):
    assert [schedule(step) for step in (9, 10, 1000)] == pytest.approx([end] * 3)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_torchs_one_cycle_leaves_the_end_on_one_call_too_many(strategy):
    scheduler = partial(
        OneCycleLR, max_lr=LR, total_steps=9, anneal_strategy=strategy, cycle_momentum=False
    )
    *_, end, after = rates(scheduler, 10)
    assert after > 100 * end if strategy == "cos" else after < 0
    schedule = one_cycle(9, anneal_strategy=strategy)
    assert LR * schedule(9) == LR * schedule(8) == pytest.approx(end)
    with pytest.raises(ValueError, match="Tried to step 10 times"):
        rates(scheduler, 11)


def test_torchs_cosine_rises_again_on_one_call_too_many():
    *_, end, after = rates(partial(CosineAnnealingLR, T_max=9), 11)
    assert end == pytest.approx(0) and after > 0.01 * LR
    assert cosine(9)(10) == cosine(9)(9) == pytest.approx(0)


def problem(count=200):
    """Two classes that a linear model separates, but for one label in ten, which is wrong."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (count,), generator=generator)
    images = torch.rand(count, 1, 2, 2, generator=generator) + labels[:, None, None, None]
    labels[::10] = 1 - labels[::10]
    return LabelledImages(images, labels, ("a", "b"))


def classifier():
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2)
    return nn.Sequential(*layers)


def test_range_test_measures_what_training_by_hand_gives():
    data, model = problem(), nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    lrs, losses = lr_range_test(
        model, data, lr_min=0.01, lr_max=1, steps=5, batch_size=200, device="cpu"
    )
    assert lrs == pytest.approx([0.01 * 10 ** (step / 2) for step in range(5)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=0.9, nesterov=True)
    for lr, loss in zip(lrs, losses, strict=True):
        expected = cross_entropy(model(data.images), data.labels)
        assert loss == pytest.approx(expected.item(), rel=1e-4)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()


def test_range_test_falls_then_rises_and_ends_early():
    lrs, losses = lr_range_test(classifier(), problem(), lr_min=1e-4, lr_max=1e4, steps=100)
    assert len(lrs) == len(losses) < 100
    assert min(losses) < 0.7 * losses[0]
    averages = [losses[0]]
    for loss in losses[1:]:
        averages.append(0.8 * averages[-1] + 0.2 * loss)
    diverged = [average > 4 * min(averages[: i + 1]) for i, average in enumerate(averages)]
    assert diverged == [False] * (len(losses) - 1) + [True]


def test_range_test_ends_before_a_loss_that_is_no_number():
    class Overflow(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * (math.nan if self.bias.abs().max() > 9 else 1)

    lrs, losses = lr_range_test(Overflow(4, 2), problem(), lr_min=1, lr_max=1e3, steps=40)
    assert 0 < len(lrs) == len(losses) < 40
    assert all(map(math.isfinite, losses))


def test_range_test_leaves_the_model_and_the_random_state_as_they_were():
    model = classifier()
    model(torch.ones(2, 4)).sum().backward()
    model[2].eval()
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    before = [tensor.clone() for tensor in tensors]
    identities = [id(tensor) for tensor in model.parameters()]
    state = torch.random.get_rng_state()
    lr_range_test(model, problem(), steps=10)
    assert torch.equal(state, torch.random.get_rng_state())
    after = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    assert all(map(torch.equal, before, after))
    assert identities == [id(tensor) for tensor in model.parameters()]
    assert [layer.training for layer in model] == [True, True, False, True, True]


def test_range_test_is_seeded():
    first, again, other = (
        lr_range_test(classifier(), problem(), steps=10, batch_size=32, seed=seed)
        for seed in (1, 1, 2)
    )
    assert first == again != other


class Recorder(nn.Module):
    """A model that records its inputs, and fails at the given call."""

    calls: list = []  # noqa: RUF012  (shared with the copy that the range test makes)

    def __init__(self, error=None, at=-1):
        super().__init__()
        self.linear, self.error, self.at = nn.Linear(4, 2), error, at
        self.calls.clear()

    def forward(self, x):
        if self.training:  # not where the test tries out the model
            self.calls.append(x.flatten(1))
        if len(self.calls) == self.at:
            raise self.error
        return self.linear(x.flatten(1))


def test_range_test_shows_each_image_once_in_an_epoch_in_even_batches():
    data = problem(10)
    lr_range_test(Recorder(), data, lr_max=1e-4, steps=7, batch_size=4)
    assert [len(batch) for batch in Recorder.calls] == [4, 3, 3, 4, 3, 3, 4]
    epochs = torch.cat(Recorder.calls[:3]), torch.cat(Recorder.calls[3:6])
    images = sorted(data.images.flatten(1).tolist())
    assert sorted(epochs[0].tolist()) == sorted(epochs[1].tolist()) == images
    assert not torch.equal(*epochs)


def test_range_test_keeps_what_it_measured_when_interrupted():
    lrs, losses = lr_range_test(Recorder(KeyboardInterrupt(), at=4), problem(), steps=10)
    assert len(lrs) == len(losses) == 3


def test_range_test_shows_no_bar_where_tqdm_is_switched_off(monkeypatch, capsys):
    for switched_off in (False, True):
        if switched_off:
            monkeypatch.setenv("TQDM_DISABLE", "1")
        else:
            monkeypatch.delenv("TQDM_DISABLE", raising=False)
        lr_range_test(classifier(), problem(), steps=2)
        assert (capsys.readouterr().err == "") == switched_off


def test_range_test_does_not_hide_errors():
    with pytest.raises(RuntimeError, match="mine"):
        lr_range_test(Recorder(RuntimeError("mine"), at=4), problem(), steps=10)


def test_range_test_takes_another_optimizer():
    by_default, by_adam = (
        lr_range_test(Recorder(), problem(), steps=4, **options)[1]
        for options in ({}, {"optimizer": torch.optim.Adam})
    )
    assert len(by_adam) == 4 and by_adam != by_default


def test_range_test_of_lazy_layers_is_that_of_ready_ones():
    data, lazy = problem(), nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    ready = copy.deepcopy(lazy)
    torch.manual_seed(0)
    ready(data.images[:1])
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    found = lr_range_test(lazy, data, steps=5)
    assert torch.equal(state, torch.random.get_rng_state())
    assert isinstance(lazy[1], nn.LazyLinear)
    assert found == lr_range_test(ready, data, steps=5)


def test_range_test_of_an_autoencoder():
    x = problem().images.flatten(1)
    _, losses = lr_range_test(
        nn.Linear(4, 4), x, steps=50, loss=lambda model, x: mse_loss(model(x), x)
    )
    assert min(losses) < losses[0] / 2


def test_range_test_augments():
    data, seen = problem(10), []

    def twice(images, labels):
        seen.append(len(images))
        return torch.cat([images, images]), torch.cat([labels, labels])

    lr_range_test(Recorder(), data, steps=4, batch_size=5, augment=twice)
    assert seen == [5] * 4
    assert [len(batch) for batch in Recorder.calls] == [10] * 4


def test_range_test_says_what_is_not_finite():
    data = problem()
    with pytest.raises(FloatingPointError, match="model: the loss is inf in epoch 1, step 1"):
        lr_range_test(classifier(), data, loss=lambda model, x, y: model(x).square().sum() / 0)
    spoilt = LabelledImages(data.images / 0, data.labels, data.classes)
    with pytest.raises(ValueError, match=r"train=.*: must be finite, but example 0 is not"):
        lr_range_test(classifier(), spoilt)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: step_decay(0), "step_size=0: must be ≥ 1"),
        (lambda: step_decay(1, gamma=0), "gamma=0: must be > 0"),
        (lambda: cosine(0), "total_steps=0: must be ≥ 1"),
        (lambda: cosine(9, 1.1), "end_factor=1.1: must be ≥ 0 and ≤ 1"),
        (lambda: one_cycle(0), "total_steps=0: must be ≥ 1"),
        (lambda: one_cycle(9, pct_start=-0.1), "pct_start=-0.1: must be ≥ 0 and ≤ 1"),
        (lambda: one_cycle(9, anneal_strategy="cosine"), "anneal_strategy='cosine': must be"),
        (lambda: one_cycle(9, div_factor=0.5), "div_factor=0.5: must be ≥ 1"),
        (lambda: one_cycle(9, final_div_factor=0), "final_div_factor=0: must be ≥ 1"),
        (lambda: triangular(0), "total_steps=0: must be ≥ 1"),
        (lambda: triangular(9, pct_start=1.1), "pct_start=1.1: must be ≥ 0 and ≤ 1"),
        (lambda: warmup(cosine(9), 0), "steps=0: must be ≥ 1"),
        (lambda: warmup(cosine(9), 3, start_factor=2), "start_factor=2: must be ≥ 0 and ≤ 1"),
        (lambda: lr_range_test(Recorder(), problem(), lr_min=0), "lr_min=0: must be > 0"),
        (
            lambda: lr_range_test(Recorder(), problem(), lr_max=1e-6),
            "lr_max=1e-06: must be > lr_min=1e-05",
        ),
        (lambda: lr_range_test(Recorder(), problem(), steps=1), "steps=1: must be ≥ 2"),
        (lambda: lr_range_test(Recorder(), problem(), batch_size=0), "batch_size=0: must be ≥ 1"),
        (lambda: lr_range_test(Recorder(), problem()[:0]), r"train=.*: no examples"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()

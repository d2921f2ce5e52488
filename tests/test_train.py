"""The training loop: the same steps as PyTorch's own, repeatable, and clear when it fails."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import d2lite.train
from d2lite.data import LabelledImages
from d2lite.schedules import one_cycle, triangular
from d2lite.train import WARM_UP, History, evaluate, fit, predict


def images_with_a_bright_side(count: int, seed: int = 0) -> LabelledImages:
    """4 × 4 noise that is brighter on the left (class 0) or on the right (class 1)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 4, 4, generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    images[labels == 0, :, :, :2] += 0.5
    images[labels == 1, :, :, 2:] += 0.5
    return LabelledImages(images, labels, ("left", "right"))


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


def test_learns():
    train, test = images_with_a_bright_side(400), images_with_a_bright_side(200, seed=1)
    model = small_model()
    before = evaluate(model, test)
    history = fit(model, train, test, epochs=5)
    assert before < 0.8
    assert history.test_accuracy[-1] > 0.95
    assert history.test_accuracy[-1] == evaluate(model, test)
    assert history.train_accuracy[-1] > 0.95
    assert history.loss[-1] < history.loss[0] / 2
    assert len(history) == len(history.lr) == len(history.test_accuracy) == 5
    assert history.seconds > 0
    assert not history.interrupted
    assert not model.training
    assert all(parameter.is_contiguous() for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    epochs=st.integers(1, 4),
    lr=st.floats(1e-3, 0.5),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    weight_decay=st.sampled_from([0.0, 5e-4, 0.1]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_the_steps_are_those_of_torch_optim(
    count, batch_size, epochs, lr, momentum, weight_decay, label_smoothing, seed
):
    data = images_with_a_bright_side(count)
    # In double precision, and without batch normalization, so that rounding does not grow.
    data = LabelledImages(data.images.double(), data.labels, data.classes)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)).double()
    expected = copy.deepcopy(model)
    history = fit(
        model, data, epochs=epochs, lr=lr, batch_size=batch_size, momentum=momentum,
        weight_decay=weight_decay, label_smoothing=label_smoothing, seed=seed, device="cpu",
    )  # fmt: skip

    kernels = [parameter for parameter in expected.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in expected.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": kernels, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0}],
        lr=lr, momentum=momentum, nesterov=momentum > 0,
    )  # fmt: skip
    batches = math.ceil(count / batch_size)
    steps = epochs * batches
    peak = max(1, round(WARM_UP * steps))
    torch.manual_seed(seed)
    step, losses = 0, []
    for _ in range(epochs):
        for batch in torch.randperm(count).tensor_split(batches):
            for group in optimizer.param_groups:
                group["lr"] = lr * min((step + 1) / peak, (steps - step) / (steps - peak + 1))
            loss = cross_entropy(
                expected(data.images[batch]), data.labels[batch], label_smoothing=label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
    torch.testing.assert_close(weights(model), weights(expected))
    last = sum(losses[-batches:]) / batches
    assert history.loss[-1] == pytest.approx(last)
    assert history.lr[-1] == pytest.approx(optimizer.param_groups[0]["lr"])


@given(steps=st.integers(1, 500))
def test_the_learning_rate_rises_and_falls(steps):
    rates = [triangular(steps, WARM_UP)(step) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == 1
    assert min(rates) > 0
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert abs((peak + 1) / steps - WARM_UP) <= 1 / steps or peak == 0


def test_the_same_seed_gives_the_same_weights_bit_for_bit(one_thread):
    data = images_with_a_bright_side(100)
    runs = []
    for seed in (3, 3, 4):
        model = nn.Sequential(nn.Dropout(0.2), small_model())  # draws while it trains
        fit(model, data, epochs=2, flip=True, seed=seed, device="cpu")
        runs.append(weights(model))
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_global_random_numbers_go_on_as_if_nothing_had_been_drawn():
    model = nn.Sequential(nn.Dropout(0.5), small_model())
    torch.manual_seed(0)
    expected = torch.rand(5)
    torch.manual_seed(0)
    fit(model, images_with_a_bright_side(20), epochs=1, flip=True)
    assert torch.equal(torch.rand(5), expected)


class Recorder(nn.Module):
    """Keeps the images that it sees in training; can stop as Ctrl-C does."""

    def __init__(self, stop_at_call: int | None = None):
        super().__init__()
        self.linear = nn.Linear(16, 2)
        self.seen: list[torch.Tensor] = []
        self.calls, self.stop_at_call = 0, stop_at_call

    def forward(self, images):
        self.calls += 1
        if self.calls == self.stop_at_call:
            raise KeyboardInterrupt
        if self.training:
            self.seen.append(images.clone())
        return self.linear(images.flatten(1))


@pytest.mark.parametrize(("count", "batch_size", "sizes"), [(10, 4, [4, 3, 3]), (3, 8, [3])])
def test_each_epoch_takes_each_image_once_in_a_new_order(count, batch_size, sizes):
    data = images_with_a_bright_side(count)
    model = Recorder()
    fit(model, data, epochs=2, batch_size=batch_size, device="cpu")
    assert [len(batch) for batch in model.seen] == sizes * 2
    epochs = [torch.cat(part) for part in (model.seen[: len(sizes)], model.seen[len(sizes) :])]
    orders = []
    for epoch in epochs:
        same = (epoch[:, None] == data.images[None]).all(dim=(2, 3, 4))
        assert torch.equal(same.sum(0), torch.ones(count, dtype=torch.int64))
        orders.append(same.int().argmax(1).tolist())
    if count > 3:
        assert orders[0] != orders[1]


def test_flip_mirrors_half_of_the_images_left_to_right():
    data = images_with_a_bright_side(2000)
    model = Recorder()
    fit(model, data, epochs=1, flip=True, device="cpu")
    seen = torch.cat(model.seen)
    order = torch.cat([seen, seen.flip(3)]).flatten(1)
    originals = {tuple(image.tolist()) for image in data.images.flatten(1)}
    plain = sum(tuple(image.tolist()) in originals for image in order[:2000])
    mirrored = sum(tuple(image.tolist()) in originals for image in order[2000:])
    assert plain + mirrored == 2000
    assert 850 < plain < 1150  # 6.7 standard deviations


@pytest.mark.parametrize(
    ("stop_at_call", "epochs_done"),
    # Calls: one on train, one on test to see that they fit; then an epoch is 2 steps and 1 test.
    [(3, 0), (4, 0), (5, 0), (6, 1), (8, 1), (11, 2)],
)
def test_ctrl_c_keeps_what_was_learned(stop_at_call, epochs_done):
    data = images_with_a_bright_side(8)
    model = Recorder(stop_at_call)
    before = weights(model).clone()
    history = fit(model, data, data, epochs=100, batch_size=4)
    assert history.interrupted
    assert len(history) == len(history.test_accuracy) == len(history.lr) == epochs_done
    assert torch.equal(weights(model), before) == (stop_at_call == 3)
    assert not model.training
    assert repr(history).endswith("interrupted")
    model.stop_at_call = None
    assert len(fit(model, data, epochs=1)) == 1  # it can go on


def test_gradients_from_before_do_not_count():
    data = images_with_a_bright_side(8)
    fresh, used = small_model(), small_model()
    for parameter in used.parameters():
        parameter.grad = torch.full_like(parameter, 1000.0)
    fit(fresh, data, epochs=1)
    fit(used, data, epochs=1)
    assert torch.equal(weights(fresh), weights(used))


def test_no_bar_where_tqdm_is_switched_off(monkeypatch, capsys):
    for switched_off in (False, True):
        if switched_off:
            monkeypatch.setenv("TQDM_DISABLE", "1")
        else:
            monkeypatch.delenv("TQDM_DISABLE", raising=False)
        fit(small_model(), images_with_a_bright_side(8), epochs=1)
        assert (capsys.readouterr().err == "") == switched_off


def test_a_loss_that_is_not_finite_is_named():
    data = images_with_a_bright_side(64)
    model = small_model()
    with pytest.raises(
        FloatingPointError, match=r"lr=1e\+30: the loss is (nan|inf) in epoch 1, step [2-8]"
    ):
        fit(model, data, epochs=3, lr=1e30, batch_size=8)
    assert not model.training
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_predict_and_evaluate():
    data = images_with_a_bright_side(50)
    model = small_model().train()
    classes = predict(model, data.images, batch_size=7)
    assert model.training
    model.eval()
    with torch.no_grad():
        expected = model(data.images).argmax(1)
    assert torch.equal(classes, expected)
    assert evaluate(model, data) == (expected == data.labels).double().mean()
    assert not model.training
    with pytest.raises(ValueError, match="data: no images"):
        evaluate(model, data[:0])


def test_history_is_a_table():
    history = History([2.0, 1.0], [0.3, 0.5], [0.25, 0.75], [0.1, 0.05])
    assert repr(history).splitlines() == [
        "epoch    loss   train    test       lr",
        "    1   2.000   30.0%   25.0%   0.1000",
        "    2   1.000   50.0%   75.0%   0.0500",
    ]
    assert repr(History([2.0], [0.3], [], [0.1])).endswith("30.0%       –   0.1000")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be a whole number ≥ 1"),
        ({"epochs": 1.5}, "epochs=1.5: must be"),
        ({"batch_size": 0}, "batch_size=0: must be"),
        ({"lr": 0}, "lr=0: must be > 0"),
        ({"lr": -0.1}, "lr=-0.1: must be"),
        ({"lr": math.nan}, "lr=nan: must be"),
        ({"lr": math.inf}, "lr=inf: must be"),
        ({"momentum": 1}, "momentum=1: must be ≥ 0 and < 1"),
        ({"momentum": -0.1}, "momentum=-0.1: must be"),
        ({"weight_decay": -1}, "weight_decay=-1: must be ≥ 0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: must be"),
        ({"shift": -1}, "shift=-1: must be a whole number ≥ 0"),
        ({"shift": 0.5}, "shift=0.5: must be a whole number ≥ 0"),
        ({"schedule": lambda step: 1.0 - step}, "schedule: gives -1.0 at step 2, must be ≥ 0"),
        ({"schedule": lambda step: math.nan}, "schedule: gives nan at step 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(small_model(), images_with_a_bright_side(4), **({"epochs": 3} | settings))


def test_what_does_not_fit_is_named():
    data = images_with_a_bright_side(4)
    model = small_model()
    frozen = small_model().requires_grad_(False)
    three = LabelledImages(data.images, data.labels, ("a", "b", "c"))
    large = LabelledImages(torch.rand(2, 1, 5, 5), torch.tensor([0, 1]), ("left", "right"))
    for error, message, arguments in [
        (TypeError, "model: a function, must be", (lambda images: images, data)),
        (ValueError, "model: must have parameters", (frozen, data)),
        (TypeError, "train: a tuple, must be LabelledImages", (model, (data.images, data.labels))),
        (ValueError, "train: no images", (model, data[:0])),
        (ValueError, "test: no images", (model, data, data[:0])),
        (ValueError, r"test: the model fails on an image \(1, 5, 5\)", (model, data, large)),
        (ValueError, r"gives \(1, 2\) for one image of train, must give \(1, 3\)", (model, three)),
        (ValueError, r"gives \(1, 4, 4, 4\) for one", (nn.Conv2d(1, 4, 1), data)),
    ]:
        with pytest.raises(error, match=message):
            fit(*arguments, epochs=1)
    with pytest.raises(TypeError, match="schedule: a float, must be a function of the step"):
        fit(model, data, epochs=1, schedule=0.1)


def test_a_schedule_of_ones_is_a_constant_learning_rate():
    data = images_with_a_bright_side(40)
    model = small_model()
    history = fit(model, data, epochs=3, batch_size=10, lr=0.02, schedule=one_cycle(12))
    assert history.lr == [0.02 * one_cycle(12)(step) for step in (3, 7, 11)]

    constant, torchs = small_model(), small_model()
    fit(constant, data, epochs=4, batch_size=40, lr=0.02, weight_decay=0, schedule=lambda step: 1)
    optimizer = torch.optim.SGD(torchs.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    for _ in range(4):  # one batch an epoch: the order does not matter
        optimizer.zero_grad()
        cross_entropy(torchs(data.images), data.labels).backward()
        optimizer.step()
    torch.testing.assert_close(weights(constant), weights(torchs))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_each_image_moves_by_whole_pixels_and_zeros_come_in(most, H, W, seed):
    torch.manual_seed(seed)
    images = torch.rand(20, 2, H, W) + 0.1
    moved = d2lite.train._move(images, most)
    padded = torch.nn.functional.pad(images, [most] * 4)
    found = set()
    for before, after in zip(padded, moved, strict=True):
        places = [
            (i, j)
            for i in range(2 * most + 1)
            for j in range(2 * most + 1)
            if torch.equal(before[:, i : i + H, j : j + W], after)
        ]
        assert places
        found |= set(places)
    assert len(found) > 1


def test_every_move_is_as_likely():
    torch.manual_seed(0)
    images = torch.zeros(9000, 1, 5, 5)
    images[:, :, 2, 2] = 1
    counts = d2lite.train._move(images, 1).sum((0, 1))
    assert counts.sum() == 9000
    assert (counts[1:4, 1:4] - 1000).abs().max() < 5 * 1000**0.5


def test_moving_helps_where_things_are_elsewhere():
    train = images_with_a_bright_side(200)
    plain, moved = small_model(), small_model()
    fit(plain, train, epochs=1)
    fit(moved, train, epochs=1, shift=1)
    assert not torch.equal(weights(plain), weights(moved))


def test_bfloat16_computes_scores_and_keeps_the_weights_in_float32():
    train, test = images_with_a_bright_side(400), images_with_a_bright_side(200, seed=1)
    seen = set()
    model = small_model()
    model[0].register_forward_hook(lambda module, _, output: seen.add(output.dtype))
    fit(model, train, epochs=5, bfloat16=True)
    assert seen == {torch.float32, torch.bfloat16}  # the first to try the model, without training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert evaluate(model, test) > 0.95
    exact = small_model()
    fit(exact, train, epochs=5)
    assert not torch.equal(weights(model), weights(exact))


class TwoHeads(nn.Module):
    """Give two heads' scores in training, the first head's otherwise."""

    def __init__(self):
        super().__init__()
        self.main, self.auxiliary = nn.Linear(16, 2), nn.Linear(16, 2)

    def forward(self, images):
        x = images.flatten(1)
        return (self.main(x), self.auxiliary(x)) if self.training else self.main(x)


def test_an_auxiliary_head_learns_at_three_tenths():
    data = images_with_a_bright_side(40)
    torch.manual_seed(0)
    model = TwoHeads()
    expected = copy.deepcopy(model)
    history = fit(model, data, epochs=1, batch_size=40, lr=0.1, weight_decay=0, momentum=0)
    main, auxiliary = expected(data.images)
    loss = cross_entropy(main, data.labels) + 0.3 * cross_entropy(auxiliary, data.labels)
    loss.backward()
    assert history.loss[0] == pytest.approx(loss.item())
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * theirs.grad)


def test_parameters_without_a_part_in_the_scores_stay():
    model = small_model()
    model.register_parameter("unused", nn.Parameter(torch.ones(3, 3)))
    model[4].weight.requires_grad_(False)
    before = model[4].weight.clone()
    fit(model, images_with_a_bright_side(8), epochs=1)
    assert torch.equal(model.unused, torch.ones_like(model.unused))
    assert torch.equal(model[4].weight, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu():
    train, test = images_with_a_bright_side(400), images_with_a_bright_side(200, seed=1)
    model = small_model()
    torch.cuda.manual_seed(0)
    expected = torch.rand(5, device="cuda")
    torch.cuda.manual_seed(0)
    history = fit(model, train, test, epochs=5, flip=True)
    assert torch.equal(torch.rand(5, device="cuda"), expected)
    assert next(model.parameters()).is_cuda
    assert history.test_accuracy[-1] > 0.9
    assert predict(model, test.images).device.type == "cpu"

"""The training loop: the same steps as PyTorch's own, repeatable, and clear when it fails."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import cross_entropy, mse_loss
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from d2lite.conv import conv2d
from d2lite.data import LabelledImages
from d2lite.data.augment import flip, shift
from d2lite.losses import classification
from d2lite.nets.googlenet import auxiliary_loss
from d2lite.schedules import lr_range_test, one_cycle, triangular
from d2lite.train import MOMENTUM, WARM_UP, History, evaluate, fit, predict


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
    weight_decay=st.sampled_from([0.0, 5e-4, 0.1]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_the_steps_are_those_of_torch_optim(
    count, batch_size, epochs, lr, weight_decay, label_smoothing, seed
):
    data = images_with_a_bright_side(count)
    # In double precision, and without batch normalization, so that rounding does not grow.
    data = LabelledImages(data.images.double(), data.labels, data.classes)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2)).double()
    expected = copy.deepcopy(model)
    history = fit(
        model, data, epochs=epochs, lr=lr, batch_size=batch_size, weight_decay=weight_decay,
        loss=partial(classification, label_smoothing=label_smoothing), seed=seed, device="cpu",
    )  # fmt: skip

    kernels = [parameter for parameter in expected.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in expected.parameters() if parameter.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": kernels, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0}],
        lr=lr, momentum=MOMENTUM, nesterov=True,
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
        fit(model, data, epochs=2, augment=flip, seed=seed, device="cpu")
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
    fit(model, images_with_a_bright_side(20), epochs=1, augment=flip)
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


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_not_blamed_on_the_rate(wrong):
    data, model = images_with_a_bright_side(20), small_model()
    spoilt = data[:]
    spoilt = LabelledImages(data.images.clone(), data.labels, data.classes)
    spoilt.images[7, 0, 1, 2] = wrong
    before = weights(model).clone()
    with pytest.raises(ValueError, match=r"train=.*: must be finite, but example 7 is not"):
        fit(model, spoilt, epochs=1)
    with pytest.raises(ValueError, match=r"test=.*: must be finite, but example 7 is not"):
        fit(model, data, spoilt, epochs=1)
    with pytest.raises(ValueError, match=r"data=.*: must be finite, but example 7 is not"):
        evaluate(model, spoilt)
    assert torch.equal(weights(model), before)

    def spoil(images, labels):
        return images * (wrong if drawn() else 1), labels

    calls = iter([False, True])
    drawn = partial(next, calls)
    with pytest.raises(FloatingPointError, match=r"augment: the loss is .* in epoch 1, step 2"):
        fit(model, data, epochs=1, batch_size=5, augment=spoil)
    with torch.no_grad():
        model[4].weight[0, 0] = wrong
    with pytest.raises(ValueError, match=r"model: 4\.weight is not finite; make the model anew"):
        fit(model, data, epochs=1)


def test_a_loss_that_was_never_finite_is_not_blamed_on_the_rate():
    data = images_with_a_bright_side(20)
    with pytest.raises(FloatingPointError, match=r"model: the loss is -?inf in epoch 1, step 1,"):
        fit(small_model(), data, epochs=1, loss=lambda model, x, y: model(x).sum() / 0)
    large = LabelledImages(data.images * 1e38, data.labels, data.classes)
    with pytest.raises(
        FloatingPointError, match="before any step, so that the rate is not to blame"
    ):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), large, epochs=1)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 128), (4, 1), (3, 2)])
def test_a_batch_of_one_is_named_where_the_model_needs_more(count, batch_size):
    data = images_with_a_bright_side(count)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="a batch of one example, on which the model fails: Exp"):
        fit(model, data, epochs=1, batch_size=batch_size)
    fit(small_model(), data, epochs=1, batch_size=batch_size)  # has the pixels of one image


class LocallyConnected(nn.Module):
    """A kernel of its own for each place: weights of five axes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 2, 1, 9, 2) / 3)  # H, W, C, kernel, features

    def forward(self, images):
        patches = nn.functional.unfold(images, 3).reshape(len(images), 1, 9, 2, 2)
        return torch.einsum("nckhw,hwckf->nf", patches, self.weight)


class Viewing(nn.Module):
    """Calls ``view``, which fails on maps that are channels last."""

    def __init__(self):
        super().__init__()
        self.conv, self.linear = nn.Conv2d(1, 3, 3), nn.Linear(12, 2)

    def forward(self, images):
        return self.linear(self.conv(images).view(-1, 12))


@pytest.mark.parametrize("make", [LocallyConnected, Viewing, lambda: nn.Sequential(
    nn.Unflatten(1, (1, 1)), nn.Conv3d(1, 3, (1, 3, 3)), nn.BatchNorm3d(3), nn.Flatten(),
    nn.Linear(12, 2),
)])  # fmt: skip
def test_kernels_of_five_axes_and_models_that_view(make):
    torch.manual_seed(0)
    train, model = images_with_a_bright_side(200), make()
    history = fit(model, train, images_with_a_bright_side(100, seed=1), epochs=5)
    assert history.test_accuracy[-1] > 0.9
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_lazy_layers():
    def lazy():
        return nn.Sequential(
            nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2)
        )

    data, model, ready = images_with_a_bright_side(100), lazy(), lazy()
    torch.manual_seed(0)
    ready.eval()(data.images[:1])
    fit(ready, data, epochs=2)
    torch.manual_seed(0)
    fit(model, data, epochs=2)
    torch.testing.assert_close(weights(model), weights(ready))


def autoencoding(model, x):
    return mse_loss(model(x), x)


@pytest.mark.parametrize("kind", [lambda x: x, lambda x: [x], lambda x: (x,), TensorDataset])
def test_an_autoencoder_of_any_kind_of_data_set(kind):
    torch.manual_seed(0)
    x = torch.randn(300, 2) @ torch.randn(2, 5)
    model = nn.Sequential(nn.Linear(5, 2), nn.Linear(2, 5))
    before = autoencoding(model, x).item()
    history = fit(model, kind(x[:200]), kind(x[200:]), epochs=20, batch_size=20, loss=autoencoding)
    assert history.loss[-1] < before / 20
    assert history.test_loss[-1] == pytest.approx(autoencoding(model, x[200:]).item(), rel=1e-4)
    assert not history.train_accuracy and not history.test_accuracy
    first = f"    1 {history.loss[0]:7.3f} {history.test_loss[0]:7.3f} {history.lr[0]:8.4f}"
    assert repr(history).splitlines()[:2] == ["epoch    loss    test       lr", first]


def test_labels_for_each_pixel_or_word_some_of_them_ignored():
    images = images_with_a_bright_side(100).images
    labels = (images > 0.75).long()[:, 0]
    model = nn.Conv2d(1, 2, 1)
    history = fit(model, (images, labels), (images, labels), epochs=10, batch_size=10, lr=1)
    assert history.test_accuracy[-1] == evaluate(model, (images, labels)) > 0.9
    padded = labels.clone()
    padded[:, 2:] = -100
    history = fit(model, (images, padded), (images, padded), epochs=1, lr=1e-9)
    right = predict(model, images) == labels
    assert history.test_accuracy[-1] == right[:, :2].double().mean().item()
    assert history.test_accuracy[-1] == evaluate(model, (images, padded))


def test_transforms_of_torchvision_augment():
    data = images_with_a_bright_side(200)
    mix = v2.Compose([flip, v2.MixUp(num_classes=2)])
    history = fit(small_model(), data, data, epochs=3, augment=mix)
    assert history.train_accuracy and history.loss[-1] > history.test_loss[-1]


def test_the_loss_must_be_a_scalar():
    data = images_with_a_bright_side(4)
    for loss, gives in [
        (lambda model, x, y: model(x)[:, 0], r"float32 \(4,\)"),
        (lambda model, x, y: 0.5, "0.5"),
    ]:
        with pytest.raises(ValueError, match=f"loss: gives {gives}, must give a scalar tensor"):
            fit(small_model(), data, epochs=1, loss=loss)
    with pytest.raises(ValueError, match=r"train: the model fails on a batch .* positional"):
        fit(small_model(), data, epochs=1, loss=autoencoding)


def test_scores_that_are_no_numbers():
    class Dead(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] * math.nan

    data = images_with_a_bright_side(4)
    for measure in (lambda: evaluate(Dead(), data), lambda: predict(Dead(), data.images)):
        with pytest.raises(FloatingPointError, match="a score is NaN"):
            measure()

    class Dying(nn.Linear):
        trials = 2  # of fit: on the training data and on the test data

        def forward(self, images):
            self.trials -= not self.training
            return super().forward(images.flatten(1)) * (math.nan if self.trials < 0 else 1)

    with pytest.raises(FloatingPointError, match="a score is NaN"):
        fit(Dying(16, 2), data, data, epochs=1)


def test_each_module_is_left_in_its_own_mode():
    model = small_model().train()
    model[1].eval()  # as where batch normalization is frozen
    modes = [module.training for module in model.modules()]
    evaluate(model, images_with_a_bright_side(4))
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(RuntimeError):
        predict(model, torch.zeros(2, 1, 9, 9))
    assert [module.training for module in model.modules()] == modes


def test_ctrl_c_in_a_backward_pass_leaves_no_gradients():
    def stop(gradient):
        raise KeyboardInterrupt

    model = small_model()
    model[0].weight.register_hook(stop)
    assert fit(model, images_with_a_bright_side(4), epochs=1).interrupted
    assert all(parameter.grad is None for parameter in model.parameters())
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
    with pytest.raises(ValueError, match=r"data=.*: no examples, must be one"):
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
    ("settings", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs=0: must be ≥ 1"),
        ({"epochs": 1.5}, TypeError, "epochs=1.5: must be an int"),
        ({"epochs": True}, TypeError, "epochs=True: must be an int"),
        ({"batch_size": 0}, ValueError, "batch_size=0: must be ≥ 1"),
        ({"batch_size": True}, TypeError, "batch_size=True: must be an int"),
        ({"lr": 0}, ValueError, "lr=0: must be > 0"),
        ({"lr": -0.1}, ValueError, "lr=-0.1: must be > 0"),
        ({"lr": math.nan}, ValueError, "lr=nan: must be > 0 and finite"),
        ({"lr": math.inf}, ValueError, "lr=inf: must be > 0 and finite"),
        ({"lr": "high"}, TypeError, "lr='high': must be a number"),
        ({"weight_decay": -1}, ValueError, "weight_decay=-1: must be ≥ 0"),
        ({"schedule": lambda step: 1.0 - step}, ValueError, "schedule: gives -1.0 at step 2, must"),
        ({"schedule": lambda step: math.nan}, ValueError, "schedule: gives nan at step 0"),
        ({"schedule": 0.1}, TypeError, "schedule=0.1: must be a function"),
        ({"loss": None}, TypeError, "loss=None: must be a function"),
        ({"augment": True}, TypeError, "augment=True: must be a function"),
        ({"bfloat16": 1}, TypeError, "bfloat16=1: must be True or False"),
    ],
)
def test_settings_out_of_range(settings, error, message):
    with pytest.raises(error, match=message):
        fit(small_model(), images_with_a_bright_side(4), **({"epochs": 3} | settings))


def test_settings_may_be_numpys(one_thread):
    data = images_with_a_bright_side(20)
    settings = {"epochs": 2, "batch_size": 8, "lr": 0.125, "weight_decay": 0.25, "seed": 3}
    models = small_model(), small_model()
    ours = fit(models[0], data, **settings)
    theirs = fit(models[1], data, **{name: np.array(v)[()] for name, v in settings.items()})
    assert torch.equal(weights(models[0]), weights(models[1]))
    assert ours.lr == theirs.lr and repr(ours) == repr(theirs)
    tiny = {"epochs": np.int8(100), "batch_size": np.uint8(10), "lr": np.float32(0.1)}
    assert len(fit(small_model(), data, **tiny)) == 100  # 200 steps, which are no int8


def test_what_does_not_fit_is_named():
    data = images_with_a_bright_side(4)
    images, labels = data.tensors
    model = small_model()
    frozen = small_model().requires_grad_(False)
    three = LabelledImages(images, labels, ("a", "b", "c"))
    large = LabelledImages(torch.rand(2, 1, 5, 5), torch.tensor([0, 1]), ("left", "right"))
    double = LabelledImages(images.double(), labels, data.classes)
    for error, message, arguments in [
        (TypeError, "model=.*: must be a Module", (lambda images: images, data)),
        (ValueError, "model: must have parameters", (frozen, data)),
        (ValueError, "model: must have parameters", (nn.Flatten(), data)),
        (TypeError, "train=a DataLoader: must be LabelledImages, or a tensor", (
            model, torch.utils.data.DataLoader(data))),
        (TypeError, "train=None: must be LabelledImages", (model, None)),
        (TypeError, "train=a tuple: must be LabelledImages", (model, (images.numpy(), labels))),
        (ValueError, r"train=\(\): must be tensors whose first axis is N", (model, ())),
        (ValueError, r"train=.*: must be tensors whose first axis", (model, torch.tensor(1.0))),
        (ValueError, "train=.*: must be tensors of equal length, are 3 and 4", (
            model, (images, labels[:3]))),
        (ValueError, "train=LabelledImages.*: no examples", (model, data[:0])),
        (ValueError, "test=LabelledImages.*: no examples", (model, data, data[:0])),
        (ValueError, r"test: the model fails on a batch float32 \(2, 1, 5, 5\), int64 \(2,\): ", (
            model, data, large)),
        (ValueError, r"model fails on a batch float64 .*(double|Double)", (model, double)),
        (ValueError, r"gives \(4, 2\) for 4 images of train, must give \(4, 3\)", (model, three)),
        (ValueError, "train: the model fails on a batch", (nn.Conv2d(1, 4, 1), data)),
        (ValueError, "train: labels up to 2, but the model gives 2 scores", (
            model, (torch.rand(200, 1, 4, 4), torch.arange(200) // 199 * 2))),
        (ValueError, "train: the model fails on a batch .*: Target 7 is out of bounds", (
            model, (images, labels + 7 - labels))),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            fit(*arguments, epochs=1)


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


def test_what_augments_changes_each_batch():
    train = images_with_a_bright_side(200)
    plain, moved = small_model(), small_model()
    fit(plain, train, epochs=1)
    fit(moved, train, epochs=1, augment=shift)
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


class Ours(nn.Conv2d):
    """PyTorch's layer, computed by ``d2lite.conv.conv2d``."""

    def forward(self, maps):
        return conv2d(maps, self.weight, self.bias, padding=self.padding)


def test_bfloat16_in_layers_of_ours():
    """What ``torch.autocast`` makes of nn.Conv2d: scores in bfloat16, the gradient in float32."""
    train = images_with_a_bright_side(200)
    accuracies = []
    for convolution in (nn.Conv2d, Ours):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 1), convolution(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(),
            nn.Linear(64, 2),
        )  # fmt: skip
        history = fit(model, train, epochs=5, bfloat16=True)
        accuracies.append(history.train_accuracy[-1])
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert min(accuracies) > 0.95


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
    step = {"epochs": 1, "batch_size": 40, "lr": 0.1, "weight_decay": 0}
    history = fit(model, data, data, **step, loss=auxiliary_loss)
    main, auxiliary = expected(data.images)
    loss = cross_entropy(main, data.labels) + 0.3 * cross_entropy(auxiliary, data.labels)
    loss.backward()
    assert history.loss[0] == pytest.approx(loss.item())
    assert history.test_accuracy == [evaluate(model, data)]
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs - 0.1 * (1 + MOMENTUM) * theirs.grad)


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
    history = fit(model, train, test, epochs=5, augment=flip)
    assert torch.equal(torch.rand(5, device="cuda"), expected)
    assert not next(model.parameters()).is_cuda  # so that the next line may use images as they are
    assert history.test_accuracy[-1] > 0.9
    assert predict(model, test.images).device.type == "cpu"


def test_evaluate_needs_a_label_that_counts() -> None:
    with pytest.raises(ValueError, match="data: no label is ≥ 0"):
        evaluate(nn.Identity(), (torch.eye(2), torch.tensor([-100, -1])))


def binary(model, x, y):
    scores = model(x)
    return F.binary_cross_entropy_with_logits(scores, y), scores


def test_labels_of_another_form_are_no_accuracy():
    """Compared as they are, (N,) and (N, 1) would meet each with each: 20 of 1 were right."""
    images, labels = images_with_a_bright_side(40).tensors
    model, shares = small_model(), F.one_hot(labels, 2)
    accuracy = evaluate(model, (images, labels))
    assert evaluate(model, (images, shares.double())) == accuracy
    column = labels[:, None]
    for wrong, text in [(column, r"int64 \(40, 1\)"), (shares, r"int64 \(40, 2\)")]:
        with pytest.raises(ValueError, match=rf"data: labels {text}, must be \(40,\)"):
            evaluate(model, (images, wrong))
    with pytest.raises(ValueError, match="data: tensors: 1, must be 2, images and labels"):
        evaluate(model, images)

    def of_column(model, x, y):
        scores = model(x)
        return cross_entropy(scores, y[:, 0]), scores

    with pytest.raises(ValueError, match=r"train: labels int64 \(40, 1\), must be \(40,\)"):
        fit(model, (images, column), epochs=1, loss=of_column)


def test_a_single_score_is_no_choice():
    """It is always the highest, so that every example would be of class 0."""
    images, labels = images_with_a_bright_side(40).tensors
    one = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    column = labels[:, None].float()
    message = r"model: its scores are float32 \(40, 1\), must be \(N, C, …\), of C ≥ 2 classes"
    with pytest.raises(ValueError, match=message):
        fit(one, (images, column), epochs=1, loss=binary)
    with pytest.raises(ValueError, match=message):
        evaluate(one, (images, labels))
    history = fit(one, (images, column), epochs=1, loss=lambda *batch: binary(*batch)[0])
    assert not history.train_accuracy
    with pytest.raises(ValueError, match="its scores are a tuple, must be"):
        predict(nn.LSTM(4, 4), images[:, 0])


def test_a_batch_in_which_no_label_counts_is_named():
    images, labels = images_with_a_bright_side(40).tensors
    labels = torch.where(torch.arange(40) < 2, labels, -100)
    with pytest.raises(
        FloatingPointError, match=r"labels: the loss is nan .*, so that none counts"
    ):
        fit(small_model(), (images, labels), epochs=1, batch_size=2)


@pytest.mark.parametrize("train", [fit, lr_range_test])
def test_likely_mistakes_are_named(train):
    data = images_with_a_bright_side(4)
    settings = {"epochs": 1} if train is fit else {"steps": 2}
    for error, message, wrong in [
        (TypeError, "seed=None: must be an int", {"seed": None}),
        (TypeError, "seed=1.5: must be an int", {"seed": 1.5}),
        (TypeError, "augment: gives None, must give the tensors of a batch", {
            "augment": lambda x, y: None}),
        (TypeError, "augment: gives a tuple, must give the tensors", {
            "augment": lambda x, y: (x.numpy(), y)}),
        (ValueError, r"fails .* 4 were given; the loss is called as loss\(model, \*batch\)", {
            "loss": nn.CrossEntropyLoss()}),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            train(small_model(), data, **settings, **wrong)
    with pytest.raises(ValueError, match="model: must have parameters that require a gradient"):
        train(small_model().requires_grad_(False), data, **settings)


def test_an_embedding_with_sparse_gradients_learns_as_another(one_thread):
    words, labels = torch.randint(10, (40, 3)), torch.arange(40) % 2
    learned = []
    for sparse in (False, True):
        torch.manual_seed(0)
        embedding = nn.Embedding(10, 4, sparse=sparse)
        model = nn.Sequential(embedding, nn.Flatten(), nn.Linear(12, 2))
        fit(model, (words, labels), epochs=2, batch_size=10)
        learned.append(weights(model))
    assert torch.equal(*learned)

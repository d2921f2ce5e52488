"""The training engine of the page against PyTorch: gradients, statistics, optimizers, losses."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from d2lite.data import fashion_mnist

FOLDER = ROOT / "d2lite" / "explore"
TRAIN, _ = fashion_mnist()
WAYS = [pytest.param(True, id="WebAssembly"), pytest.param(False, id="JavaScript")]

# What runs in Node: a network, and what it is asked for. Numbers travel as base64.
DRIVER = """
const decode = (text, Type) =>
  new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const encode = (values) => btoa(Array.from(new Uint8Array(values.buffer, values.byteOffset,
  values.byteLength), (byte) => String.fromCharCode(byte)).join(""));
const encoded = (list, key) =>
  Object.fromEntries(list.map((each) => [each.name, encode(each[key])]));
const start = (simd) => trainingEngine(simd ? decode(TRAINING_KERNELS, Uint8Array) : null);

export function train(simd, { layers, shape, start: weights, images, labels, steps, masks = {} }) {
  const engine = start(simd);
  if (engine.simd !== simd) throw new Error("no WebAssembly");
  const net = engine.network(layers, shape);
  for (const name in weights) net.set(name, decode(weights[name], Float32Array));
  const batch = decode(images, Float32Array), answers = decode(labels, Uint8Array);
  const n = answers.length, shown = layers.map((_, i) => i);
  masks = Object.fromEntries(Object.entries(masks).map(
    ([at, mask]) => [at, decode(mask, Float32Array)]));
  const found = steps.map((options) => {
    const ask = options.optimizer ? net.step : net.backward;
    return { ...ask(batch, answers, n, { ...options, masks }), ...options.whole && {
      gradients: encoded(net.parameters, "gradient"), parameters: encoded(net.parameters, "data"),
      activations: shown.map((i) => encode(net.activation(i))),
      slopes: shown.map((i) => encode(net.activationGradient(i))) } };
  });
  return { found, shapes: net.shapes, buffers: encoded(net.buffers, "data"),
    scores: encode(net.forward(batch, n)) };
}

/** Ask for anything: an expression of `engine`. */
export const tell = (simd, expression) => new Function("engine", `try { return ${expression} }
  catch (error) { return error.message }`)(start(simd));
"""


class Engine:
    """Stands for an explorer: what Node runs."""

    _esm = "\n".join(
        [(FOLDER / f"training_{part}.js").read_text("utf-8") for part in ("engine", "kernels")]
        + [DRIVER]
    )


# ---- The same in PyTorch -------------------------------------------------------------------------


class Dropout(nn.Module):
    """Dropout by a given mask."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.mask = p, torch.ones(1)

    def forward(self, x: Tensor) -> Tensor:
        """Drop where the mask is 0; without training, nothing."""
        return x * self.mask / (1 - self.p) if self.training else x


ACTIVATIONS = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def build(layers: list[dict[str, Any]], shape: tuple[int, ...]) -> nn.Sequential:
    """Make the network that the page trains."""
    model, x = nn.Sequential(), torch.zeros(2, *shape)
    for kind, layer in ((layer["kind"], layer) for layer in layers):
        if kind == "conv":
            sizes = (layer[name] for name in ("channels", "kernel", "stride", "padding"))
            model.append(nn.Conv2d(x.shape[1], *sizes))
        elif kind == "dense":
            model.append(nn.Linear(x.shape[1], layer["units"]))
        elif kind == "batchnorm":
            model.append((nn.BatchNorm2d if x.ndim == 4 else nn.BatchNorm1d)(x.shape[1]))
        elif kind in ("maxpool", "avgpool"):
            model.append((nn.MaxPool2d if kind == "maxpool" else nn.AvgPool2d)(layer["size"]))
        elif kind == "dropout":
            model.append(Dropout(layer["p"]))
        elif kind == "flatten":
            model.append(nn.Flatten())
        else:
            model.append(ACTIVATIONS[kind]())
        x = model[-1](x)
    for module in model:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
    return model


def text(values: Tensor, kind: type = np.float32) -> str:
    """Write numbers as base64."""
    return b64encode(values.detach().numpy().astype(kind).tobytes()).decode()


def numbers(text: str, like: Tensor) -> Tensor:
    """Read them."""
    return torch.tensor(np.frombuffer(b64decode(text), np.float32)).view_as(like)


def assert_near(found: str, expected: Tensor, scale: float = 0, share: float = 1e-5) -> None:
    """Assert that no number is further away than a share of the largest, or of a given scale."""
    error = (numbers(found, expected) - expected).abs().max()
    assert error <= share * max(expected.abs().max(), scale)


def case(
    layers: list[dict[str, Any]], model: nn.Sequential, images: Tensor, labels: Tensor
) -> dict[str, Any]:
    """Write what Node needs."""
    return {
        "layers": layers,
        "shape": images.shape[1:],
        "start": {name: text(p) for name, p in model.named_parameters()},
        "images": text(images),
        "labels": text(labels, np.uint8),
        "masks": {str(i): text(m.mask) for i, m in enumerate(model) if isinstance(m, Dropout)},
    }


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[dict[str, Any]], tuple[int, int, int]]:
    """Any small network that PyTorch allows, too, and the shape of its images."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((1, 9), (3, 12), (3, 12)))
    side, layers = list(shape[1:]), []
    free = [*ACTIVATIONS, "batchnorm", "dropout"]

    def anywhere(kind: str) -> dict[str, Any]:
        if kind == "batchnorm":  # one: a second makes the slope of the first vanish
            free.remove(kind)
        p = {"p": draw(st.sampled_from([0, 0.25, 0.5]))} if kind == "dropout" else {}
        return {"kind": kind} | p

    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["conv", "conv", "maxpool", "avgpool", *free]))
        if kind == "conv":
            k = draw(st.integers(1, 5))
            padding = draw(st.integers(0, k - 1))
            k = min(k, min(side) + 2 * padding)
            padding = min(padding, k - 1)
            stride = draw(st.integers(1, 3))
            if k > min(side) + 2 * padding:
                continue
            side = [(each + 2 * padding - k) // stride + 1 for each in side]
            sizes = {"kernel": k, "stride": stride, "padding": padding}
            layers.append({"kind": kind, "channels": draw(st.integers(1, 12))} | sizes)
        elif kind in ("maxpool", "avgpool"):
            size = draw(st.integers(1, min(3, *side)))
            side = [each // size for each in side]
            layers.append({"kind": kind, "size": size})
        else:
            layers.append(anywhere(kind))
    layers.append({"kind": "flatten"})
    for _ in range(draw(st.integers(0, 2))):
        layers += [
            {"kind": "dense", "units": draw(st.integers(1, 20))},
            anywhere(draw(st.sampled_from(free))),
        ]
    return [*layers, {"kind": "dense", "units": draw(st.integers(2, 12))}], shape


def decided(model: nn.Sequential, outputs: list[Tensor]) -> bool:
    """Whether rounding cannot turn a ReLU or the choice of a maximum, or be all of a variance."""
    for module, x in zip(model, outputs, strict=False):
        near = 1e-5 * x.abs().max()
        if isinstance(module, nn.ReLU | nn.LeakyReLU) and (x.abs() < near).any():
            return False
        if isinstance(module, nn.MaxPool2d) and module.kernel_size > 1:
            windows = x.unfold(2, *[module.kernel_size] * 2).unfold(3, *[module.kernel_size] * 2)
            first, second = windows.flatten(4).topk(2).values.unbind(-1)
            if ((first - second < near) & (first != 0)).any():
                return False
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            values = x.transpose(0, 1).flatten(1)
            if len(values[0]) < 8 or (values.std(1) < 0.03 * values.abs().amax(1)).any():
                return False
    return True


@pytest.mark.parametrize("simd", WAYS)
@settings(max_examples=60)
@given(networks(), st.integers(2, 9), st.integers(0, 99), st.sampled_from([0, 0.1, 1]))
def test_gradients_and_statistics_equal_pytorchs(
    javascript: Callable, simd: bool, network: tuple, n: int, seed: int, smoothing: float
) -> None:
    layers, shape = network
    torch.manual_seed(seed)
    model = build(layers, shape)
    images, labels = torch.randn(n, *shape), torch.randint(layers[-1]["units"], (n,))
    outputs = [images.requires_grad_()]
    for module in model:
        if isinstance(module, Dropout):
            module.mask = (torch.rand_like(outputs[-1]) >= module.p).float()
        outputs.append(module(outputs[-1]))
        outputs[-1].retain_grad()
    assume(decided(model, outputs))
    loss = cross_entropy(outputs[-1], labels, label_smoothing=smoothing)
    loss.backward()
    asked = {"steps": [{"labelSmoothing": smoothing, "whole": True}]}
    (told,) = javascript(Engine, "train", [[simd, case(layers, model, images, labels) | asked]])
    (found,) = told["found"]
    assert told["shapes"] == [list(output.shape[1:]) for output in outputs[1:]]
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert found["right"] == (outputs[-1].argmax(1) == labels).sum()
    for x, y, activation, slope in zip(
        outputs, outputs[1:], found["activations"], found["slopes"], strict=False
    ):
        assert_near(activation, y, x.abs().max())  # a ReLU may leave little of it
        assert_near(slope, y.grad)
    for name, p in model.named_parameters():
        of_weight = model.get_parameter(name.replace("bias", "weight")).grad
        assert_near(found["gradients"][name], p.grad, of_weight.abs().max())
    for name, values in told["buffers"].items():
        assert_near(values, model.get_buffer(name))
    assert_near(told["scores"], model.eval()(images))


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
#: A setting here, and in PyTorch.
KEYWORDS = {"weightDecay": "weight_decay"}

small = st.floats(0, 0.3)
SETTINGS = {"lr": st.floats(1e-4, 0.1), "weightDecay": small}
momentum = {"momentum": st.floats(0.1, 0.99)}
adam = {"betas": st.tuples(st.floats(0, 0.99), st.floats(0, 0.999)), "eps": st.floats(1e-8, 0.1)}
rmsprop = {"alpha": st.floats(0, 0.99), "eps": st.floats(1e-8, 0.1)}
OWN = {"sgd": {}, "momentum": momentum, "nesterov": momentum} | {"rmsprop": rmsprop}
OWN |= {"adam": adam, "adamw": adam}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@settings(max_examples=15)
@given(st.data(), st.integers(0, 99))
def test_each_step_of_an_optimizer_equals_pytorchs(
    javascript: Callable, optimizer: str, data: st.DataObject, seed: int
) -> None:
    """From the same gradients: those that the engine has found are given to PyTorch."""
    drawn = st.fixed_dictionaries({}, optional=SETTINGS | OWN[optimizer])
    options = data.draw(drawn)
    torch.manual_seed(seed)
    layers = [{"kind": "flatten"}, {"kind": "dense", "units": 4}, {"kind": "tanh"}]
    layers.append({"kind": "dense", "units": 3})
    images, labels = torch.randn(8, 1, 3, 3), torch.randint(3, (8,))
    model = build(layers, images.shape[1:])
    theirs = OPTIMIZERS[optimizer](
        model.parameters(), **{KEYWORDS.get(name, name): value for name, value in options.items()}
    )
    asked = {"steps": [{"optimizer": optimizer, "whole": True} | options] * 6}
    given = case(layers, model, images, labels) | asked
    (told,) = javascript(Engine, "train", [[False, given]])
    for found in told["found"]:
        for name, p in model.named_parameters():
            p.grad = numbers(found["gradients"][name], p)
        theirs.step()
        for name, p in model.named_parameters():
            assert_near(found["parameters"][name], p.detach())


CHAIN = [
    {"kind": "conv", "channels": 8, "kernel": 3, "stride": 1, "padding": 1},
    {"kind": "batchnorm"},
    {"kind": "relu"},
    {"kind": "maxpool", "size": 2},
    {"kind": "conv", "channels": 12, "kernel": 3, "stride": 1, "padding": 1},
    {"kind": "batchnorm"},
    {"kind": "gelu"},
    {"kind": "avgpool", "size": 2},
    {"kind": "flatten"},
    {"kind": "dense", "units": 20},
    {"kind": "tanh"},
    {"kind": "dense", "units": 10},
]


@pytest.mark.parametrize("simd", WAYS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_losses_equal_pytorchs(javascript: Callable, simd: bool, optimizer: str) -> None:
    lr = {"sgd": 0.05, "momentum": 0.02, "nesterov": 0.02}.get(optimizer, 1e-3)
    images, labels = TRAIN.images[:32], TRAIN.labels[:32]
    torch.manual_seed(0)
    model = build(CHAIN, images.shape[1:])
    asked = {"steps": [{"optimizer": optimizer, "lr": lr}] * 50}
    (told,) = javascript(Engine, "train", [[simd, case(CHAIN, model, images, labels) | asked]])
    theirs = OPTIMIZERS[optimizer](model.parameters(), lr=lr)
    losses = []
    for _ in range(50):
        theirs.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        theirs.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert [step["loss"] for step in told["found"]] == pytest.approx(losses, rel=1e-4)

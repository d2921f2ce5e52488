"""The training engine of the page against PyTorch: gradients, statistics, optimizers, losses."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import make_kernels
from d2lite.data import fashion_mnist
from d2lite.initializers import kaiming_normal_, kaiming_uniform_, xavier_uniform_

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
export const tell = (simd, expression) => new Function("engine", "trainingEngine",
  `try { return ${expression} } catch (error) { return error.message }`)(
  start(simd), trainingEngine);
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


@settings(max_examples=60)
@given(networks(), st.integers(2, 9), st.integers(0, 99), st.sampled_from([0, 0.1, 0.5]))
def test_gradients_and_statistics_equal_pytorchs(
    javascript: Callable, network: tuple, n: int, seed: int, smoothing: float
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
    # Each is a share minus what is wanted: if hardly anything is left, rounding is a part of it.
    assume(outputs[-1].grad.abs().max() > 0.1 / n)
    exact = deepcopy(model).double()
    exact.zero_grad()
    cross_entropy(exact(images.detach().double()), labels, label_smoothing=smoothing).backward()
    asked = case(layers, model, images, labels)
    asked["steps"] = [{"labelSmoothing": smoothing, "whole": True}]
    for told in javascript(Engine, "train", [[True, asked], [False, asked]]):
        (found,) = told["found"]
        assert told["shapes"] == [list(output.shape[1:]) for output in outputs[1:]]
        assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert found["right"] == (outputs[-1].argmax(1) == labels).sum()
        for i, (x, y) in enumerate(pairwise(outputs)):
            assert_near(found["activations"][i], y, x.abs().max())  # ReLU may leave little of it
            assert_near(found["slopes"][i], y.grad)
        for name, p in model.named_parameters():
            at = int(name.split(".")[0])
            summand = outputs[at + 1].grad.abs().max()
            if p.ndim > 1:
                summand = summand * outputs[at].abs().max()
            # Before a batch normalization, what is added up cancels out, and rounding may be all
            # that is left: then at most twice as far from the truth as PyTorch.
            truth = exact.get_parameter(name).grad
            off = (numbers(found["gradients"][name], p) - truth).abs().max()
            known = 1e-5 * max(truth.abs().max(), summand / 10)
            assert off <= max(known, 2 * (p.grad - truth).abs().max())
        for name, values in told["buffers"].items():
            assert_near(values, model.get_buffer(name))
        with torch.no_grad():
            assert_near(told["scores"], model.eval()(images))
        model.train()


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
@settings(max_examples=10)
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


# ---- What else it is asked for -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"kind": "convolution"}], "layers[0], convolution: must be one of conv,dense,relu"),
        ([{"kind": "toString"}], "layers[0], toString: must be one of conv,dense"),
        ([{"kind": "relu"}, {"kind": "conv", "kernel": 3}],
         "layers[1], conv: channels=undefined: must be a whole number ≥ 1"),
        ([{"kind": "conv", "channels": 2.5, "kernel": 3}],
         "layers[0], conv: channels=2.5: must be a whole number ≥ 1"),
        ([{"kind": "conv", "channels": 2, "kernel": 3, "stride": 0}],
         "layers[0], conv: stride=0: must be a whole number ≥ 1"),
        ([{"kind": "conv", "channels": 2, "kernel": 3, "padding": 3}],
         "layers[0], conv: padding=3: must be a whole number ≥ 0 and ≤ 2"),
        ([{"kind": "conv", "channels": 2, "kernel": 9, "padding": 1}],
         "layers[0], conv: kernel=9: must be a whole number ≥ 1 and ≤ 8"),
        ([{"kind": "maxpool", "size": 7}],
         "layers[0], maxpool: size=7: must be a whole number ≥ 1 and ≤ 6"),
        ([{"kind": "avgpool"}], "layers[0], avgpool: size=undefined: must be a whole number ≥ 1"),
        ([{"kind": "dropout", "p": 1}], "layers[0], dropout: p=1: must be ≥ 0 and < 1"),
        ([{"kind": "dense", "units": 10}],
         "layers[0], dense: its input is 1 × 6 × 8: must be flat, after a flatten"),
        ([{"kind": "flatten"}, {"kind": "dense"}],
         "layers[1], dense: units=undefined: must be a whole number ≥ 1"),
        ([{"kind": "relu"}],
         "layers: the last one's output is 1 × 6 × 8: must be one score a class"),
    ],
)  # fmt: skip
def test_a_bad_layer_is_named(
    javascript: Callable, layers: list[dict[str, Any]], message: str
) -> None:
    asked = f"engine.network({json.dumps(layers)}, [1, 6, 8])"
    (told,) = javascript(Engine, "tell", [[False, asked]])
    assert told.startswith(message)


SOFTMAX = """engine.network([{ kind: "flatten" }, { kind: "dense", units: 3 }], [1, 2, 2]"""


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (', { initialization: "zero" })',
         'initialization="zero": must be one of he,xavier,torch,small'),
        (').get("2.weight")', '"2.weight": must be one of 1.weight,1.bias'),
        (').set("1.bias", new Float32Array(4))', "1.bias: 4 numbers, must be 3"),
        (").forward(new Float32Array(7), 2)", "images: 7 numbers, must be 8 for n=2"),
        (").backward(new Float32Array(8), new Uint8Array([0, 3]), 2)",
         "labels[1]=3: must be < 3"),
        (').step(new Float32Array(4), new Uint8Array(1), 1, { optimizer: "lion" })',
         'optimizer="lion": must be one of sgd,momentum,nesterov,adam,adamw,rmsprop'),
    ],
)  # fmt: skip
def test_a_bad_question_is_refused(javascript: Callable, asked: str, message: str) -> None:
    (told,) = javascript(Engine, "tell", [[False, SOFTMAX + asked]])
    assert told == message


def test_statistics_of_one_value_are_refused(javascript: Callable) -> None:
    asked = """engine.network([{ kind: "flatten" }, { kind: "batchnorm" }], [2, 1, 1])
      .backward(new Float32Array(2), new Uint8Array(1), 1)"""
    (told,) = javascript(Engine, "tell", [[False, asked]])
    assert told == "layers[1], batchnorm: one value a channel, must be ≥ 2: train on more images"


@pytest.mark.parametrize("initialization", ["he", "xavier", "torch", "small"])
def test_weights_are_drawn_as_initializers_say(javascript: Callable, initialization: str) -> None:
    asked = f"""[0, 0, 1].map((seed) => engine.network([
      {{ kind: "conv", channels: 64, kernel: 5 }}, {{ kind: "flatten" }},
      {{ kind: "dense", units: 20 }}], [16, 9, 9], {{ seed, initialization: "{initialization}" }})
      .parameters.map(({{ data }}) => [...data]))"""
    (told,) = javascript(Engine, "tell", [[False, asked]])
    first, again, other = ([torch.tensor(values) for values in drawn] for drawn in told)
    assert all(map(torch.equal, first, again))
    for at, fan_in, fan_out in ((0, 400, 1600), (2, 1600, 20)):
        weight, bias, n = first[at], first[at + 1], len(first[at])
        like = torch.empty(fan_out, fan_in)
        torch.manual_seed(0)
        expected = {
            "he": lambda like: kaiming_normal_(like, nonlinearity="relu"),
            "xavier": xavier_uniform_,
            "torch": lambda like: kaiming_uniform_(like, a=5**0.5),
            "small": lambda like: like.normal_(0, 0.01),
        }[initialization](like).flatten()
        assert weight.std() == pytest.approx(expected.std().item(), rel=5 / (2 * n) ** 0.5)
        assert abs(weight.mean()) < 5 * expected.std() / n**0.5
        assert weight.abs().max() == pytest.approx(expected.abs().max().item(), rel=0.3)
        kurtosis = [
            ((w / w.std()) ** 4).mean().item() for w in (weight, expected)
        ]  # normal, or even
        assert kurtosis[0] == pytest.approx(kurtosis[1], rel=0.1)
        if initialization == "torch":
            assert fan_in**-0.5 * 0.8 < bias.abs().max() <= fan_in**-0.5
        else:
            assert not bias.any()
        correlation = (weight * other[at]).mean() / weight.std() ** 2
        assert abs(correlation) < 5 / n**0.5


LEARN = """
const layers = [{ kind: "conv", channels: 4, kernel: 3 }, { kind: "batchnorm" }, { kind: "relu" },
  { kind: "dropout", p: 0.5 }, { kind: "flatten" }, { kind: "dense", units: 3 }];
const images = Float32Array.from({ length: 250 * 36 }, (_, i) => Math.sin(i * i));
const labels = Uint8Array.from({ length: 250 }, (_, i) => i % 3);
const make = () => engine.network(layers, [1, 6, 6]);
const go = (net, steps, n, options) => Array.from({ length: steps },
  () => net.step(images, labels, n, { optimizer: "adam", lr: 0.01, ...options }).loss);
"""


@pytest.mark.parametrize("simd", WAYS)
def test_training_goes_on_where_it_was_left(javascript: Callable, simd: bool) -> None:
    asked = f"""(() => {{ {LEARN}
      const one = make(), other = make();
      go(one, 5, 20);
      other.load(structuredClone(one.state()));
      go(one, 0, 20);
      const state = one.state(), before = JSON.stringify(state);
      const losses = [go(one, 5, 20), go(other, 5, 20)];
      return {{ losses, kept: JSON.stringify(state) === before,
        scores: [one, other].map((net) => [...net.forward(images, 20)]) }};
    }})()"""
    (told,) = javascript(Engine, "tell", [[simd, asked]])
    assert told["losses"][0] == told["losses"][1]
    assert told["scores"][0] == told["scores"][1]
    assert told["kept"]  # training on leaves a saved state alone


@pytest.mark.parametrize("simd", WAYS)
def test_any_number_of_images_is_taken(javascript: Callable, simd: bool) -> None:
    """More than before, fewer, and more than go through at a time."""
    asked = f"""(() => {{ {LEARN}
      const net = make();
      const few = go(net, 1, 10), many = go(net, 1, 40), again = go(net, 1, 10);
      const all = [...net.forward(images, 250)];
      const each = Array.from({{ length: 250 }},
        (_, i) => [...net.forward(images.subarray(36 * i, 36 * i + 36), 1)]).flat();
      return {{ losses: [few, many, again].flat(), all, each, shown: net.activation(0).length }};
    }})()"""
    (told,) = javascript(Engine, "tell", [[simd, asked]])
    assert told["all"] == pytest.approx(told["each"], abs=1e-5)
    assert len(told["all"]) == 750
    assert told["shown"] == 4 * 4 * 4
    assert all(0.3 < loss < 4 for loss in told["losses"])


def test_dropout_drops_its_share_anew_at_each_step_and_by_its_seed(javascript: Callable) -> None:
    asked = """(() => {
      const ones = new Float32Array(1000).fill(1), net = () => engine.network([{ kind: "dropout",
        p: 0.3 }, { kind: "flatten" }, { kind: "dense", units: 2 }], [1, 25, 40]);
      const drop = (net, seed) => {
        net.step(ones, new Uint8Array(1), 1, { seed, lr: 0 });
        return [...net.activation(0)];
      };
      const a = net(), b = net();
      a.forward(ones, 1);
      const kept = [...a.activation(0)];
      return { kept, drawn: [drop(a, 0), drop(a, 0), drop(b, 0), drop(b, 1)] };
    })()"""
    (told,) = javascript(Engine, "tell", [[False, asked]])
    assert set(told["kept"]) == {1}
    first, second, same, other = map(np.array, told["drawn"])
    assert (first == same).all()
    for drawn in (first, second, other):
        assert np.unique(drawn) == pytest.approx([0, 1 / 0.7])
        assert abs((drawn == 0).mean() - 0.3) < 5 * (0.21 / 1000) ** 0.5
    for drawn in (second, other):
        assert abs((first == drawn).mean() - (0.09 + 0.49)) < 5 * 0.5 / 1000**0.5


def test_the_text_alone_is_the_engine(javascript: Callable) -> None:
    """As a Worker gets it: the function's own text, in a scope that has nothing else."""
    asked = """(() => {
      const text = trainingEngine.toString();
      const alone = new Function("document", "window", "process", `return (${text})()`)();
      return alone.network([{ kind: "flatten" }, { kind: "dense", units: 2 }], [1, 2, 2]).shapes;
    })()"""
    (told,) = javascript(Engine, "tell", [[False, asked]])
    assert told == [[4], [2]]


def test_without_simd_javascript_computes(javascript: Callable) -> None:
    """A browser that cannot read the bytes throws, and so do bytes that are none."""
    (told,) = javascript(
        Engine, "tell", [[False, "trainingEngine(new Uint8Array([1, 2, 3])).simd"]]
    )
    assert told is False


def test_kernels_are_built_from_their_source() -> None:
    try:
        make_kernels.install()
    except OSError as error:
        pytest.skip(str(error))
    made = (FOLDER / "training_kernels.js").read_text(encoding="utf-8")
    assert make_kernels.build() == made, "run tools/make_kernels.py"

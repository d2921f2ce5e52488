"""DenseNet: the paper's tables, torchvision's numbers, and the small network of the same blocks."""

import copy
import csv
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from d2lite.nets import densenet
from d2lite.nets.densenet import DenseBlock, DenseLayer, Transition, densenet121, small_densenet
from d2lite.plot import median_and_range
from d2lite.trace import trace


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def with_random_numbers(model: nn.Module) -> nn.Module:
    """Make all normalizations different, so that none can be taken for another."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (layer.bias.data, layer.running_mean):
                tensor.normal_(std=0.1)
    return model


@pytest.mark.parametrize("name", ["densenet121", "densenet169", "densenet201", "densenet161"])
def test_published_networks_are_torchvisions(name):
    with torch.device("meta"):
        ours = getattr(densenet, name)()
        theirs = getattr(torchvision.models, name)()
    assert count(ours) == count(theirs)
    shapes = [tensor.shape for tensor in ours.state_dict().values()]
    assert shapes == [tensor.shape for tensor in theirs.state_dict().values()]
    layers = [layer for layer in ours.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(layers) == int(name.removeprefix("densenet"))


def test_densenet121_has_the_sizes_of_table_1():
    with torch.device("meta"):
        model = densenet121()
    sizes = {layer.name: layer.output_shape for layer in trace(model, (3, 224, 224))}
    assert sizes["stem.0"] == (64, 112, 112)
    assert sizes["stem.3"] == (64, 56, 56)
    transitions = [sizes[f"blocks.{i}.3"] for i in (1, 3, 5)]
    assert transitions == [(128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert sizes["norm"] == (1024, 7, 7)
    assert [len(block) for block in model.blocks if isinstance(block, DenseBlock)] == [
        6,
        12,
        24,
        16,
    ]


def test_scores_equal_torchvisions():
    torch.manual_seed(0)
    theirs = with_random_numbers(torchvision.models.densenet121(num_classes=7)).eval()
    ours = densenet121(num_classes=7).eval()
    tensors = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("depth", "growth_rate", "millions"), [(100, 12, 0.8), (250, 24, 15.3), (190, 40, 25.6)]
)
def test_small_network_has_the_parameters_of_table_2(depth, growth_rate, millions):
    with torch.device("meta"):
        model = small_densenet(growth_rate, blocks=[(depth - 4) // 6] * 3)
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    assert len(layers) == depth
    color = 2 * model.stem.weight.numel()  # the paper's images have three channels
    assert round((count(model) + color) / 1e6, 1) == millions


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 6),
    growth_rate=st.integers(1, 4),
    layers=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_every_layer_sees_the_maps_of_all_before_it(channels, growth_rate, layers, seed):
    torch.manual_seed(seed)
    block = with_random_numbers(DenseBlock(channels, growth_rate, layers)).eval()
    maps = torch.randn(2, channels, 5, 4)
    with torch.no_grad():
        output = block(maps)
        assert output.shape == (2, channels + layers * growth_rate, 5, 4)
        assert torch.equal(output[:, :channels], maps)
        for i, layer in enumerate(block):
            assert isinstance(layer, DenseLayer)
            seen = channels + i * growth_rate
            new = output[:, seen : seen + growth_rate]
            expected = layer.path(output[:, :seen])  # what the layer appends
            torch.testing.assert_close(new, expected)


def test_layer_and_transition_are_the_papers():
    layer = [type(part).__name__ for part in DenseLayer(24, 12).path]
    assert layer == ["BatchNorm2d", "ReLU", "Conv2d"] * 2
    weights = [tuple(p.shape) for p in DenseLayer(24, 12).parameters() if p.ndim == 4]
    assert weights == [(48, 24, 1, 1), (12, 48, 3, 3)]
    transition = with_random_numbers(Transition(8, 4)).eval()
    maps = torch.randn(2, 8, 6, 6)
    norm, relu, conv, _ = transition
    blocks = conv(relu(norm(maps))).unfold(2, 2, 2).unfold(3, 2, 2)
    torch.testing.assert_close(transition(maps), blocks.mean(dim=(4, 5)))


@settings(max_examples=25, deadline=None)
@given(
    growth_rate=st.integers(1, 8),
    blocks=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    num_classes=st.integers(1, 12),
)
def test_small_network_has_the_blocks(growth_rate, blocks, num_classes):
    model = small_densenet(growth_rate, blocks, num_classes)
    assert model(torch.rand(2, 1, 28, 28)).shape == (2, num_classes)
    found = [block for block in model.modules() if isinstance(block, DenseBlock)]
    assert [len(block) for block in found] == blocks
    assert sum(isinstance(layer, DenseLayer) for layer in model.modules()) == sum(blocks)
    assert sum(isinstance(layer, Transition) for layer in model.modules()) == len(blocks) - 1


def test_small_network_traced():
    layers = trace(small_densenet(), (1, 28, 28))
    sizes = [layer.output_shape[1:] for layer in layers if "AvgPool2d" in layer.description]
    assert layers[0].output_shape == (32, 14, 14)
    assert sizes == [(7, 7), (3, 3)]
    assert 1e6 < layers.total_multiply_adds < 6e6


def test_weights_start_as_in_he_2015():
    torch.manual_seed(0)
    for layer in small_densenet(growth_rate=16).modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            std, spread = (2 / layer.weight[0].numel()) ** 0.5, (2 * layer.weight.numel()) ** -0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=5 * spread)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"growth_rate": 0}, "growth_rate=0: must be ≥ 1"),
        ({"growth_rate": -1}, "growth_rate=-1: must be ≥ 1"),
        ({"blocks": ()}, r"blocks=\(\): must be a number of layers ≥ 1 for each block"),
        ({"blocks": (4, 0)}, r"blocks=\(4, 0\): must be a number of layers ≥ 1"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        small_densenet(**settings)


def test_a_fifth_block_has_no_map_left():
    with pytest.raises(RuntimeError, match="Output size is too small"):
        small_densenet(blocks=[1] * 5)(torch.rand(2, 1, 28, 28))


def test_copies_and_state_go_round(tmp_path):
    model = small_densenet()
    images = torch.rand(2, 1, 28, 28)
    model(images)  # moves the running statistics
    model.eval()
    assert torch.equal(copy.deepcopy(model)(images), model(images))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = small_densenet()
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(other.eval()(images), model(images))


def long_run() -> dict[tuple[str, str, int, int], list[float]]:
    """The test results of ``benchmarks/claims/densenet.py``, of the seeds at the chosen rate."""
    table = Path(__file__).parent.parent / "benchmarks" / "claims" / "densenet.csv"
    runs: dict[tuple[str, str, int, int], dict[float, list[float]]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            kind = row["Task"], row["Network"], int(row["Layers"]), int(row["Steps"])
            runs.setdefault(kind, {}).setdefault(float(row["Rate"]), []).append(float(row["Test"]))
    for rates in runs.values():
        assert min(rates) < max(rates, key=lambda rate: len(rates[rate])) < max(rates)
    return {kind: max(rates.values(), key=len) for kind, rates in runs.items()}


def test_the_chapter_quotes_the_long_run():
    chapter = (Path(__file__).parent.parent / "book/architectures/densenet.ipynb").read_text()
    for (task, _, _, steps), reached in long_run().items():
        assert len(reached) == 5
        if task == "classify" and steps == 240:
            assert f"[{', '.join(f'{value:.1f}' for value in reached)}]" in chapter
        if task == "classify" and steps == 480:
            assert median_and_range(reached, digits=1) in chapter

"""U-Net: the published sizes and parameters; skips; bad input."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from d2lite.nets.unet import PUBLISHED, UNet, double_conv


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_one_has_the_sizes_of_figure_1():
    with torch.device("meta"):
        model = UNet(1, 2, padding=0, batch_norm=False)
        sizes = {}
        for name, part in model.named_modules():
            part.register_forward_hook(
                lambda _, __, out, name=name: sizes.update({name: (out.shape[1], out.shape[-1])})
            )
        assert model(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    down = [sizes[f"down.{i}"] for i in range(5)]
    assert down == [(64, 568), (128, 280), (256, 136), (512, 64), (1024, 28)]
    assert [sizes[f"up.{i}"] for i in range(4)] == [(512, 56), (256, 104), (128, 200), (64, 392)]
    up = [sizes[f"merge.{i}"] for i in range(4)]
    assert up == [(512, 52), (256, 100), (128, 196), (64, 388)]


def test_the_published_one_has_23_convolutions_and_31_million_parameters():
    def conv(before: int, after: int, k: int) -> int:
        return k * k * before * after + after

    C = PUBLISHED
    down = sum(conv(a, b, 3) + conv(b, b, 3) for a, b in zip((1, *C), C, strict=False))
    up = sum(conv(b, a, 2) + conv(2 * a, a, 3) + conv(a, a, 3) for a, b in pairwise(C))
    with torch.device("meta"):
        model = UNet(1, 2, padding=0, batch_norm=False)
    assert count(model) == down + up + conv(64, 2, 1) == 31_030_658
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(layers) == 23  # "In total the network has 23 convolutional layers."


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("channels", [(4, 8), (4, 6, 8), [2, 4, 4, 8]])
def test_scores_have_the_size_of_the_images(channels, skips):
    model = UNet(3, 5, channels, skips=skips)
    assert model(torch.rand(2, 3, 16, 24)).shape == (2, 5, 16, 24)
    maps = {}
    for i, part in enumerate(model.merge):
        part.register_forward_hook(lambda _, given, out, i=i: maps.update({i: (given[0], out)}))
    model(torch.rand(2, 3, 16, 24))
    for i, here in enumerate(reversed(channels[:-1])):
        assert maps[i][0].shape[1] == 2 * here and maps[i][1].shape[1] == here
        half = 2 ** (len(channels) - 2 - i)
        assert maps[i][0].shape[2:] == (16 // half, 24 // half)


def test_skips_bring_the_maps_of_the_way_down():
    model = UNet(1, 2, (4, 8, 8)).eval()
    kept, put = {}, {}
    for i, part in enumerate(model.down):
        part.register_forward_hook(lambda _, __, out, i=i: kept.update({i: out}))
    for i, part in enumerate(model.merge):
        part.register_forward_hook(lambda _, given, __, i=i: put.update({i: given[0]}))
    model(torch.rand(1, 1, 8, 8))
    assert torch.equal(put[0][:, :8], kept[1]) and torch.equal(put[1][:, :4], kept[0])


def test_without_skips_no_layer_has_fewer_weights_and_the_pixels_are_lost():
    with_skips, without = UNet(1, 2, (4, 8, 8)), UNet(1, 2, (4, 8, 8), skips=False)
    pairs = zip(with_skips.parameters(), without.parameters(), strict=True)
    assert all(a.numel() <= b.numel() for a, b in pairs)
    for model, blind in ((with_skips, False), (without, True)):
        model.eval()
        for part in model.up:  # all that comes from below is 0
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        one, other = model(torch.rand(2, 1, 8, 8)).detach()
        assert torch.equal(one, other) == blind


def test_unpadded_skips_are_cut_in_the_middle():
    model = UNet(1, 2, (2, 4), padding=0, batch_norm=False)
    put = []
    model.down[0].register_forward_hook(lambda _, __, out: put.append(out))
    model.merge[0].register_forward_hook(lambda _, given, __: put.append(given[0]))
    assert model(torch.rand(1, 1, 24, 32)).shape == (1, 2, 8, 16)
    assert torch.equal(put[0][:, :, 4:-4, 4:-4], put[1][:, :2])


def test_normalization_and_biases():
    block = double_conv(2, 4, batch_norm=True)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in block) == 2
    assert all(layer.bias is None for layer in block if isinstance(layer, nn.Conv2d))
    assert count(double_conv(2, 4, batch_norm=False)) == 9 * 2 * 4 + 9 * 4 * 4 + 8
    torch.manual_seed(0)
    weight = double_conv(64, 64, batch_norm=False)[0].weight
    assert weight.shape == (64, 64, 3, 3)
    torch.manual_seed(0)
    start = UNet(1, 2, (64, 64)).down[0][3].weight
    assert start.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.02)  # section 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(0, 2), "in_channels=0: must be ≥ 1"),
        (lambda: UNet(1, 2, (8,)), "channels=.*: must be a list of two"),
        (lambda: UNet(1, 2, 8), "channels=8: must be a list of two"),
        (lambda: UNet(1, 2, (8, 0)), "one of them=0: must be ≥ 1"),
        (lambda: UNet(1, 2, (8, 8), padding=2), "padding=2: must be ≥ 0 and ≤ 1"),
        (lambda: UNet(1, 2, (8, 8), skips=1), "skips=1: must be"),
        (lambda: UNet(1, 2, (2, 2, 2))(torch.rand(1, 1, 8, 10)), "a map of 4 × 5 cannot be halved"),
        (lambda: UNet(1, 2, (2, 2), padding=0)(torch.rand(1, 1, 9, 9)), "5 × 5 cannot be halved"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()

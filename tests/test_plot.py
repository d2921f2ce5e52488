"""Figures say what they claim to show."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from d2lite import plot
from d2lite.explore.explorer import HERE
from d2lite.plot import KERNEL, draw_windows, show_images, show_matrix, table


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 30),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 4),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    dilation=st.integers(1, 3),
)
def test_windows_leave_out_the_pixels_without_gradient(
    size, kernel_size, stride, before, after, dilation
):
    assume(before + size + after > dilation * (kernel_size - 1))
    pixels = torch.ones(1, 1, size, requires_grad=True)
    padded = torch.nn.functional.pad(pixels, (before, after))
    kernel = torch.ones(1, 1, kernel_size)
    output = torch.nn.functional.conv1d(padded, kernel, stride=stride, dilation=dilation)
    (gradient,) = torch.autograd.grad(output.sum(), pixels)

    figure, axes = plt.subplots()
    unseen = draw_windows(axes, size, kernel_size, stride, (before, after), dilation)
    windows = [line for line in axes.lines if line.get_marker() == "o"]
    plt.close(figure)

    assert unseen == (gradient[0, 0] == 0).nonzero().flatten().tolist()
    assert len(windows) == output.shape[-1]


def test_windows_may_be_counted_beyond_the_end():
    figure, axes = plt.subplots()
    assert draw_windows(axes, size=8, kernel_size=3, stride=4, count=3) == [3, 7]
    assert axes.get_xlim()[1] > 10  # the last window reaches cell 10
    plt.close(figure)


@pytest.mark.parametrize("image, limits, colours", [
    (torch.tensor([[0.0, 0.4]]), (0, 1), "gray"),
    (torch.tensor([[0.0, 5.0]]), (0, 5), "gray"),
    (torch.tensor([[-1.0, 5.0]]), (-5, 5), "signed"),
])  # fmt: skip
def test_images_show_zero_as_black_or_where_signed_as_white(image, limits, colours):
    figure = show_images([image, image, image], ["a", "b", "c"], columns=2)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(shown) == 3 and [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    for picture in shown:
        assert picture.get_clim() == limits and picture.cmap.name == colours
        assert np.array_equal(picture.get_array(), image)
    white = shown[0].to_rgba(np.zeros((1, 1)))[0, 0, :3].min() > 0.99
    assert white == (colours == "signed")
    plt.close(figure)


def test_every_image_needs_its_title():
    with pytest.raises(ValueError, match="titles: 1 for 2 images"):
        show_images([torch.eye(2)] * 2, ["one"])
    with pytest.raises(ValueError, match=r"image=float32 \(2,\): must be \(H, W\)"):
        show_images([torch.ones(2)], ["flat"])
    with pytest.raises(ValueError, match=r"matrix=float32 \(3,\): must be \(H, W\)"):
        show_matrix(plt.gca(), torch.ones(3))
    plt.close("all")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-99, 99), min_size=6, max_size=6))
def test_a_matrix_shows_each_number_in_its_cell(values):
    matrix = torch.tensor(values, dtype=torch.float64).reshape(2, 3)
    figure, axes = plt.subplots()
    show_matrix(axes, matrix)
    for text in axes.texts:
        column, row = (int(x) for x in text.get_position())
        assert abs(float(text.get_text().replace("−", "-")) - matrix[row, column]) <= 0.005 + 1e-9
        assert text.get_text() not in ("−0", "") and text.get_color() == KERNEL
    assert len(axes.texts) == 6
    plt.close(figure)


def test_figures_and_explorers_share_their_colours():
    light = (HERE / "explorer.css").read_text(encoding="utf-8").split("html[data-theme")[0]
    colours = dict(re.findall(r"--d2-(\w+): (#\w{6})", light))
    for name in ("input", "kernel", "output", "gradient", "ink", "muted", "line"):
        assert colours[name] == getattr(plot, name.upper())


def test_a_table_has_as_many_columns_as_its_head():
    with pytest.raises(ValueError, match=r"rows: \['C1'\], must have 2 columns"):
        table(["layer", "width"], ["C1"])


def test_spread_draws_the_median_in_the_range() -> None:
    runs = torch.rand(7, 4)
    _, axes = plt.subplots()
    plot.spread(axes, [1, 2, 4, 8], runs, label="runs")
    assert np.allclose(axes.lines[0].get_ydata(), runs.median(0).values)
    band = axes.collections[0].get_paths()[0].vertices
    for place, column in zip([1, 2, 4, 8], runs.T, strict=True):
        edges = band[band[:, 0] == place, 1]
        assert np.isclose(edges.min(), column.min()) and np.isclose(edges.max(), column.max())
    assert axes.get_legend_handles_labels()[1] == ["runs"]
    with pytest.raises(ValueError, match=r"runs: shape \(7, 4\), must be \(R, 3\)"):
        plot.spread(axes, [1, 2, 3], runs)

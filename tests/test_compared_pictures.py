"""A notebook's pictures are compared: a changed one fails, the same drawn anew does not."""

import base64
from io import BytesIO

import compared_pictures
import matplotlib.pyplot as plt
import nbval.kernel
import numpy as np
import pytest
from compared_pictures import BOUND, WHOLE, compare_outputs, difference
from conftest import ROOT
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell
from PIL import Image

from execute import KERNEL_ARGUMENTS, shrink


class Cell:
    """What of nbval's cell the comparison uses."""

    def __init__(self) -> None:
        self.comparison_traceback: list[str] = []


def output(power: float, shift: float = 0.0, size: tuple[float, float] = (5, 3)) -> NotebookNode:
    """A figure of a curve, as a notebook has it."""
    with plt.style.context("default"):  # whatever other tests have set
        figure, axes = plt.subplots(figsize=size, dpi=144)
        x = np.linspace(0, 1, 50)
        axes.plot(x, x**power + shift)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        file = BytesIO()
        figure.savefig(file)
        plt.close(figure)
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure>"}
    return NotebookNode(output_type="display_data", data=NotebookNode(data))


@pytest.fixture(autouse=True)
def text_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared_pictures, "compare_the_rest", lambda *arguments: True)


def agree(test: list[NotebookNode], reference: list[NotebookNode]) -> bool:
    cell = Cell()
    same = compare_outputs(cell, test, reference)
    assert same == (not cell.comparison_traceback)
    return same


def test_the_same_figure_agrees_as_it_is_kept() -> None:
    kept = output(2)
    kept.data["image/png"] = shrink(kept.data["image/png"])
    assert agree([output(2)], [kept])


def test_a_curve_may_move_by_a_hundredth() -> None:
    assert agree([output(2, shift=0.01)], [output(2)])


@pytest.mark.parametrize("power", [0.2, 1])
def test_another_curve_does_not(power: float) -> None:
    assert not agree([output(power)], [output(2)])


def test_swapped_figures_do_not() -> None:
    assert not agree([output(2), output(0.2)], [output(0.2), output(2)])


def test_one_of_another_size_does_not() -> None:
    assert not agree([output(2)], [output(2, size=(5, 3.1))])


def test_a_missing_or_a_new_one_does_not() -> None:
    assert not agree([], [output(2)])
    assert not agree([output(2), output(2)], [output(2)])


def test_text_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared_pictures, "compare_the_rest", lambda *arguments: False)
    assert not compare_outputs(Cell(), [output(2)], [output(2)])


def test_the_scale_goes_from_nothing_to_all() -> None:
    black, white = (Image.new("RGB", (40, 30), colour) for colour in ("black", "white"))
    assert difference(black, black) == 0 < BOUND < difference(black, white) == 1


def test_figures_are_drawn_as_when_they_were_kept() -> None:
    assert WHOLE in KERNEL_ARGUMENTS


def test_nbval_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IPyNbCell, "compare_outputs", IPyNbCell.compare_outputs)
    monkeypatch.setattr(nbval.kernel, "start_new_kernel", lambda **settings: settings)
    compared_pictures.pytest_configure()
    assert IPyNbCell.compare_outputs is compare_outputs
    assert nbval.kernel.start_new_kernel() == {"extra_arguments": [WHOLE]}
    assert "-p tests.compared_pictures" in (ROOT / "Makefile").read_text(encoding="utf-8")

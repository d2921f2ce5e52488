"""Explorers answer within a frame, 16 ms, at the largest settings that they take.

What else the machine does slows a page down, in processor time too. So each measurement stands
beside that of a fixed drawing, and a frame is as much longer as that took longer than when alone.
"""

from collections.abc import Callable

import pytest
import torch
from conftest import drag, processor_clock, settle
from playwright.sync_api import Page
from torch import nn

from d2lite.data import fashion_mnist
from d2lite.explore import (
    ActivationExplorer,
    AdversarialExplorer,
    ArchitectureExplorer,
    AugmentationExplorer,
    BackwardExplorer,
    BoxesExplorer,
    ConvolutionExplorer,
    DetectorExplorer,
    GANExplorer,
    LatentExplorer,
    LeNetExplorer,
    OptimizerExplorer,
    OutputSizeExplorer,
    ReceptiveFieldExplorer,
    ScheduleExplorer,
    TransformerExplorer,
    TransposedExplorer,
    ViTExplorer,
)
from d2lite.explore.explorer import Explorer
from d2lite.explore.optimizer import STEPS
from d2lite.explore.schedule import NAMES
from d2lite.nets.lenet import LeNet
from d2lite.nets.vae import VAE
from d2lite.nets.vit import small_vit

FRAME = 16  # milliseconds
DRAWING = 11  # milliseconds of the fixed drawing, where no other process runs
DRAW = """async () => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  document.body.append(svg);
  for (let frame = 0; frame < 10; frame++) {
    const marks = Array.from({ length: 600 }, (_, i) => {
      const mark = document.createElementNS(svg.namespaceURI, i % 3 ? "rect" : "text");
      const place = { x: (7 * i + frame) % 300, y: i % 140, width: 5, height: 5 };
      for (const [name, value] of Object.entries(place)) mark.setAttribute(name, value);
      if (i % 3 === 0) mark.textContent = Math.sqrt(i + frame).toFixed(2);
      return mark;
    });
    svg.replaceChildren(...marks);
    await new Promise(requestAnimationFrame);
  }
  svg.remove();
  return 10;
}"""
CHANGES = ["flip", "crop", "resized_crop", "affine", "jitter", "noise", "erase"]
CHANGES += ["mixup", "cutmix", "smoothing"]
OPTIMIZERS = ["SGD", "momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW"]
BASIC_BLOCK = [{"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1}] * 2
LARGEST: list[tuple[type[Explorer], dict, list[str]]] = [
    (
        ActivationExplorer,
        {"activation": "tanh", "initialization": "normal", "depth": 49, "width": 64},
        ["x", "Std", "Layers", "Units"],
    ),
    (ArchitectureExplorer, {"network": "DenseNet-121", "other": "GoogLeNet"}, ["Layer"]),
    (
        AugmentationExplorer,
        {"chain": CHANGES, "normalize": "first"},
        ["Resized crop", "Rotation", "CutMix"],
    ),
    (BackwardExplorer, {"padding": 2}, ["Padding"]),
    (GANExplorer, {"discriminator_steps": 10}, ["Generator's rate", "Its steps"]),
    (
        OptimizerExplorer,
        {"optimizers": OPTIMIZERS, "step": STEPS},
        ["Condition number", "Adam: lr", "Step"],
    ),
    (ReceptiveFieldExplorer, {"size": 224, "layers": BASIC_BLOCK * 8}, ["Input size"]),
    (
        ScheduleExplorer,
        {"schedules": NAMES, "total_steps": 1000, "step_size": 500, "warmup": 0.1},
        ["Learning rate"],
    ),
    (TransposedExplorer, {"size": 8, "kernel_size": 7, "stride": 4}, ["Input n"]),
]


def cost(page: Page, act: Callable[[], int]) -> float:
    """Processor time of a move, in milliseconds of a machine on which nothing else runs.

    The best of up to ten rounds; others only add to it. ``act`` makes a few moves and returns how
    many.
    """
    clock = processor_clock(page)

    def time_of(act: Callable[[], int]) -> float:
        started = clock()
        moves = act()
        return (clock() - started) / moves

    def once() -> float:
        slower = time_of(lambda: page.evaluate(DRAW)) / DRAWING
        return time_of(act) / max(1.0, slower)

    once()  # the browser compiles what is called often
    best = once()
    for _ in range(9):  # each round on a busy machine may be a bad one
        if best < FRAME:
            break
        best = min(best, once())
    return best


def dragging(page: Page, x: float, y: float, stride: int = 9) -> Callable[[], int]:
    """Press the mouse at a place; what is returned moves it, a frame for each move."""

    def act() -> int:
        for i in range(20):
            page.mouse.move(x + stride * i, y + stride * (i % 5))
            page.evaluate("() => new Promise(requestAnimationFrame)")
        return 20

    page.mouse.move(x, y)
    page.mouse.down()
    return act


@pytest.mark.parametrize(("explorer", "settings", "sliders"), LARGEST)
def test_a_move_of_a_slider(
    show: Callable, explorer: type[Explorer], settings: dict, sliders: list[str]
) -> None:
    page = show(explorer(**settings))
    for name in sliders:
        slider = page.get_by_label(name).and_(page.get_by_role("slider")).first
        assert cost(page, lambda slider=slider: drag(slider, 8)) < FRAME, name


def test_a_move_of_the_window(show: Callable) -> None:
    page = show(ConvolutionExplorer(input=torch.rand(28, 28), kernel=torch.ones(5, 5) / 25))
    window = page.get_by_role("slider", name="Kernel window")
    box = window.bounding_box()
    x, y = box["x"] + 20, box["y"] + 20

    def act() -> int:
        for i in range(20):
            page.mouse.move(x + 9 * i, y + 9 * (i % 5))
        return 20

    page.mouse.move(x, y)
    page.mouse.down()
    assert cost(page, act) < FRAME
    assert window.bounding_box()["x"] > box["x"] + 100


def test_a_stroke_on_the_board(show: Callable) -> None:
    """The whole network, and every map drawn."""
    page = show(LeNetExplorer(LeNet(), torch.rand(4, 1, 28, 28), [str(i) for i in range(10)]))
    board = page.get_by_role("application")
    board.focus()

    def act() -> int:
        for i in range(10):
            page.keyboard.press("Shift+ArrowRight" if i % 2 else "Shift+ArrowLeft")
        settle(page)
        return 10

    assert cost(page, act) < FRAME


def test_a_patch_is_covered(show: Callable) -> None:
    """The whole network, and the attention of every head drawn."""
    model = small_vit(depth=4, patch_size=4)
    page = show(ViTExplorer(model, torch.rand(4, 1, 28, 28), [str(i) for i in range(10)]))
    page.get_by_role("application").focus()

    def act() -> int:
        for _ in range(10):
            page.keyboard.press("Space")
        settle(page)
        return 10

    assert cost(page, act) < FRAME


def test_a_budget_is_changed(show: Callable) -> None:
    """Both networks attack the garment anew, and go on with the others."""
    _, test = fashion_mnist()
    models = {
        name: nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(784, 10),
        )
        for name in ("plain", "robust")
    }  # fmt: skip
    page = show(AdversarialExplorer(models, test[:40], steps=20))
    slider = page.get_by_role("slider", name="Budget")
    assert cost(page, lambda: drag(slider, 8)) < FRAME


def test_a_box_is_dragged(show: Callable) -> None:
    """As many as there may be, and each overlap, suppression, hit and average anew."""
    boxes = [[3.0 * i, 2.0 * i, 3 * i + 20.0, 2 * i + 20.0] for i in range(12)]
    explorer = BoxesExplorer(
        image=torch.rand(64, 64),
        targets=[{"box": box, "label": 0} for box in boxes[:9]],
        predictions=[{"box": box, "label": 0, "score": 0.5} for box in boxes],
        nms_threshold=0.9,
        step=12,
    )
    page = show(explorer)
    box = page.get_by_role("application").bounding_box()
    x, y = (box[name] + 10 / 64 * box["width"] for name in "xy")

    assert cost(page, dragging(page, x, y)) < FRAME
    assert page.get_by_label("left x₁").input_value() != "0"


def test_a_garment_is_dragged_before_a_detector(show: Callable) -> None:
    """The whole network, all boxes of any score and no NMS."""
    garments = [{"index": i, "x": 6 * i, "y": 6 * i, "size": 32} for i in range(6)]
    explorer = DetectorExplorer(
        garments=garments, selected=5, score_threshold=0.05, nms_threshold=1.0
    )
    page = show(explorer)
    box = page.get_by_role("application").bounding_box()
    x, y = (box[name] + 46 / 64 * box["width"] for name in "xy")

    assert cost(page, dragging(page, x, y, -9)) < FRAME
    assert page.get_by_label("left x").input_value() != "30"


def test_the_point_of_a_latent_map_is_dragged(show: Callable) -> None:
    """Its picture is decoded, and the nearest of many garments found."""
    page = show(LatentExplorer({"wide": VAE(2, width=32)}, fashion_mnist()[1][:1000]))
    box = page.get_by_role("application").bounding_box()
    x, y = box["x"] + 60, box["y"] + 60

    assert cost(page, dragging(page, x, y)) < FRAME
    assert page.get_by_label("z₁").input_value() != "0"


def test_a_text_is_typed(show: Callable) -> None:
    """Each key changes the first of 64 characters, so that all are read anew."""
    page = show(
        TransformerExplorer(text="The simple form, which is equivalent to it, raises an exception.")
    )
    field = page.get_by_label("Type here")
    field.focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("Delete")
    settle(page)

    def act() -> int:
        for i in range(5):
            page.keyboard.type("ABCDE"[i])
            page.evaluate("() => new Promise(requestAnimationFrame)")
            page.keyboard.press("Backspace")
            page.evaluate("() => new Promise(requestAnimationFrame)")
        return 10

    assert cost(page, act) < FRAME
    assert len(field.input_value()) == 63


def test_a_gan_trains(show: Callable) -> None:
    """A frame has steps or a picture."""
    page = show(GANExplorer(discriminator_steps=3))
    page.get_by_role("button", name="Train").click()

    def act() -> int:
        return page.evaluate(
            """async () => {
            for (let i = 0; i < 20; i++) await new Promise(requestAnimationFrame);
            return 20;
            }"""
        )

    assert cost(page, act) < FRAME
    assert page.get_by_role("button", name="Pause").is_visible()


def test_a_change_is_drawn_in_the_next_frame(show: Callable) -> None:
    page = show(OutputSizeExplorer(size=227, kernel_size=11, stride=4))
    drawn = page.evaluate(
        """async () => {
        const drawn = [], input = document.querySelector(".d2-sliders input");
        for (let size = 200; size < 241; size++) {
          input.value = size;
          input.dispatchEvent(new Event("input"));
          await new Promise(requestAnimationFrame);
          drawn.push(document.querySelector(".d2-legend").innerText);
        }
        return drawn;
        }"""
    )
    assert [legend.split()[0] for legend in drawn] == [str(n) for n in range(200, 241)]

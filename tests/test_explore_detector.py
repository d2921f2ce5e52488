"""The detector explorer: scenes, scores, boxes and what is kept against PyTorch, and the figure."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from conftest import assert_legible_and_accessible, settle, slide
from playwright.sync_api import Locator, Page, expect
from torch import Tensor

from d2lite.boxes import box_iou, evaluate_detections
from d2lite.data import LabelledImages, fashion_mnist, scenes, small_detector
from d2lite.data.scenes import LEAST_VISIBLE, _resize
from d2lite.explore import BoxesExplorer, DetectorExplorer
from d2lite.explore.detector import one_after_the_other
from d2lite.nets.yolo import YOLO, decode, detect

FIXED = ["layers", "weights", "gallery", "labels", "classes"]
STATE = ["score_threshold", "nms_threshold", "per_class"]
SEEDS = range(150)


def state_of(seed: int) -> dict[str, Any]:
    """What the reader has set, in the scene of a seed."""
    return {
        "seed": seed,
        "score_threshold": [0.05, 0.3, 0.5][seed % 3],
        "nms_threshold": [0.6, 0.3, 0.0, 0.8, 1.0][seed % 5],
        "per_class": seed % 2 == 0,
    }


@pytest.fixture(scope="module")
def trained() -> YOLO:
    """The network that ships."""
    model = YOLO()
    model.load_state_dict(small_detector())
    return model.eval()


def answers(javascript: Callable, explorer: DetectorExplorer, states: list[dict]) -> list[dict]:
    """What the figure's own arithmetic makes of each state."""
    traits = {name: getattr(explorer, name) for name in FIXED}
    traits |= {name: list(traits[name]) for name in ("weights", "gallery")}
    (found,) = javascript(DetectorExplorer, "answers", [[traits, states]])
    return found


@pytest.fixture(scope="module")
def found(javascript: Callable) -> list[dict[str, Any]]:
    """Random scenes, and what the figure makes of them."""
    return answers(javascript, DetectorExplorer(garments=[]), list(map(state_of, SEEDS)))


def put(explorer: DetectorExplorer, seed: int, garments: list[dict]) -> None:
    """Set in Python what the figure was asked."""
    for name, value in (state_of(seed) | {"garments": garments}).items():
        setattr(explorer, name, value)


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_garments_are_resized_as_scenes_resizes_them(javascript: Callable) -> None:
    gallery = DetectorExplorer(garments=[]).gallery
    images = [torch.tensor(list(gallery[784 * i : 784 * (i + 1)])) / 255 for i in range(30)]
    cases = [(image, size) for image in images for size in range(16, 33)]
    tiles = javascript(DetectorExplorer, "resize", [[i.tolist(), size] for i, size in cases])
    for (image, size), tile in zip(cases, tiles, strict=True):
        expected = torch.from_numpy(_resize(image.view(28, 28), size)).flatten()
        got = torch.tensor(list(tile.values()), dtype=torch.float64)
        assert (got - expected).abs().max() < 1e-5
        assert torch.equal(got > 0.05, expected > 0.05)


def test_scenes_are_the_same_in_python(found: list[dict]) -> None:
    explorer, numbers = DetectorExplorer(garments=[]), set()
    for seed, each in zip(SEEDS, found, strict=True):
        assert each["garments"] == explorer.random_garments(seed)
        put(explorer, seed, each["garments"])
        got = torch.tensor(each["image"]).view(1, 64, 64)
        assert (got - explorer.image).abs().max() < 1e-5
        target = explorer.target
        assert [t["label"] for t in each["targets"]] == target["labels"].tolist()
        assert [t["box"] for t in each["targets"]] == target["boxes"].tolist()
        assert torch.allclose(torch.tensor(each["visible"], dtype=torch.float32), target["visible"])
        assert target["visible"].min() >= LEAST_VISIBLE
        numbers.add(len(each["garments"]))
    assert numbers == {1, 2, 3, 4}


def test_scores_and_boxes_equal_pytorchs(found: list[dict]) -> None:
    explorer = DetectorExplorer(garments=[])
    for seed, each in zip(SEEDS, found, strict=True):
        put(explorer, seed, each["garments"])
        with torch.no_grad():
            expected = explorer.network(explorer.image[None])
        got = torch.tensor(each["raw"]).view_as(expected)
        assert (got - expected).abs().max() < 1e-3
        _, boxes = decode(expected[:, :10], expected[:, 10:].exp())
        assert (torch.tensor(each["boxes"]) - boxes[0]).abs().max() < 0.01


def test_nms_drops_one_of_two_boots_as_the_chapters_exercise_says(javascript: Callable) -> None:
    lost = [{"index": 29, "x": 12, "y": y, "size": 28} for y in (14, 22)]
    state = {"garments": lost, "score_threshold": 0.3, "per_class": True}
    states = [state | {"nms_threshold": threshold} for threshold in (0.55, 0.6)]
    below, above = answers(javascript, DetectorExplorer(garments=lost), states)
    assert sorted(below["reasons"]) == ["dropped", "found"]
    assert above["reasons"] == ["found", "found"]


def rows(detections: dict[str, Tensor]) -> list[tuple[int, Tensor, float]]:
    return list(zip(*(detections[n] for n in ("labels", "boxes", "scores")), strict=True))


def close_call(explorer: DetectorExplorer) -> bool:
    """Whether a rounding error could turn a comparison: of a score, an IoU, or two scores."""
    scores, boxes = explorer._decoded()
    cell, label = (scores > explorer.score_threshold - 1e-5).nonzero(as_tuple=True)
    score, box = scores[cell, label], boxes[cell]
    same = label[:, None] == label if explorer.per_class else torch.ones(len(cell), len(cell)) > 0
    apart = same.triu(1)
    overlaps, gaps = box_iou(box, box), (score[:, None] - score).abs()
    near = (overlaps - explorer.nms_threshold).abs() < 1e-5
    if explorer.nms_threshold in (0, 1):  # boxes apart, of one cell
        near &= (overlaps > 0) & (overlaps < 1)
    tied = (gaps < 1e-6) & (overlaps > explorer.nms_threshold)
    on_edge = (score - explorer.score_threshold).abs() < 1e-5
    return bool(((near | tied) & apart).any() or on_edge.any())


def test_what_is_kept_equals_detects(found: list[dict]) -> None:
    explorer = DetectorExplorer(garments=[])
    compared, kinds = 0, {"hit": 0, "miss": 0, "dropped": 0}
    for seed, each in zip(SEEDS, found, strict=True):
        put(explorer, seed, each["garments"])
        if close_call(explorer):
            continue
        compared += 1
        expected, got = rows(explorer.detections), each["detections"]
        assert len(got) == len(expected)
        for one, (label, box, score) in zip(got, expected, strict=True):
            assert one["label"] == label
            assert one["score"] == pytest.approx(float(score), abs=1e-4)
            assert one["box"] == pytest.approx(box.tolist(), abs=0.01)
        assert each["hits"] == explorer.hits
        was_found = [reason == "found" for reason in each["reasons"]]
        assert was_found == [j in explorer.hits for j in range(len(was_found))]
        kinds["hit"] += sum(j >= 0 for j in explorer.hits)
        kinds["miss"] += sum(j < 0 for j in explorer.hits)
        kinds["dropped"] += each["candidates"] - len(got)
    assert compared >= 100 and min(kinds.values()) > 30, (compared, kinds)


def test_one_nms_for_each_class_is_detect_of_the_chapter(trained: YOLO) -> None:
    explorer = DetectorExplorer(trained, seed=3, score_threshold=0.05)
    with torch.no_grad():
        logits, log_distances = explorer.network(explorer.image[None]).split([10, 4], 1)
    (expected,) = detect(*decode(logits, log_distances.exp()))
    for name, values in explorer.detections.items():
        assert torch.equal(values, expected[name]), name
    explorer.per_class = False
    assert len(explorer.detections["labels"]) < len(expected["labels"])


def test_a_network_that_folds_and_rounds_detects_as_well(trained: YOLO) -> None:
    data = scenes(200, seed=5, garments="test")
    targets = [data[i][1] for i in range(len(data))]
    explorer, precision = DetectorExplorer(trained, garments=[]), []
    for network in (one_after_the_other(trained).eval(), explorer.network):
        with torch.no_grad():
            logits, log_distances = network(data.images).split([10, 4], 1)
            found = detect(*decode(logits, log_distances.exp()))
        ap = evaluate_detections(found, targets, classes=10, iou_thresholds=[0.5])
        precision.append(ap.nanmean().item())
    with torch.no_grad():
        expected, distances = trained(data.images[:1])
        got = one_after_the_other(trained).eval()(data.images[:1])
    assert torch.allclose(got[:, :10], expected, atol=1e-4)
    assert torch.allclose(got[:, 10:].exp(), distances, atol=1e-3)
    assert precision[0] > 0.7 and precision[1] > precision[0] - 0.01, precision
    assert len(explorer.weights) < 110_000


# ---- Traits --------------------------------------------------------------------------------------

BAG = {"index": 8, "x": 10, "y": 20, "size": 24}
_, TEST = fashion_mnist()
DARK = LabelledImages(torch.zeros(1, 1, 28, 28), torch.zeros(1).long(), TEST.classes)


def but(**changes: int) -> list[dict[str, int]]:
    return [BAG | changes]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model=Linear.*: must be a YOLO"),
        ({"model": YOLO(3)}, ValueError, "model: 3 classes, must be 10"),
        ({"gallery": TEST.images[:3]}, TypeError, "must be a LabelledImages"),
        ({"gallery": TEST[:0]}, ValueError, "must be .1 to 40"),
        ({"gallery": DARK}, ValueError, "gallery: images must each have a pixel of 0.25"),
        ({"garments": 3}, TypeError, "garments=3: must be a list of garments, each a dict"),
        ({"garments": [3]}, TypeError, r"\[0\]=3: must be a dict"),
        ({"garments": [{"index": 1}]}, ValueError, r"\[0\] has index: must be index, x, y, size"),
        ({"garments": but(size=15)}, ValueError, r"\[0\]: size=15: must be ≥ 16 and ≤ 32"),
        ({"garments": but(x=41)}, ValueError, r"\[0\]: x \+ size must be ≤ 64"),
        ({"garments": but(y=-1)}, ValueError, r"\[0\]: y=-1: must be ≥ 0"),
        ({"garments": but(x=1.5)}, TypeError, r"\[0\]: x=1.5: must be an int"),
        ({"garments": but(index=30)}, ValueError, r"\[0\]: index=30: must be ≤ 29"),
        ({"garments": [BAG] * 7}, ValueError, "7 garments, must be 6 at most"),
        ({"selected": 6}, ValueError, "selected=6: must be ≥ 0 and ≤ 5"),
        ({"score_threshold": 0.01}, ValueError, "score_threshold=0.01: must be ≥ 0.05"),
        ({"nms_threshold": 2}, ValueError, "nms_threshold=2: must be ≥ 0 and ≤ 1"),
        ({"per_class": 1}, TypeError, "per_class=1: must be True or False"),
        ({"heat_class": 10}, ValueError, "heat_class=10: must be ≥ -1 and ≤ 9"),
        ({"seed": -1}, ValueError, "seed=-1: must be ≥ 0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        DetectorExplorer(**arguments)


def test_later_garments_cover_earlier_ones() -> None:
    shirt, bag = BAG | {"index": 0, "size": 32}, BAG | {"x": 14, "y": 24, "size": 16}
    explorer = DetectorExplorer(garments=[shirt, bag])
    lower = DetectorExplorer(garments=[shirt]).image
    upper = DetectorExplorer(garments=[bag]).image
    expected = torch.where(upper > 0.05, upper, lower)
    assert torch.equal(explorer.image, expected)
    visible = explorer.target["visible"]
    assert visible[1] == 1 and 0.3 < visible[0] < 0.9


def test_what_it_finds_goes_into_the_boxes_explorer() -> None:
    explorer = DetectorExplorer(seed=2, score_threshold=0.5)
    boxes = BoxesExplorer(
        image=explorer.image[0], targets=explorer.target, predictions=explorer.detections
    )
    assert boxes.hits == explorer.hits


def test_the_picture_has_true_boxes_and_detections() -> None:
    explorer = DetectorExplorer(seed=2)
    frames = ElementTree.fromstring(explorer.picture()).findall("rect")
    found, there = len(explorer.hits), len(explorer.garments)
    assert len(frames) == found + there and found > 0
    titles = [frame.findtext("title") or "" for frame in frames]
    assert sum(title.startswith("true box:") for title in titles) == there


# ---- The figure in a browser ---------------------------------------------------------------------


def says(page: Page, which: int = 0) -> Locator:
    return page.locator(".d2-readout").nth(which)


def agree(page: Page, explorer: DetectorExplorer) -> None:
    """The figure shows what Python computes."""
    settle(page)
    hits, total = explorer.hits, len(explorer.garments)
    found, missed = sum(j >= 0 for j in hits), sum(j < 0 for j in hits)
    expect(says(page)).to_have_text(
        re.compile(
            rf"^{found} of {total} garments? found\. \d+ box(es)? above "
            rf"{explorer.score_threshold:.2f}, {len(hits)} after NMS: {found} hits?, "
            rf"{missed} miss(es)?\.$"
        )
    )
    lines = page.locator(".d2-line:visible").all_inner_texts()
    named = [
        f"{explorer.classes[label]} {score:.2f}" for label, _, score in rows(explorer.detections)
    ]
    assert len(lines) == min(len(hits), 8)
    for text, name, j in zip(lines, named, hits, strict=False):
        assert text.startswith(name) and ("hit:" in text) == (j >= 0)
    told = page.locator(".d2-pick:visible").all_inner_texts()
    assert ["not found" not in text for text in told] == [j in hits for j in range(total)]


def place(page: Page) -> dict[str, int]:
    fields = {"x": "left x", "y": "top y", "size": "size"}
    return {
        name: int(page.get_by_role("spinbutton", name=text).input_value())
        for name, text in fields.items()
    }


def test_each_control_does_what_python_does(show: Callable[..., Page]) -> None:
    explorer = DetectorExplorer(seed=4)
    page = show(DetectorExplorer(seed=4))
    agree(page, explorer)
    slide(page, "Score above", 0.05)
    explorer.score_threshold = 0.05
    agree(page, explorer)
    slide(page, "NMS drops above IoU", 0.1)
    explorer.nms_threshold = 0.1
    agree(page, explorer)
    page.get_by_label("NMS in each class").uncheck()
    explorer.per_class = False
    agree(page, explorer)
    heat = page.get_by_role("img", name="Score of each cell")
    for name, kind in (("Sandal", 5), ("any class", -1)):
        page.get_by_label("Score of each cell").first.select_option(name)
        explorer.heat_class = kind
        settle(page)
        scores = explorer.scores.amax(0) if kind < 0 else explorer.scores[kind]
        expect(heat).to_have_accessible_name(re.compile(f"at most {scores.max():.2f}$"))
        at = int(scores.argmax())
        expect(page.locator(".d2-two")).to_contain_text(f"row {at // 16}, column {at % 16}.")
    for seed in (5, 6, 7):
        page.get_by_role("button", name="Random scene").press("Enter")
        explorer.garments = explorer.random_garments(seed)
        agree(page, explorer)


def test_it_says_why_a_garment_is_not_found(show: Callable[..., Page]) -> None:
    """Of two boots that overlap, NMS deletes one; it is found where NMS does less."""
    boots = [BAG | {"index": 9, "x": 14, "size": 28}, BAG | {"index": 19, "x": 18, "size": 28}]
    explorer = DetectorExplorer(garments=boots)
    page = show(DetectorExplorer(garments=boots))
    agree(page, explorer)
    (gone,) = {0, 1} - set(explorer.hits)
    button = page.get_by_role("button", name=f"Garment {gone + 1} Ankle boot, not found: dropped")
    button.press("Enter")
    expect(says(page, 1)).to_have_text(
        re.compile(r"visible: not found: NMS has dropped its box, score 0\.\d\d, for Ankle boot")
    )
    slide(page, "NMS drops above IoU", 0.9)
    explorer.nms_threshold = 0.9
    agree(page, explorer)
    assert {0, 1} <= set(explorer.hits)
    expect(says(page, 1)).to_contain_text("visible: found, score 0.")


def test_garments_come_move_grow_and_go_by_keyboard(show: Callable[..., Page]) -> None:
    explorer = DetectorExplorer(garments=but())
    page = show(DetectorExplorer(garments=but()))
    page.get_by_role("button", name="Add garment 2, Trouser").press("Enter")
    settle(page)
    assert place(page) == {"x": 26, "y": 20, "size": 24}
    explorer.garments = [BAG, {"index": 1, "x": 26, "y": 20, "size": 24}]
    agree(page, explorer)
    scene = page.get_by_role("application", name="The chosen garment is 2, Trouser")
    for key in ("ArrowRight", "ArrowUp", "Shift+ArrowRight", "Shift+ArrowDown", "Shift+ArrowUp"):
        scene.press(key)
    settle(page)
    assert place(page) == {"x": 27, "y": 19, "size": 25}
    for _ in range(9):
        scene.press("Shift+ArrowRight")
    settle(page)
    assert place(page) == {"x": 27, "y": 19, "size": 32}
    page.get_by_role("spinbutton", name="left x").fill("30")
    page.get_by_role("spinbutton", name="size").fill("16")
    explorer.garments = [BAG, {"index": 1, "x": 30, "y": 19, "size": 16}]
    agree(page, explorer)
    for wrong in ("49", "", "1.5"):
        page.get_by_role("spinbutton", name="left x").fill(wrong)
        expect(page.get_by_role("spinbutton", name="left x")).to_have_attribute(
            "aria-invalid", "true"
        )
    page.get_by_role("spinbutton", name="left x").blur()
    settle(page)
    assert place(page)["x"] == 30
    page.get_by_role("button", name="Garment 1 Bag").press("ArrowLeft")
    settle(page)
    assert place(page) == {"x": 9, "y": 20, "size": 24}
    page.get_by_role("button", name="To the front").press("Enter")
    explorer.garments = [*explorer.garments[1:], BAG | {"x": 9}]
    agree(page, explorer)
    expect(page.get_by_role("button", name="To the front")).to_be_disabled()
    page.get_by_role("button", name="Garment 2 Bag").press("Delete")
    expect(page.get_by_role("button", name="Garment 1 Trouser")).to_be_focused()
    page.get_by_role("button", name="Remove").press("Enter")
    settle(page)
    expect(page.get_by_role("button", name="Remove")).to_be_disabled()
    expect(says(page)).to_contain_text("0 of 0 garments found.")
    expect(says(page, 1)).to_have_text("There is no garment.")
    for _ in range(6):
        page.get_by_role("button", name="Add garment 10,").press("Enter")
    expect(page.get_by_role("button", name="Add garment 10,")).to_be_disabled()
    expect(page.locator(".d2-pick:visible")).to_have_count(6)


def pixel(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a place of the scene is on the screen."""
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    return box["x"] + x / 64 * box["width"], box["y"] + y / 64 * box["width"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*pixel(page, *start))
    page.mouse.down()
    page.mouse.move(*pixel(page, *((a + b) / 2 for a, b in zip(start, end, strict=True))))
    page.mouse.move(*pixel(page, *end))
    page.mouse.up()
    settle(page)


def test_a_mouse_drags_garments_and_the_corner(show: Callable[..., Page]) -> None:
    two = [BAG | {"x": 4, "y": 4}, BAG | {"x": 36, "y": 36}]
    page = show(DetectorExplorer(garments=two))
    drag(page, (10, 20), (18, 22))
    assert place(page) == {"x": 12, "y": 6, "size": 24}
    drag(page, (42, 50), (90, 20))  # another one, no further than the canvas
    assert place(page) == {"x": 40, "y": 6, "size": 24}
    expect(page.locator(".d2-pick[aria-pressed=true]")).to_contain_text("2 Bag")
    corner = page.locator(".d2-handle").nth(1).bounding_box()
    assert corner is not None
    page.mouse.move(corner["x"] + 14, corner["y"] + 14)
    page.mouse.down()
    page.mouse.move(corner["x"] - 200, corner["y"] - 200)
    page.mouse.up()
    settle(page)
    assert place(page) == {"x": 40, "y": 6, "size": 16}


def test_a_finger_drags_handles_and_elsewhere_scrolls(show: Callable[..., Page]) -> None:
    page = show(DetectorExplorer(garments=but()), width=390)
    send = partial(page.context.new_cdp_session(page).send, "Input.dispatchTouchEvent")

    def touch(start: tuple[float, float], move: tuple[float, float]) -> None:
        for share, kind in ((0, "touchStart"), (0.5, "touchMove"), (1, "touchMove")):
            x, y = (a + share * b for a, b in zip(start, move, strict=True))
            send({"type": kind, "touchPoints": [{"x": x, "y": y}]})
        send({"type": "touchEnd", "touchPoints": []})
        settle(page)

    one = pixel(page, 1, 0)[0] - pixel(page, 0, 0)[0]
    touch(pixel(page, 12, 42), (6 * one, 0))  # on the garment, but not on its handle
    assert place(page) == {"x": 10, "y": 20, "size": 24}
    handle = page.locator(".d2-handle").first.bounding_box()
    assert handle is not None
    touch((handle["x"] + 14, handle["y"] + 14), (6 * one, -4 * one))
    assert place(page) == {"x": 16, "y": 16, "size": 24}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("traits", [{"seed": 4}, {"score_threshold": 0.05, "nms_threshold": 1.0}])
def test_it_is_legible_and_accessible(
    show: Callable[..., Page], theme: str, traits: dict[str, Any]
) -> None:
    assert_legible_and_accessible(show(DetectorExplorer(**traits), theme=theme))

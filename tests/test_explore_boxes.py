"""The boxes explorer: arithmetic against d2lite.boxes and torchvision, and the figure."""

import random
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
from torchvision import ops

from d2lite.boxes import average_precision, box_iou, evaluate_detections, match, nms
from d2lite.boxes import precision_recall as curve
from d2lite.data import scenes
from d2lite.explore import BoxesExplorer

POINTS: dict[str, Any] = {"COCO": 101, "VOC 2007": 11, "area": "all"}
THRESHOLDS = [0.1, 0.25, 1 / 3, 0.5, 0.75, 1.0]  # boxes on a grid meet many of them exactly


def random_states() -> list[dict[str, Any]]:
    """Scenes with boxes on a coarse grid or anywhere, some without area, and many equal scores."""
    rng = random.Random(0)

    def box(coarse: bool) -> list[float]:
        draw = rng.sample if rng.random() < 0.8 else rng.choices
        x, y = (sorted(draw(range(4), k=2)) for _ in range(2))
        box = [8.0 * edge for edge in (x[0], y[0], x[1], y[1])]
        if coarse:
            return box
        return [min(64, edge + rng.uniform(0, 4) * (k > 1)) for k, edge in enumerate(box)]

    states = []
    for i in range(400):
        coarse, tied = i % 2 == 0, i % 3 > 0
        labels = range(rng.choice([1, 2, 3]))
        states.append(
            {
                "targets": [
                    {"box": box(coarse), "label": rng.choice(labels)}
                    for _ in range(rng.randint(1, 9))
                ],
                "predictions": [
                    {
                        "box": box(coarse),
                        "label": rng.choice(labels),
                        "score": rng.randint(0, 4) / 4 if tied else rng.random(),
                    }
                    for _ in range(rng.randint(0, 12) if i % 40 else 0)
                ],
                "iou_threshold": rng.choice([*THRESHOLDS, rng.uniform(0.01, 1)]),
                "nms_threshold": rng.choice([0, *THRESHOLDS, rng.random()]),
                "per_class": rng.random() < 0.5,
                "step": rng.randint(0, 12),
                "average": rng.choice(list(POINTS)),
            }
        )
    return states


STATES = random_states()


@pytest.fixture(scope="module")
def found(javascript: Callable) -> list[dict[str, Any]]:
    """What the figure's own arithmetic makes of each state."""
    return javascript(BoxesExplorer, "analyze", [[state] for state in STATES])


def tensors(items: list[dict]) -> tuple[Tensor, Tensor, Tensor]:
    boxes = torch.tensor([each["box"] for each in items], dtype=torch.float64).view(-1, 4)
    labels = torch.tensor([each["label"] for each in items], dtype=torch.int64)
    scores = torch.tensor([each.get("score", 0) for each in items], dtype=torch.float64)
    return boxes, labels, scores


# ---- Arithmetic ----------------------------------------------------------------------------------


def test_overlaps_equal_torchvisions(javascript: Callable) -> None:
    pairs = [
        [p["box"], t["box"]] for s in STATES for p in s["predictions"] for t in s["targets"][:2]
    ]
    assert len(pairs) > 3000
    got = torch.tensor(javascript(BoxesExplorer, "iou", pairs), dtype=torch.float64)
    first, second = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    expected = torch.cat([box_iou(a[None], b[None])[0] for a, b in zip(first, second, strict=True)])
    assert torch.equal(got, expected)
    theirs = torch.stack([ops.box_iou(a[None], b[None])[0, 0] for a, b in zip(first, second,
                          strict=True)])  # fmt: skip
    assert theirs.isnan().any()  # no area: 0 / 0
    assert torch.equal(got, theirs.nan_to_num(0))


def test_what_is_kept_equals_torchvisions(found: list[dict]) -> None:
    dropped = 0
    for state, each in zip(STATES, found, strict=True):
        boxes, labels, scores = tensors(state["predictions"])
        kept = [step["kept"] for step in each["steps"]]
        groups = labels if state["per_class"] else torch.zeros_like(labels)
        assert kept == nms(boxes, scores, state["nms_threshold"], groups).tolist()
        theirs = [
            own[ops.nms(boxes[own], scores[own], state["nms_threshold"])].tolist()
            for own in ((groups == label).nonzero()[:, 0] for label in range(3))
        ]
        assert sorted(kept) == sorted(i for own in theirs for i in own)
        gone = [i for step in each["steps"] for i in step["dropped"]]
        assert sorted(kept + gone) == list(range(len(boxes)))
        dropped += len(gone)
    assert dropped > 200


def test_hits_curves_and_averages_equal_d2lites(found: list[dict]) -> None:
    explorer = BoxesExplorer()
    kinds = {"tie": 0, "hit": 0, "none": 0}
    for state, each in zip(STATES, found, strict=True):
        for name, value in state.items():
            setattr(explorer, name, value)
        left = each["left"]
        assert (left, each["hits"]) == (explorer.left, explorer.hits)
        boxes, labels, scores = (x[left] for x in tensors(state["predictions"]))
        there, classes, _ = tensors(state["targets"])
        same = labels[:, None] == classes
        hits = match(box_iou(boxes, there) * same, scores, state["iou_threshold"])
        assert [each["hits"][i] for i in left] == hits.tolist()
        precision, recall, thresholds = curve(scores, hits >= 0, len(there))
        points = each["points"]
        for name, values in (("precision", precision), ("recall", recall), ("score", thresholds)):
            assert [point[name] for point in points] == values.tolist(), name
        assert sorted(n for point in points for n in point["places"]) == list(range(len(left)))
        for name, how in POINTS.items():
            expected = average_precision(precision, recall, how)
            assert each["averages"][name] == pytest.approx(expected, abs=1e-12)
        assert explorer.average_precision == average_precision(
            precision, recall, POINTS[state["average"]]
        )
        kinds["tie"] += len(points) < len(left)
        kinds["hit"] += (hits >= 0).any().item()
        kinds["none"] += not left
    assert min(kinds.values()) >= 10 and kinds["hit"] > 150, kinds


def test_the_mean_over_classes_is_cocos(found: list[dict]) -> None:
    for state, each in zip(STATES, found, strict=True):
        boxes, labels, scores = (x[each["left"]] for x in tensors(state["predictions"]))
        there, classes, _ = tensors(state["targets"])
        ap = evaluate_detections(
            [{"boxes": boxes, "labels": labels, "scores": scores}],
            [{"boxes": there, "labels": classes}],
            classes=3,
            iou_thresholds=[state["iou_threshold"]],
            points=POINTS[state["average"]],
        )
        assert each["mean"] == pytest.approx(ap.nanmean().item(), abs=1e-12)


# ---- Traits --------------------------------------------------------------------------------------

TARGET = {"box": [1, 2, 3, 4], "label": 7}
BOX = TARGET | {"score": 0.5}


def but(**changes: Any) -> list[dict[str, Any]]:
    return [BOX | changes]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"predictions": 3}, TypeError, "predictions=3: must be a list of boxes, each a dict"),
        ({"predictions": "boxes"}, TypeError, "must be a list of boxes"),
        ({"predictions": [3]}, TypeError, r"\[0\]=3: must be a dict"),
        (
            {"predictions": [{"box": [1, 2, 3, 4]}]},
            ValueError,
            r"\[0\] has box: must be box, label",
        ),
        ({"predictions": but(score=2)}, ValueError, r"\[0\]: score=2: must be ≥ 0 and ≤ 1"),
        ({"predictions": but(label=1.0)}, TypeError, r"label=1.0: must be an int"),
        ({"predictions": but(label=10)}, ValueError, "label=10: must be ≥ 0 and ≤ 9"),
        ({"predictions": but(box=[1, 2, 3])}, ValueError, "3 numbers, must be four: x1, y1, x2"),
        ({"predictions": but(box="1234")}, TypeError, "must be four numbers"),
        ({"predictions": but(box=[3, 2, 1, 4])}, ValueError, "must have x1 ≤ x2 and y1 ≤ y2"),
        ({"predictions": but(box=[1, 2, 3, 65])}, ValueError, r"\[3\]=65: must be ≥ 0 and ≤ 64"),
        ({"predictions": [BOX] * 13}, ValueError, "13 boxes, must be 12 at most"),
        ({"predictions": {"boxes": torch.ones(1, 4)}}, ValueError, "must have labels, scores"),
        (
            {"predictions": {"boxes": torch.ones(1, 4), "labels": [1], "scores": []}},
            ValueError,
            "boxes, labels, scores: must be as many of each",
        ),
        ({"targets": []}, ValueError, r"targets=\[\]: must be one box at least"),
        ({"targets": [BOX]}, ValueError, "has box, label, score: must be box"),
        ({"image": torch.ones(28, 28)}, ValueError, r"must be \(64, 64\)"),
        ({"image": torch.ones(64, 64) * 2}, ValueError, "must be 0 to 1"),
        (
            {"image": [300] * 4096},
            ValueError,
            r"\[0\]=300: must be ≥ 0 and ≤ 255",
        ),
        ({"selected": 12}, ValueError, "selected=12: must be ≥ 0 and ≤ 11"),
        ({"iou_threshold": 0}, ValueError, "iou_threshold=0: must be > 0 and ≤ 1|must be ≤ 1 and"),
        ({"nms_threshold": 1.5}, ValueError, "nms_threshold=1.5: must be ≥ 0 and ≤ 1"),
        ({"per_class": 1}, TypeError, "per_class=1: must be True or False"),
        ({"step": -1}, ValueError, "step=-1: must be ≥ 0"),
        ({"average": 101}, ValueError, "average=101: must be one of 'COCO', 'VOC 2007', 'area'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        BoxesExplorer(**arguments)


def test_it_takes_a_scene_and_a_detectors_answer_as_they_come() -> None:
    image, target = scenes(1, seed=5)[0]
    boxes = target["boxes"]
    answer = {"boxes": boxes, "labels": target["labels"], "scores": torch.full((len(boxes),), 0.5)}
    explorer = BoxesExplorer(image=image, targets=target, predictions=answer)
    assert explorer.predictions[0] == {
        "box": boxes[0].tolist(),
        "label": int(target["labels"][0]),
        "score": 0.5,
    }
    assert explorer.hits == list(range(len(boxes)))
    assert explorer.average_precision == 1
    assert BoxesExplorer(image=image, targets=target).average_precision == 0


def test_the_picture_has_each_box() -> None:
    explorer = BoxesExplorer(step=12)
    shapes = ElementTree.fromstring(explorer.picture()).findall("rect")
    looks = [(shape.get("stroke"), bool(shape.get("stroke-dasharray"))) for shape in shapes]
    hit, miss = ("var(--d2-input)", False), ("var(--d2-kernel)", True)
    assert looks == [("var(--d2-output)", False)] * 4 + [hit, hit, miss, miss, miss, hit]
    assert shapes[-1].findtext("title") == "7 Trouser"


# ---- The figure in a browser ---------------------------------------------------------------------


@pytest.fixture
def opened(show: Callable[..., Page]) -> Callable[..., Page]:
    """The example, of which a test may set what it wants."""
    return lambda width=1280, **traits: show(BoxesExplorer(**traits), width=width)


def says(page: Page, which: int = 0) -> Locator:
    return page.locator(".d2-readout").nth(which)


def sums(page: Page) -> Locator:
    return page.locator(".d2-sums")


def edges(page: Page) -> list[float]:
    fields = page.get_by_role("spinbutton").all()
    return [float(field.input_value()) for field in fields]


def agree(page: Page, explorer: BoxesExplorer) -> None:
    """The figure shows what Python computes."""
    settle(page)
    hits, left = explorer.hits, explorer.left
    told = [
        "dropped" if i not in left else "hit" if hits[i] >= 0 else "miss"
        for i in range(len(explorer.predictions))
    ]
    labels = [each.get_attribute("aria-label") or "" for each in page.locator(".d2-pick").all()]
    words = [label.split(", ")[-1] for label in labels if label]
    found = [
        "dropped" if w.startswith("dropped") else "hit" if w.startswith("hit") else "miss"
        for w in words[: len(told)]
    ]
    assert found == told
    ap = f"{round(explorer.average_precision, 3):g}"
    name = {"COCO": "{} over COCO", "VOC 2007": "{} over VOC", "area": "{} as the area"}
    expect(says(page, 2)).to_contain_text(name[explorer.average].format(ap))


def test_the_example_has_an_error_of_each_kind(opened: Callable[..., Page]) -> None:
    page = opened()
    verdicts = [text for text in page.locator(".d2-pick span").all_inner_texts() if text]
    assert [text.split(":")[0] for text in verdicts] == [
        "hit", "hit", "duplicate", "nothing there", "wrong class", "too loose", "hit",
    ]  # fmt: skip
    expect(sums(page)).to_contain_text("intersection 21 × 10 = 210")
    expect(sums(page)).to_contain_text("union 408 + 250 − 210 = 448")
    expect(sums(page)).to_contain_text("IoU 210 / 448 = 0.469")
    expect(says(page)).to_have_text(
        "Box 6, Sneaker, score 0.50: IoU 0.469 with the Sneaker, below 0.5: too loose, a miss."
    )
    sentences = {
        "3 Sneaker": "which box 2 has hit: a duplicate, a miss",
        "4 Bag": "it overlaps no garment: a miss",
        "5 Dress": "IoU 0.871 with the Trouser, but of another class: a miss",
        "7 Trouser": "IoU 0.828 with the Trouser: a hit",
    }
    for name, text in sentences.items():
        page.locator(".d2-pick", has_text=name).click()
        expect(says(page)).to_contain_text(text)
    agree(page, BoxesExplorer())


def test_each_control_does_what_python_does(opened: Callable[..., Page]) -> None:
    page, explorer = opened(), BoxesExplorer()

    def change(i: int, **part: Any) -> None:
        explorer.predictions = [
            each | part if k == i else each for k, each in enumerate(explorer.predictions)
        ]

    slide(page, "A hit from IoU", 0.85)
    explorer.iou_threshold = 0.85
    agree(page, explorer)
    slide(page, "A hit from IoU", 0.45)
    explorer.iou_threshold = 0.45
    agree(page, explorer)
    slide(page, "Score of box 4", 0.97)
    change(3, score=0.97)
    agree(page, explorer)
    page.get_by_role("combobox", name="Class").select_option("Bag")
    change(5, label=8)
    agree(page, explorer)
    for name in ("VOC 2007", "area", "COCO"):
        page.get_by_role("combobox", name="Average").select_option(name)
        explorer.average = name
        agree(page, explorer)
    page.get_by_role("button", name="All steps").click()
    explorer.step = 12
    agree(page, explorer)
    page.get_by_label("each class by itself").uncheck()
    explorer.per_class = False
    agree(page, explorer)
    slide(page, "Drop above IoU", 0.1)
    explorer.nms_threshold = 0.1
    agree(page, explorer)


def test_nms_goes_step_by_step(opened: Callable[..., Page]) -> None:
    page, explorer = opened(), BoxesExplorer()
    step = page.get_by_role("button", name="Step", exact=True)
    back = page.get_by_role("button", name="Start over")
    expect(back).to_be_disabled()
    expect(says(page, 1)).to_contain_text("NMS has not begun: 7 predictions.")
    told = [
        r"Step 1 of 6: box 1 \(T-shirt/top, 0.95\) is the best that is left; no other",
        r"Step 2 of 6: box 2 \(Sneaker, 0.90\) is the best .* it drops box 3 \(IoU 0.719",
        "Step 3 of 6: box 4", "Step 4 of 6: box 5", "Step 5 of 6: box 6",
        "Step 6 of 6: box 7.* NMS is done: 6 of 7 predictions kept.",
    ]  # fmt: skip
    for count, text in enumerate(told, 1):
        step.press("Enter")
        expect(says(page, 1)).to_have_text(re.compile(text))
        explorer.step = count
        agree(page, explorer)
    expect(step).to_be_disabled()
    slide(page, "Drop above IoU", 0.9)  # the end stays the end
    expect(says(page, 1)).to_contain_text("Step 7 of 7")
    back.click()
    expect(says(page, 1)).to_contain_text("NMS has not begun")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one place of the scene to another, in its pixels."""
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    (x1, y1), (x2, y2) = (
        (box["x"] + x / 64 * box["width"], box["y"] + y / 64 * box["width"])
        for x, y in (start, end)
    )
    page.mouse.move(x1, y1)
    page.mouse.down()
    page.mouse.move((x1 + x2) / 2, (y1 + y2) / 2)
    page.mouse.move(x2, y2)
    page.mouse.up()
    settle(page)


def test_boxes_are_dragged_by_the_middle_and_by_corners(opened: Callable[..., Page]) -> None:
    page = opened()
    drag(page, (5, 45), (8, 47))
    assert edges(page) == [3, 45, 27, 62]
    drag(page, (27, 62), (28, 57))
    assert edges(page) == [3, 45, 28, 57]
    expect(says(page)).to_contain_text("IoU 0.833 with the Sneaker: a hit")
    drag(page, (3, 45), (3, 60))  # not inside out
    assert edges(page) == [3, 56, 28, 57]
    drag(page, (50, 10), (90, -20))  # another one, no further than the canvas
    assert edges(page) == [47, 0, 64, 19]
    expect(page.locator(".d2-pick[aria-pressed=true]")).to_contain_text("4 Bag")


def test_a_click_again_chooses_the_box_below(opened: Callable[..., Page]) -> None:
    page = opened()
    chosen = page.locator(".d2-pick[aria-pressed=true]")
    names = []
    for _ in range(4):
        drag(page, (27, 30), (27, 30))
        names.append(chosen.inner_text().split()[0])
    assert names == ["7", "5", "7", "5"]


def test_the_keyboard_does_it_all(opened: Callable[..., Page]) -> None:
    page = opened()
    scene = page.get_by_role("application", name="The chosen box is 6")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowUp", "Shift+ArrowRight"):
        scene.press(key)
    settle(page)
    assert edges(page) == [2, 44, 27, 60]
    for _ in range(3):
        scene.press("ArrowLeft")
    settle(page)
    assert edges(page) == [0, 44, 25, 60]
    page.get_by_role("button", name="Box 4, Bag").press("ArrowUp")
    settle(page)
    assert edges(page) == [43, 4, 60, 23]
    page.get_by_label("right x₂").fill("50")
    settle(page)
    expect(sums(page)).to_contain_text("union 133 + ")
    field = page.get_by_label("left x₁")
    for wrong in ("55", "", "-1"):
        field.fill(wrong)
        settle(page)
        expect(field).to_have_attribute("aria-invalid", "true")
        assert field.input_value() == wrong
    field.blur()
    settle(page)
    assert edges(page) == [43, 4, 50, 23]
    expect(field).to_have_attribute("aria-invalid", "false")


def test_boxes_come_and_go(opened: Callable[..., Page]) -> None:
    page = opened()
    add, remove = (page.get_by_role("button", name=name) for name in ("Add a box", "Remove"))
    rows = page.locator(".d2-row:visible")
    for _ in range(5):
        add.press("Enter")
    expect(rows).to_have_count(12)
    expect(add).to_be_disabled()
    expect(says(page)).to_contain_text("Box 12, Sneaker, score 0.50")
    for _ in range(12):
        remove.click()
        settle(page)
    expect(rows).to_have_count(0)
    expect(remove).to_be_hidden()
    expect(says(page)).to_have_text("There is no predicted box.")
    expect(says(page, 2)).to_contain_text("No predictions: the recall is 0")
    page.get_by_role("application").press("ArrowLeft")
    add.click()
    settle(page)
    expect(rows).to_have_count(1)
    assert edges(page) == [22, 22, 42, 42]


def test_a_finger_taps_boxes_and_drags_handles(show: Callable[..., Page]) -> None:
    page = show(BoxesExplorer(), width=390)
    send = partial(page.context.new_cdp_session(page).send, "Input.dispatchTouchEvent")
    box = page.get_by_role("application").bounding_box()
    assert box is not None

    def touch(start: tuple[float, float], end: tuple[float, float]) -> None:
        for share, kind in ((0, "touchStart"), (0.5, "touchMove"), (1, "touchMove")):
            at = [a + share * (b - a) for a, b in zip(start, end, strict=True)]
            x, y = (box[name] + v / 64 * box["width"] for name, v in zip("xy", at, strict=True))
            send({"type": kind, "touchPoints": [{"x": x, "y": y}]})
        send({"type": "touchEnd", "touchPoints": []})
        settle(page)

    touch((12, 51.5), (16, 53.5))  # the handle in the middle
    assert edges(page) == [4, 45, 28, 62]
    touch((28, 62), (28, 57))  # a corner
    assert edges(page) == [4, 45, 28, 57]
    touch((8, 47), (14, 47))  # elsewhere a finger only scrolls
    assert edges(page) == [4, 45, 28, 57]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("traits", [{}, {"step": 12, "average": "VOC 2007", "selected": 2}])
def test_it_is_legible_and_accessible(
    show: Callable[..., Page], theme: str, traits: dict[str, Any]
) -> None:
    assert_legible_and_accessible(show(BoxesExplorer(**traits), theme=theme))

"""d2lite.data.scenes: boxes, masks, occlusion and captions say what the picture shows."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader

from d2lite.data import LabelledImages, Scenes, fashion_mnist, scenes
from d2lite.data.fashion_mnist import CLASSES
from d2lite.data.scenes import (
    BACKGROUND,
    CANVAS,
    LEAST_VISIBLE,
    NOUNS,
    NUMBERS,
    SIZES,
    _resize,
    caption_of_boxes,
)
from d2lite.train import fit

COUNT = 600


@pytest.fixture(scope="module")
def sets() -> tuple[LabelledImages, LabelledImages]:
    return fashion_mnist()


@pytest.fixture(scope="module")
def data(sets) -> Scenes:
    return scenes(COUNT, garments=sets[0])


def same(a: Scenes, b: Scenes) -> bool:
    names = ("images", "boxes", "labels", "masks", "visible")
    tensors = all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
    return tensors and a.captions == b.captions and a.classes == b.classes


# ---- Geometry ------------------------------------------------------------------------------------


def test_shapes_types_and_padding(data):
    assert data.images.shape == (COUNT, 1, 64, 64) and data.images.dtype == torch.float32
    assert data.images.min() == 0 and 0.9 < data.images.max() <= 1
    assert data.boxes.shape == (COUNT, 4, 4) and data.boxes.dtype == torch.float32
    assert data.labels.shape == (COUNT, 4) and data.labels.dtype == torch.int64
    assert data.masks.shape == (COUNT, 4, 64, 64) and data.masks.dtype == torch.bool
    assert data.visible.shape == (COUNT, 4) and data.visible.dtype == torch.float32
    assert len(data.captions) == COUNT
    there = data.labels >= 0
    assert there[:, 0].all() and (there[:, :-1] | ~there[:, 1:]).all()  # padding comes last
    assert data.labels[~there].eq(-1).all()
    for part in (data.boxes, data.masks, data.visible, data.visible_masks, data.visible_boxes):
        assert not part[~there].any()


def test_boxes_are_tight_and_inside(data):
    for image, target in data:
        for (x1, y1, x2, y2), mask in zip(
            target["boxes"].int().tolist(), target["masks"], strict=True
        ):
            assert 0 <= x1 < x2 <= CANVAS and 0 <= y1 < y2 <= CANVAS
            inside = mask[y1:y2, x1:x2]
            assert inside.sum() == mask.sum()
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()
            assert max(x2 - x1, y2 - y1) <= SIZES[1]
        assert torch.equal(image[0] > 0, target["masks"].any(0))  # and nothing outside


def test_sizes_are_from_16_to_32(data):
    sizes = (data.boxes[..., 2:] - data.boxes[..., :2])[data.labels >= 0].amax(1)
    assert sizes.max() == SIZES[1] and sizes.quantile(0.01) >= SIZES[0] - 1
    assert 22 < sizes.mean() < 25  # a garment's image is a little wider than the garment


def test_what_is_visible_is_what_the_masks_say(data):
    """Painted over in turn, by the numbers of the garments."""
    shown_masks, shown_boxes = data.visible_masks, data.visible_boxes
    hidden = 0
    for i, (_, target) in enumerate(data):
        owner = torch.full((CANVAS, CANVAS), -1)
        for j, mask in enumerate(target["masks"]):
            owner[mask] = j
        for j, (mask, share) in enumerate(zip(target["masks"], target["visible"], strict=True)):
            seen = owner == j
            assert torch.equal(shown_masks[i, j], seen)
            assert share == pytest.approx(seen.sum().item() / mask.sum().item())
            assert share >= LEAST_VISIBLE
            rows, columns = seen.nonzero().unbind(1)
            edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert shown_boxes[i, j].tolist() == [edge.item() for edge in edges]
            hidden += share < 1
    assert 0.2 < hidden / (data.labels >= 0).sum() < 0.45
    assert (shown_masks.sum(1) <= 1).all()


def test_a_picture_is_its_garments(sets):
    """Each visible pixel is that of a resized garment of that class, of that set and no other."""
    for garments in sets:
        few = garments[:12]
        tiles = [
            [interpolate(image[None].double(), (s, s), mode="bilinear", antialias=True)[0, 0]
             for image in few.images]
            for s in range(SIZES[0], SIZES[1] + 1)
        ]  # fmt: skip
        made = scenes(15, seed=7, garments=few)
        for (image, target), shown in zip(made, made.visible_masks, strict=True):
            parts = zip(
                target["labels"], target["boxes"].int().tolist(), target["masks"], strict=True
            )
            for j, (label, (x1, y1, x2, y2), mask) in enumerate(parts):
                found = []
                for sized in tiles:
                    for tile, its_label in zip(sized, few.labels, strict=True):
                        own = tile > BACKGROUND
                        rows, columns = own.any(1).nonzero()[:, 0], own.any(0).nonzero()[:, 0]
                        own = own[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                        if its_label == label and torch.equal(own, mask[y1:y2, x1:x2]):
                            found.append(tile[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
                here = shown[j, y1:y2, x1:x2]
                assert any(
                    torch.allclose(image[0, y1:y2, x1:x2][here].double(), tile[here], atol=1e-6)
                    for tile in found
                )


@settings(max_examples=20)
@given(st.integers(SIZES[0], SIZES[1]), st.integers(0, 99))
def test_resizing_is_pytorchs(size, seed):
    image = torch.rand(28, 28, generator=torch.Generator().manual_seed(seed))
    expected = interpolate(
        image[None, None].double(), (size, size), mode="bilinear", antialias=True
    )[0, 0]
    torch.testing.assert_close(torch.from_numpy(_resize(image, size)), expected)


# ---- Chance --------------------------------------------------------------------------------------


def test_a_scene_depends_on_its_seed_and_number_alone(sets, data):
    assert same(scenes(40, garments=sets[0]), data[:40])
    assert same(scenes(3), data[:3])  # training garments unless told otherwise
    other = scenes(40, seed=1, garments=sets[0])
    assert not any(same(other[i : i + 1], data[i : i + 1]) for i in range(40))
    torch.manual_seed(0)
    before = torch.rand(3)
    torch.manual_seed(0)
    scenes(3, garments=sets[0])
    assert torch.equal(torch.rand(3), before)  # the global random numbers are left alone
    assert len({image.numpy().tobytes() for image in data.images}) == COUNT


def test_test_scenes_are_of_test_garments(sets):
    assert same(scenes(5, garments="test"), scenes(5, garments=sets[1]))
    test, train = scenes(50, garments="test"), scenes(50, garments=sets[0])
    assert ((test.labels >= 0) != (train.labels >= 0)).any()  # nor do they lie where those did


def test_classes_and_numbers_are_about_uniform(sets, data):
    counts = data.labels[data.labels >= 0].bincount(minlength=10)
    expected = counts.sum() * sets[0].labels.bincount() / 10_000
    assert ((counts - expected) ** 2 / expected).sum() < 33.7  # χ² of 9 degrees, p = 0.0001
    numbers = (data.labels >= 0).sum(1).bincount(minlength=5)
    assert numbers[0] == 0
    assert ((numbers[1:] - COUNT / 4) ** 2 / (COUNT / 4)).sum() < 21.1  # of 3
    assert scenes(50, garments=sets[0], most=1).labels.shape == (50, 1)
    assert (scenes(20, garments=sets[0], most=9).labels >= 0).sum(1).max() > 4


def test_places_are_all_over_the_canvas(data):
    boxes = data.boxes[data.labels >= 0]
    assert boxes[:, :2].min() == 0 and boxes[:, 2:].max() == CANVAS
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (centers.mean(0) - CANVAS / 2).abs().max() < 1.5


# ---- Captions ------------------------------------------------------------------------------------

NOUN = "|".join(noun for pair in NOUNS for noun in pair)
GROUP = rf"(?P<number>{'|'.join(NUMBERS)}) (?P<noun>{NOUN})"
LIST = re.compile(r", | and ")
RELATIONS = {
    "left of": lambda a, b: a[0] < b[0],
    "right of": lambda a, b: a[0] > b[0],
    "above": lambda a, b: a[1] < b[1],
    "below": lambda a, b: a[1] > b[1],
}
PLACES = {
    "left": lambda x, y: 3 * x < CANVAS,
    "right": lambda x, y: 3 * x >= 2 * CANVAS,
    "top": lambda x, y: 3 * y < CANVAS,
    "bottom": lambda x, y: 3 * y >= 2 * CANVAS,
    "middle": lambda x, y: CANVAS <= 3 * x < 2 * CANVAS and CANVAS <= 3 * y < 2 * CANVAS,
}


def groups(text: str) -> dict[int, int]:
    """Read a list of garments: how many of which class."""
    found = {}
    for part in LIST.split(text):
        match = re.fullmatch(GROUP, part)
        assert match, part
        number = NUMBERS.index(match["number"]) + 1
        (label,) = (k for k, names in enumerate(NOUNS) if names[number > 1] == match["noun"])
        assert label not in found
        found[label] = number
    assert text.count(" and ") == (len(found) > 1)
    return found


def require_true(caption: str, labels: list[int], boxes: list[list[float]]) -> str:
    """Read a caption and look whether it holds; return what it says of the place."""
    centers = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes]
    here, relation, rest = re.match(
        rf"(.*?)(?: ({'|'.join(RELATIONS)}) (.*))?$", caption
    ).groups()  # fmt: skip
    here, *place = re.split(r" (?:at|in) the ", here)
    said = groups(here)
    if relation:
        assert len(said) == 1 and not place
        others = groups(rest)
        assert not said.keys() & others.keys()
        pairs = list(zip(labels, centers, strict=True))
        for one in (center for label, center in pairs if label in said):
            for other in (center for label, center in pairs if label in others):
                assert RELATIONS[relation](one, other), caption
        said |= others
    assert said == {label: labels.count(label) for label in labels}, caption
    for word in " ".join(place).split():
        assert all(PLACES[word](*center) for center in centers), caption
    return relation or " ".join(place)


def test_captions_are_true(data):
    said = [
        require_true(target["caption"], target["labels"].tolist(), target["boxes"].tolist())
        for _, target in data
    ]
    kinds = {word for place in said for word in place.split()}
    assert kinds == {"left", "right", "of", "above", "below", "top", "bottom", "middle"}
    assert sum(map(bool, said)) > 0.9 * COUNT  # few say nothing of the place
    assert max(len(caption.split()) for caption in data.captions) <= 16
    assert len(set(data.captions)) > COUNT / 2


@settings(max_examples=150)
@given(st.lists(
    st.tuples(st.integers(-1, 9), *[st.integers(0, 40)] * 2, *[st.integers(1, 24)] * 2),
    min_size=1, max_size=9,
).filter(lambda rows: max(rows)[0] >= 0))  # fmt: skip
def test_captions_of_any_boxes_are_true_in_any_order(rows):
    labels = [row[0] for row in rows]
    boxes = [[float(x), float(y), float(x + w), float(y + h)] for _, x, y, w, h in rows]
    caption = caption_of_boxes(labels, boxes)
    kept = [i for i, label in enumerate(labels) if label >= 0]
    require_true(caption, [labels[i] for i in kept], [boxes[i] for i in kept])
    assert caption_of_boxes(labels[::-1], boxes[::-1]) == caption


def test_a_caption_that_is_false_would_be_found():
    boxes = [[0.0, 0.0, 10.0, 10.0], [30.0, 2.0, 40.0, 12.0], [50.0, 0.0, 60.0, 10.0]]
    caption = caption_of_boxes([8, 9, 9], boxes)
    assert caption == "a bag left of two boots"
    require_true(caption, [8, 9, 9], boxes)
    for wrong in ("a bag right of two boots", "a bag left of a boot", "a bag above two boots"):
        with pytest.raises(AssertionError):
            require_true(wrong, [8, 9, 9], boxes)


@pytest.mark.parametrize(
    ("labels", "places", "caption"),
    [
        ([8], [(32, 32)], "a bag in the middle"),
        ([8], [(10, 10)], "a bag at the top left"),
        ([8], [(32, 60)], "a bag at the bottom"),
        ([9, 9], [(10, 10), (10, 50)], "two boots at the left"),
        ([9, 9], [(10, 10), (50, 50)], "two boots"),
        ([1, 4], [(10, 10), (30, 12)], "a pair of trousers left of a coat"),
        ([1, 4, 6], [(10, 10), (12, 40), (9, 12)], "a coat below a pair of trousers and a shirt"),
        ([0, 2], [(10, 10), (10, 10)], "a T-shirt and a pullover"),
        ([0, 0, 2, 3], [(9, 9), (9, 9), (9, 9), (9, 9)], "two T-shirts, a pullover and a dress"),
    ],
)
def test_captions(labels, places, caption):
    assert (
        caption_of_boxes(labels, [[x - 1.0, y - 1.0, x + 1.0, y + 1.0] for x, y in places])
        == caption
    )


# ---- A set of scenes -----------------------------------------------------------------------------


def test_an_integer_gives_a_scene_without_padding(data):
    image, target = data[-1]
    assert torch.equal(image, data.images[-1])
    number = int((data.labels[-1] >= 0).sum())
    assert {name: len(target[name]) for name in ("boxes", "labels", "masks", "visible")} == (
        dict.fromkeys(("boxes", "labels", "masks", "visible"), number)
    )
    assert target["caption"] == data.captions[-1]
    assert len(list(data[:7])) == 7
    with pytest.raises(IndexError):
        data[COUNT]


@pytest.mark.parametrize("index", [
    slice(2, 9), slice(None, None, -3), [3, 1, 1], torch.tensor([5, 0]),
    torch.arange(COUNT) % 50 == 0,
])  # fmt: skip
def test_a_batch_is_the_scenes_by_themselves_in_any_order(data, index):
    batch = data[index]
    index = index.numpy() if isinstance(index, torch.Tensor) else index
    numbers = torch.arange(COUNT).numpy()[index]
    assert isinstance(batch, Scenes) and len(batch) == len(numbers)
    for i, number in enumerate(numbers.tolist()):
        assert same(batch[i : i + 1], data[number : number + 1])


def test_batches_by_a_loop_and_by_a_loader(data):
    seen = [i for batch in torch.randperm(COUNT).split(64) for i in batch.tolist()]
    assert sorted(seen) == list(range(COUNT))
    loader = DataLoader(data[:10], batch_size=4, collate_fn=list)
    images, targets = zip(*next(iter(loader)), strict=True)
    assert torch.equal(torch.stack(images), data.images[:4])
    assert [target["caption"] for target in targets] == list(data.captions[:4])


def test_fit_takes_images_boxes_and_labels(data):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64, 4))

    def loss(model, images, boxes, labels):
        return ((model(images) - boxes[:, 0] / CANVAS) ** 2).mean()

    history = fit(model, data[:64], epochs=3, lr=0.01, loss=loss)
    assert history.loss[-1] < history.loss[0]


def test_a_scene_without_garments_has_no_caption():
    with pytest.raises(ValueError, match="labels: must have a garment"):
        caption_of_boxes([-1, -1], [[0.0] * 4] * 2)


def test_elsewhere_and_in_words(data):
    assert same(data.to("cpu"), data)
    assert data.to("cpu").images is data.images  # not copied
    assert repr(data) == "Scenes: 600 × (1, 64, 64), up to 4 garments"
    with pytest.raises(AttributeError):
        data.labels = data.labels
    empty = scenes(0, garments="test")
    assert len(empty) == 0 and empty.boxes.shape == (0, 4, 4) and empty.visible_boxes.numel() == 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"count": -1}, ValueError, "count=-1: must be ≥ 0"),
        ({"count": 1.5}, TypeError, "count=1.5: must be an int"),
        ({"seed": -1}, ValueError, "seed=-1: must be ≥ 0"),
        ({"most": 0}, ValueError, "most=0: must be ≥ 1 and ≤ 9"),
        ({"most": 10}, ValueError, "most=10: must be ≥ 1 and ≤ 9"),
        ({"garments": "valid"}, ValueError, "garments='valid': must be one of 'train', 'test'"),
        ({"garments": 3}, TypeError, "garments=3: must be a LabelledImages"),
        (
            {"garments": LabelledImages(torch.rand(1, 1, 28, 28), torch.zeros(1).long(), ("a",))},
            ValueError,
            "garments=a? ?Labelled.*: must be images of fashion_mnist",
        ),
        (
            {"garments": LabelledImages(torch.zeros(1, 1, 28, 28), torch.zeros(1).long(), CLASSES)},
            ValueError,
            "garments=.*: must each have a pixel of 0.25 at least",
        ),
    ],
)
def test_what_does_not_fit(settings, error, message):
    with pytest.raises(error, match=message):
        scenes(**({"count": 1} | settings))
